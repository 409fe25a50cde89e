"""A CNN for each frame, attention over the frames."""

import numpy as np

import nn
from nn.arguments import whole_number
from video.models.base import VideoModel
from video.models.frame_features import FrameFeatures


class CNNAttention(VideoModel):
    """Frames look at each other, then one learned question is put to all of them.

    (N, T, H, W, C) → logits (N, num_classes):

        v = FrameFeatures(x) + position of the frame      (N, T, D)
        u = encoder(v)              self-attention over the frames, then a dense network for each
        a = ask(query, norm(u))     cross-attention: the query, (1, 1, D), is a parameter
        logits = a @ W + b

    The query is the same for all clips and asks "which class is it?"; the weights of `ask` say
    which frames answered. `nn.watch(model.ask)` keeps them, (N, heads, 1, T).

    Without the position of a frame its features would be a bag: the order would not matter.

    - heads: of both attentions; they divide the features.
    - size: (H, W), at least 2 to the power of the number of convolutions.
    - frames: how many frames a clip is usually judged by; any number works.
    - channels: (input channels, widths of the 2-D convolutions, features D).
    """

    options = ("heads",)

    def __init__(
        self,
        num_classes,
        size=(64, 64),
        frames=16,
        channels=(3, 16, 32, 64, 64, 128),
        rng=None,
        heads=4,
    ):
        rng = np.random.default_rng(rng)
        self.settle(num_classes, size, frames, channels)
        self.expect_size(2 ** (len(self.channels) - 2))
        self.heads, D = whole_number(self, "heads", heads), self.channels[-1]
        self.features = FrameFeatures(self.size, self.channels, rng)
        self.positions = nn.PositionalEncoding(D)
        self.encoder = nn.TransformerEncoderLayer(D, heads, hidden=2 * D, rng=rng)
        self.norm = nn.LayerNorm(D)
        self.query = nn.Parameter(rng.standard_normal((1, 1, D)).astype(np.float32))
        self.ask = nn.MultiHeadAttention(D, heads, rng=rng)
        self.classifier = nn.Linear(D, num_classes, rng=rng)
        # Small first logits: all classes start about equally likely, the loss at log K.
        self.classifier.weight.data *= 0.1

    def forward(self, x):
        self.expect_clips(x, fixed="HW")
        N, T, H, W, C = x.shape
        v = self.positions(self.features(x))  # (N, T, D)
        u = self.norm(self.encoder(v))
        query = np.repeat(self.query.data, N, axis=0)  # (N, 1, D): the same for every clip
        return self.classifier(self.ask(query, u)[:, 0])  # (N, K)

    def backward(self, dy, need_input_grad=True):
        danswer = self.classifier.backward(dy)[:, None]  # (N, 1, D)
        dquery, du = self.ask.backward(danswer)
        self.query.add_grad(dquery.sum(axis=0, keepdims=True))  # every clip was asked
        dv = self.encoder.backward(self.norm.backward(du))
        dfeatures = self.positions.backward(dv)
        return self.features.backward(dfeatures, need_input_grad=need_input_grad)
