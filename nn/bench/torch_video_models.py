"""The networks of `video.models` in PyTorch, module for module and name for name.

They are timed beside ours, and tests compare both in float64.
`build(name, num_classes, size, frames, channels, **options)` takes what the network there takes.
Clips are (N, C, T, H, W).
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nn.positional import sinusoids


def build(name, num_classes, size, frames, channels, **options):
    """The network called `name`; `options` are cell, heads, patch and depth where it has them."""
    return NETWORKS[name](num_classes, size, frames, channels, **options)


def conv3d(*arguments, **options):
    """A 3-D convolution without bias: a batch norm follows it."""
    return nn.Conv3d(*arguments, bias=False, **options)


def block_2d(A, B):
    """Convolution, batch norm, ReLU and max pooling of frames, from A channels to B."""
    conv = nn.Conv2d(A, B, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(B), nn.ReLU(), nn.MaxPool2d(2))


class FrameCNN(nn.Module):
    """The article's program, corrected: frames folded into the batch."""

    def __init__(self, num_classes, size, frames, channels):
        super().__init__()
        C, *widths, hidden = channels
        layers = []
        for A, B in zip((C, *widths), widths, strict=False):
            layers += [nn.Conv2d(A, B, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        dense = nn.Linear(size[0] // 4 * (size[1] // 4) * widths[-1], hidden)
        last = nn.Linear(hidden, num_classes)
        self.classifier = nn.Sequential(nn.Flatten(), dense, nn.ReLU(), last)

    def forward(self, x):
        frames = x.transpose(1, 2)
        scores = self.classifier(self.features(frames.flatten(0, 1)))
        return scores.unflatten(0, frames.shape[:2]).mean(1)


class EarlyFusion(nn.Module):
    """All frames as channels of one picture."""

    def __init__(self, num_classes, size, frames, channels):
        super().__init__()
        C, *widths = channels
        pairs = zip((frames * C, *widths), widths, strict=False)
        self.features = nn.Sequential(*[block_2d(a, b) for a, b in pairs])
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        return self.classifier(self.features(x.transpose(1, 2).flatten(1, 2)).mean((2, 3)))


# ---- 3-D convolution -----------------------------------------------------------------------


def whole_block(A, B, stride):
    """A block of `Conv3dNet`: a 3×3×3 kernel in one piece."""
    conv = conv3d(A, B, 3, stride=(stride, 1, 1), padding=1)
    return nn.Sequential(conv, nn.BatchNorm3d(B), nn.ReLU(), nn.MaxPool3d((1, 2, 2)))


def block_in_two_parts(A, B, stride):
    """The same taken apart into space and time, with about as many weights."""
    M = 27 * A * B // (9 * A + 3 * B)
    return nn.Sequential(
        conv3d(A, M, (1, 3, 3), padding=(0, 1, 1)),
        nn.BatchNorm3d(M),
        nn.ReLU(),
        conv3d(M, B, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0)),
        nn.BatchNorm3d(B),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
    )


class Conv3dNet(nn.Module):
    """Blocks of 3-D convolution one after the other, then the mean."""

    block = staticmethod(whole_block)

    def __init__(self, num_classes, size, frames, channels):
        super().__init__()
        pairs = zip(channels, channels[1:], strict=False)
        blocks = [self.block(a, b, 1 + (i > 0)) for i, (a, b) in enumerate(pairs)]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels[-1], num_classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3, 4)))


class R2Plus1DNet(Conv3dNet):
    """`Conv3dNet` with its kernels taken apart."""

    block = staticmethod(block_in_two_parts)


class BasicBlock(nn.Module):
    """As in torchvision's `video/resnet.py`."""

    def __init__(self, A, B, stride):
        super().__init__()
        self.conv1 = nn.Sequential(
            conv3d(A, B, 3, stride=stride, padding=1), nn.BatchNorm3d(B), nn.ReLU()
        )
        self.conv2 = nn.Sequential(conv3d(B, B, 3, padding=1), nn.BatchNorm3d(B))
        self.downsample = None
        if stride != 1 or A != B:
            self.downsample = nn.Sequential(conv3d(A, B, 1, stride=stride), nn.BatchNorm3d(B))

    def forward(self, x):
        straight = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.conv2(self.conv1(x)) + straight)


class ResNet3D(nn.Module):
    """torchvision's `r3d_18`, of any width."""

    blocks, stem_kernel = 2, (3, 7, 7)

    def __init__(self, num_classes, size, frames, channels):
        super().__init__()
        C, A, *_ = channels
        padding = tuple(k // 2 for k in self.stem_kernel)
        stem = conv3d(C, A, self.stem_kernel, stride=(1, 2, 2), padding=padding)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(A), nn.ReLU())
        self.stages = len(channels) - 1
        for i, B in enumerate(channels[1:], start=1):
            first = BasicBlock(A, B, stride=1 + (i > 1))
            others = [BasicBlock(B, B, 1) for _ in range(self.blocks - 1)]
            setattr(self, f"layer{i}", nn.Sequential(first, *others))
            A = B
        self.fc = nn.Linear(A, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for i in range(1, self.stages + 1):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3, 4)))


class SmallResNet3D(ResNet3D):
    """A narrow one with one block a stage."""

    blocks, stem_kernel = 1, (3, 3, 3)


# ---- on features of frames -----------------------------------------------------------------


