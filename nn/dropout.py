"""Dropout: noise that keeps units from relying on one another."""

import numpy as np

from nn.arguments import expect_gradient
from nn.module import Module


class Dropout(Module):
    """In training each element is set to zero with probability p, the others grow by 1/(1 − p).

    y = x · m / (1 − p), where m is 1 with probability 1 − p, else 0 (Srivastava et al. 2014).
    So the expected output is x, and in use (`eval()`) nothing is done at all: y = x.

    Backward passes the same mask: dx = dy · m / (1 − p). Any shape. `rng` draws the mask.
    """

    def __init__(self, p, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is the share to drop, 0 <= p < 1, got {p}")
        self.p = p
        self.rng = np.random.default_rng(rng)

    def forward(self, x):
        if not self.training or self.p == 0:
            self.save(None)
            return x
        kept = self.rng.random(x.shape, np.float32) >= self.p
        scaled_mask = kept.astype(x.dtype) / (1 - self.p)
        self.save(scaled_mask)
        return x * scaled_mask

    def backward(self, dy, need_input_grad=True):
        (scaled_mask,) = self.take()
        if scaled_mask is None:
            return dy
        expect_gradient(self, dy, scaled_mask.shape)
        return dy * scaled_mask

    def describe(self):
        return f"Dropout({self.p})"
