"""A CNN for each frame, a recurrent layer from frame to frame."""

import numpy as np

import nn
from video.models.base import VideoModel
from video.models.frame_features import FrameFeatures

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class CNNRNN(VideoModel):
    """Reads a clip like a sentence: what it knows after the last frame decides.

    (N, T, H, W, C) → logits (N, num_classes):

        v = FrameFeatures(x)  (N, T, D)
        h_t = cell(h_{t−1}, v_t)           with as many hidden units as features
        logits = h_T @ W + b

    Only h_T touches the loss directly; all earlier frames are reached through time (Donahue et
    al. 2015, arXiv:1411.4389).

    - cell: "rnn", "lstm" or "gru".
    - size: (H, W), at least 2 to the power of the number of convolutions.
    - frames: how many frames a clip is usually judged by; any number works.
    - channels: (input channels, widths of the 2-D convolutions, features and hidden units D).
    """

    options = ("cell",)

    def __init__(
        self,
        num_classes,
        size=(64, 64),
        frames=16,
        channels=(3, 16, 32, 64, 64, 128),
        rng=None,
        cell="lstm",
    ):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        self.expect_size(2 ** (len(self.channels) - 2))
        if cell not in tuple(CELLS):
            raise ValueError(f"CNNRNN: cell must be one of {', '.join(CELLS)}, got {cell!r}")
        self.cell = cell
        D = self.channels[-1]
        self.features = FrameFeatures(self.size, self.channels, rng)
        self.rnn = CELLS[cell](D, D, rng=rng)
        self.classifier = nn.Linear(D, num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier.weight.data *= 0.1

    def forward(self, x):
        self.expect_clips(x, fixed="HW")
        h = self.rnn(self.features(x))  # (N, T, D)
        self.save(h.shape)
        return self.classifier(h[:, -1])  # (N, K)

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        dh = np.zeros(shape, dy.dtype)
        dh[:, -1] = self.classifier.backward(dy)  # the other h were not looked at
        return self.features.backward(self.rnn.backward(dh), need_input_grad=need_input_grad)
