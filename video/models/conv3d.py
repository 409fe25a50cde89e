"""Convolution over time and space: a small network of 3-D convolutions."""

import numpy as np

import nn
from video.models.base import VideoModel


class Conv3dNet(VideoModel):
    """Kernels of 3 frames × 3 × 3 places, slid over time as over space.

    (N, T, H, W, C) → logits (N, num_classes):

        x → [conv 3×3×3 padding 1, batch norm, ReLU, max pool 1×2×2] for each width
          → mean over time and places → dense num_classes

    Space is thinned out by pooling, time by convolutions of stride 2, all but the first. So the
    last features see 3, 5, 9, 17, … frames, as many as there are convolutions; a pattern of motion
    is found whenever it happens, with the same weights. Tran et al. 2015 (arXiv:1412.0767).

    - size: (H, W), at least 2 to the power of the number of convolutions.
    - frames: how many frames a clip is usually judged by. Any number works, and any size: the
      stride leaves ⌈T/2⌉ of T frames, and what is left in the end is averaged.
    - channels: (input channels, then the widths of the convolutions).
    """

    def __init__(
        self, num_classes, size=(64, 64), frames=16, channels=(3, 16, 32, 64, 128), rng=None
    ):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        self.expect_size(2 ** (len(channels) - 1))
        widths = list(zip(self.channels, self.channels[1:], strict=False))
        self.features = nn.Sequential(
            *[self.block(a, b, 2 if i else 1, rng) for i, (a, b) in enumerate(widths)]
        )
        self.pool = nn.GlobalAvgPool()
        self.classifier = nn.Linear(self.channels[-1], num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier.weight.data *= 0.1

    def block(self, channels_in, channels_out, time_stride, rng):
        """One step of the network: T → ⌈T / time_stride⌉, H → ⌊H/2⌋, W → ⌊W/2⌋."""
        return nn.Sequential(
            nn.Conv3d(
                channels_in,
                channels_out,
                3,
                stride=(time_stride, 1, 1),
                padding=1,
                bias=False,  # a shift would be taken off again by the norm
                rng=rng,
            ),
            nn.BatchNorm(channels_out),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
        )

    def forward(self, x):
        self.expect_clips(x)
        return self.classifier(self.pool(self.features(x)))  # (N, K)

    def backward(self, dy, need_input_grad=True):
        dfeatures = self.pool.backward(self.classifier.backward(dy))
        return self.features.backward(dfeatures, need_input_grad=need_input_grad)
