"""The article's network (§4), corrected: a small CNN that judges single frames."""

import numpy as np

import nn
from video.models.base import VideoModel


class FrameCNN(VideoModel):
    """Scores each frame by itself; a clip's scores are the mean of its frames'.

    (N, T, H, W, C) → logits (N, num_classes). Frames are folded into the batch, since a 2-D
    convolution takes no time axis:

        x (N·T, H, W, C) → [conv 3×3 padding 1, ReLU, max pool 2×2] twice, C → 32 → 64
                         → flatten → dense 512, ReLU → dense num_classes → mean over T

    Averaging ignores the order of frames, so this network cannot tell left from right: it is
    the rung that later networks stand on.

    - size: (H, W) of the frames, at least 4×4; the first dense layer has H//4 · W//4 · 64 inputs
      (the article's 64·8·8 would need 32×32 frames; for 64×64 it is 64·16·16).
    - frames: how many frames a clip is usually judged by; any number works.
    - channels: (input channels, first, second convolution, dense).
    """

    takes_channels = ("input", "first convolution", "second convolution", "dense")

    def __init__(self, num_classes, size=(64, 64), frames=16, channels=(3, 32, 64, 512), rng=None):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        self.expect_size(4)  # pooled twice
        H, W = self.size
        C_in, C1, C2, hidden = self.channels
        self.features = nn.Sequential(
            nn.Conv2d(C_in, C1, 3, padding=1, rng=rng),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(C1, C2, 3, padding=1, rng=rng),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear((H // 4) * (W // 4) * C2, hidden, rng=rng),
            nn.ReLU(),
            nn.Linear(hidden, num_classes, rng=rng),
        )
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier[-1].weight.data *= 0.1

    def swap_head(self, layer):
        head, self.classifier.modules[-1] = self.classifier.modules[-1], layer
        return head

    def forward(self, x):
        self.expect_clips(x, fixed="HW")
        N, T, H, W, C = x.shape
        self.save(N, T)
        scores = self.classifier(self.features(x.reshape(N * T, H, W, C)))  # (N·T, K)
        return scores.reshape(N, T, -1).mean(axis=1)  # (N, K)

    def backward(self, dy, need_input_grad=True):
        N, T = self.take()
        dscores = np.repeat(dy / np.asarray(T, dy.dtype), T, axis=0)  # each frame an equal share
        dfeatures = self.classifier.backward(dscores)
        dx = self.features.backward(dfeatures, need_input_grad=need_input_grad)
        if need_input_grad:
            return dx.reshape(N, T, *dx.shape[1:])
