"""Residual networks of 3-D convolutions: the 18 layers known from PyTorch, and a small one."""

import numpy as np

import nn
from video.models.base import VideoModel


def conv(channels_in, channels_out, kernel, stride, padding, rng):
    """Without bias: a batch norm follows, which would take it off again."""
    return nn.Conv3d(channels_in, channels_out, kernel, stride, padding, bias=False, rng=rng)


class BasicBlock(nn.Module):
    """y = relu(f(x) + straight(x)) with f two 3×3×3 convolutions, each with its batch norm.

    x (N, T, H, W, C_in) → y (N, ⌈T/s⌉, ⌈H/s⌉, ⌈W/s⌉, C_out), s the stride. The straight way is x
    itself, or `downsample`, a 1×1×1 convolution with batch norm, where the shape changes.

    Backward: the sum hands its gradient to both ways, and what they hand back adds up.
    """

    def __init__(self, channels_in, channels_out, stride=1, rng=None):
        rng = np.random.default_rng(rng)
        self.conv1 = nn.Sequential(
            conv(channels_in, channels_out, 3, stride, 1, rng),
            nn.BatchNorm(channels_out),
            nn.ReLU(),
        )
        self.conv2 = nn.Sequential(
            conv(channels_out, channels_out, 3, 1, 1, rng), nn.BatchNorm(channels_out)
        )
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                conv(channels_in, channels_out, 1, stride, 0, rng), nn.BatchNorm(channels_out)
            )

    def forward(self, x):
        straight = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + straight)

    def backward(self, dy, need_input_grad=True):
        dsum = self.relu.backward(dy)
        dx = self.conv1.backward(self.conv2.backward(dsum))  # the detour
        return dx + (dsum if self.downsample is None else self.downsample.backward(dsum))


class ResNet3D(VideoModel):
    """The residual network of 18 layers with all convolutions in 3-D (Tran et al. 2018, "R3D").

    (N, T, H, W, C) → logits (N, num_classes):

        stem:       conv 3×7×7 stride (1, 2, 2) padding (1, 3, 3), batch norm, ReLU
        layer1 … 4: two `BasicBlock`s each; the first of all but layer1 has stride 2 on every axis
        mean over time and places → fc, dense num_classes

    Modules are named as in torchvision's `r3d_18` (arXiv:1711.11248), so its trained weights load:

        model = ResNet3D(400, size=(112, 112))
        nn.interop.load_torch_state(model, {k: v.numpy() for k, v in theirs.state_dict().items()})

    - size, frames: any, and clips may differ from them: every stride leaves ⌈n/2⌉ of n.
    - channels: (input channels, stem and first stage, second stage, …).
    """

    blocks = 2  # in each stage
    stem_kernel, stem_stride, stem_padding = (3, 7, 7), (1, 2, 2), (1, 3, 3)

    def __init__(
        self, num_classes, size=(64, 64), frames=16, channels=(3, 64, 128, 256, 512), rng=None
    ):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        C, width, *_ = self.channels
        self.stem = nn.Sequential(
            conv(C, width, self.stem_kernel, self.stem_stride, self.stem_padding, rng),
            nn.BatchNorm(width),
            nn.ReLU(),
        )
        self.stages = len(self.channels) - 1
        for i, wider in enumerate(self.channels[1:], start=1):
            stage = [BasicBlock(width, wider, stride=1 if i == 1 else 2, rng=rng)]
            stage += [BasicBlock(wider, wider, rng=rng) for _ in range(self.blocks - 1)]
            setattr(self, f"layer{i}", nn.Sequential(*stage))
            width = wider
        self.avgpool = nn.GlobalAvgPool()
        self.fc = nn.Linear(width, num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.fc.weight.data *= 0.1

    def swap_head(self, layer):
        head, self.fc = self.fc, layer
        return head

    def layers(self):
        """What a clip passes, in order."""
        stages = [getattr(self, f"layer{i}") for i in range(1, self.stages + 1)]
        return [self.stem, *stages, self.avgpool, self.fc]

    def forward(self, x):
        self.expect_clips(x)
        for layer in self.layers():
            x = layer(x)
        return x  # (N, K)

    def backward(self, dy, need_input_grad=True):
        first, *others = self.layers()
        for layer in reversed(others):
            dy = layer.backward(dy)
        return first.backward(dy, need_input_grad=need_input_grad)


class SmallResNet3D(ResNet3D):
    """`ResNet3D` for small clips and few examples: one block in each stage, narrow, a 3×3×3 stem.

    0.23 million weights by default instead of 33 million.
    """

    blocks = 1
    stem_kernel, stem_stride, stem_padding = (3, 3, 3), (1, 2, 2), (1, 1, 1)

    def __init__(self, num_classes, size=(64, 64), frames=16, channels=(3, 16, 32, 64), rng=None):
        super().__init__(num_classes, size, frames, channels, rng)
