"""A vector for every frame: what recurrent layers and attention over time stand on."""

import math

import numpy as np

import nn


class FrameFeatures(nn.Module):
    """A 2-D CNN over all frames at once. Clips (N, T, H, W, C) → features (N, T, D).

    Frames are folded into the batch, so T frames cost one pass, not T:

        x (N·T, H, W, C) → [conv 3×3 padding 1, batch norm, ReLU, max pool 2×2] for each width
                         → flatten → dense D → layer norm → (N, T, D)

    The places are flattened, not averaged: where a thing is in each frame is what tells how it
    moved. The layer norm gives features the size that gates and position encodings expect.

    size: (H, W), at least 2 to the power of the number of convolutions. channels: (input, widths
    of the convolutions, D).
    """

    def __init__(self, size, channels, rng=None):
        rng = np.random.default_rng(rng)
        width, *widths, D = channels
        blocks = []
        for wider in widths:
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(width, wider, 3, padding=1, bias=False, rng=rng),
                    nn.BatchNorm(wider),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
            )
            width = wider
        places = math.prod(n // 2 ** len(widths) for n in size)
        self.maps = nn.Sequential(*blocks)
        self.vector = nn.Sequential(
            nn.Flatten(), nn.Linear(places * width, D, rng=rng), nn.LayerNorm(D)
        )

    def forward(self, x):
        N, T, *frame = x.shape
        self.save(N, T, frame)
        return self.vector(self.maps(x.reshape(N * T, *frame))).reshape(N, T, -1)

    def backward(self, dy, need_input_grad=True):
        N, T, frame = self.take()
        dmaps = self.vector.backward(dy.reshape(N * T, -1))
        dx = self.maps.backward(dmaps, need_input_grad=need_input_grad)
        if need_input_grad:
            return dx.reshape(N, T, *frame)
