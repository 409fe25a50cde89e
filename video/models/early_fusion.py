"""Early fusion: the frames of a clip as the channels of one image."""

import numpy as np

import nn
from video.models.base import VideoModel


class EarlyFusionCNN(VideoModel):
    """All frames enter the first 2-D convolution together, side by side on the channel axis.

    (N, T, H, W, C) → logits (N, num_classes):

        x (N, H, W, T·C) → [conv 3×3 padding 1, batch norm, ReLU, max pool 2×2] for each width
                         → mean over places → dense num_classes

    The first layer sees all of time at once and gives a picture without any: whatever shall be
    known of motion must be found in one step, by weights that belong to fixed frames. A pattern
    learned at frames 3 and 4 says nothing about frames 5 and 6. Karpathy et al. 2014 compare this
    with other ways of joining frames.

    - size: (H, W), at least 2 to the power of the number of convolutions; clips of other sizes
      are accepted too, since the places are averaged in the end.
    - frames: T; the clips must have that many.
    - channels: (input channels, then the widths of the convolutions).
    """

    any_length = False

    def __init__(self, num_classes, size=(64, 64), frames=16, channels=(3, 32, 64, 128), rng=None):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        C, *widths = self.channels
        self.expect_size(2 ** len(widths))
        blocks, width = [], self.frames * C
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
        self.features = nn.Sequential(*blocks)
        self.pool = nn.GlobalAvgPool()
        self.classifier = nn.Linear(width, num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier.weight.data *= 0.1

    def forward(self, x):
        self.expect_clips(x, fixed="T")
        N, T, H, W, C = x.shape
        self.save(x.shape)
        x = x.transpose(0, 2, 3, 1, 4).reshape(N, H, W, T * C)
        return self.classifier(self.pool(self.features(x)))  # (N, K)

    def backward(self, dy, need_input_grad=True):
        N, T, H, W, C = self.take()[0]
        dfeatures = self.pool.backward(self.classifier.backward(dy))
        dx = self.features.backward(dfeatures, need_input_grad=need_input_grad)
        if need_input_grad:
            return dx.reshape(N, H, W, T, C).transpose(0, 3, 1, 2, 4)  # (N, T, H, W, C)