class FrameFeatures(nn.Module):
    """A small CNN over each frame: (N, C, T, H, W) → (N, T, D)."""

    def __init__(self, size, channels):
        super().__init__()
        *widths, D = channels
        self.maps = nn.Sequential(*map(block_2d, widths, widths[1:]))
        places = int(np.prod([n // 2 ** (len(widths) - 1) for n in size]))
        dense = nn.Linear(places * widths[-1], D)
        self.vector = nn.Sequential(nn.Flatten(), dense, nn.LayerNorm(D))

    def forward(self, x):
        frames = x.transpose(1, 2)
        return self.vector(self.maps(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])


class CNNRNN(nn.Module):
    """A recurrent layer over the features of frames; its last state names the clip."""

    def __init__(self, num_classes, size, frames, channels, cell="lstm"):
        super().__init__()
        D = channels[-1]
        self.features = FrameFeatures(size, channels)
        cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.rnn = cell(D, D, batch_first=True)
        self.classifier = nn.Linear(D, num_classes)

    def forward(self, x):
        return self.classifier(self.rnn(self.features(x))[0][:, -1])


class CNNAttention(nn.Module):
    """Self-attention over the features of frames, then a class query looks at them."""

    def __init__(self, num_classes, size, frames, channels, heads=4):
        super().__init__()
        D = channels[-1]
        self.features = FrameFeatures(size, channels)
        options = {"dropout": 0, "activation": "gelu", "norm_first": True, "batch_first": True}
        self.encoder = nn.TransformerEncoderLayer(D, heads, 2 * D, **options)
        self.norm = nn.LayerNorm(D)
        self.query = nn.Parameter(torch.randn(1, 1, D))
        self.ask = nn.MultiheadAttention(D, heads, batch_first=True)
        self.classifier = nn.Linear(D, num_classes)
        self.positions = torch.from_numpy(sinusoids(frames, D, np.float64))  # no parameter

    def forward(self, x):
        v = self.features(x)
        u = self.norm(self.encoder(v + self.positions.to(v.dtype)))
        return self.classifier(self.ask(self.query.expand(len(u), -1, -1), u, u)[0][:, 0])


# ---- patches -------------------------------------------------------------------------------


class Look(nn.Module):
    """x + attention(norm(x)); the parts are called as those of our Residual."""

    def __init__(self, D, heads):
        super().__init__()
        attention = nn.MultiheadAttention(D, heads, batch_first=True)
        self.body = nn.ModuleList([nn.LayerNorm(D), attention])

    def forward(self, x):
        norm, attention = self.body
        x_norm = norm(x)
        return x + attention(x_norm, x_norm, x_norm, need_weights=False)[0]


class Dense(nn.Module):
    """The dense half of a transformer block, with its norm and its way around."""

    def __init__(self, D):
        super().__init__()
        wide, narrow = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
        self.body = nn.Sequential(nn.LayerNorm(D), wide, nn.GELU(), narrow)

    def forward(self, x):
        return x + self.body(x)


class DividedBlock(nn.Module):
    """Attention over time, then over space, then the dense half."""

    def __init__(self, D, heads):
        super().__init__()
        self.time, self.space, self.dense = Look(D, heads), Look(D, heads), Dense(D)

    def forward(self, x):
        N, T, S, D = x.shape
        x = self.time(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (N, S)).transpose(1, 2)
        x = self.space(x.flatten(0, 1)).unflatten(0, (N, T))
        return self.dense(x)


class Positions(nn.Module):
    """A learned vector for each time and one for each place."""

    def __init__(self, T, H, W, D):
        super().__init__()
        self.time_weight = nn.Parameter(torch.zeros(T, D))
        self.space_weight = nn.Parameter(torch.zeros(H, W, D))

    def forward(self, x):
        return x + self.time_weight[:, None, None] + self.space_weight


class VideoTransformer(nn.Module):
    """Divided space-time attention over patches."""

    def __init__(self, num_classes, size, frames, channels, patch=8, depth=4, heads=4):
        super().__init__()
        (C, D), self.patch = channels, patch
        self.embed = nn.Linear(patch * patch * C, D)
        self.positions = Positions(frames, *(-(-n // patch) for n in size), D)
        self.blocks = nn.Sequential(*[DividedBlock(D, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(D)
        self.classifier = nn.Linear(D, num_classes)

    def forward(self, x):
        P, (H, W) = self.patch, x.shape[3:]
        x = functional.pad(x, (0, -W % P, 0, -H % P)).permute(0, 2, 3, 4, 1)
        x = x.unfold(2, P, P).unfold(3, P, P)  # (N, T, H/P, W/P, C, P, P)
        x = self.embed(x.permute(0, 1, 2, 3, 5, 6, 4).flatten(4))
        x = self.blocks(self.positions(x).flatten(2, 3))
        return self.classifier(self.norm(x).mean((1, 2)))


NETWORKS = {
    "FrameCNN": FrameCNN,
    "EarlyFusionCNN": EarlyFusion,
    "Conv3dNet": Conv3dNet,
    "R2Plus1DNet": R2Plus1DNet,
    "ResNet3D": ResNet3D,
    "SmallResNet3D": SmallResNet3D,
    "CNNRNN": CNNRNN,
    "CNNAttention": CNNAttention,
    "VideoTransformer": VideoTransformer,
}
