"""The fully connected layer, and the flattening that leads to it. Article §3.1.3."""

import math

import numpy as np

from nn import initializers, kernels
from nn.arguments import expect_gradient, whole_number
from nn.module import Module, Parameter


class Linear(Module):
    """y = x @ W + b: every output is a weighted sum of all inputs (article §3.1.3).

        y_k = Σ_i x_i W_ik + b_k

    x (..., D_in) → y (..., D_out), with W (D_in, D_out) and b (D_out,).

    Backward, for a gradient dy (..., D_out):

        dx = dy @ Wᵀ        (..., D_in)    each input reached every output through its row of W
        dW = Σ xᵀ @ dy      (D_in, D_out)  summed over everything in front of the last axis
        db = Σ dy           (D_out,)

    The three products are NumPy's where they are small; the others are done on the kernels'
    threads (`nn/kernels/product.py`; for layers of many weights `nn/kernels/dense.py`).
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        self.in_features = whole_number(self, "in_features", in_features)
        self.out_features = whole_number(self, "out_features", out_features)
        rng = np.random.default_rng(rng)
        shape = (in_features, out_features)
        self.weight = Parameter(initializers.he_uniform(shape, in_features, rng))
        self.bias = Parameter(initializers.zeros(out_features)) if bias else None

    def forward(self, x):
        if x.ndim < 2 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"{self.describe()}: expected an input (..., {self.in_features}), got {x.shape}"
            )
        self.save(x)
        b = None if self.bias is None else self.bias.data
        y = kernels.dense_forward(x.reshape(-1, self.in_features), self.weight.data, b)
        return y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        expect_gradient(self, dy, (*x.shape[:-1], self.out_features))
        x_rows = x.reshape(-1, self.in_features)
        dy_rows = dy.reshape(-1, self.out_features)
        if self.weight.trainable:
            self.weight.add_grad(kernels.dense_backward_weight(dy_rows, x_rows))  # (D_in, D_out)
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(kernels.add_rows(dy_rows))  # (D_out,)
        if need_input_grad:
            dx_rows = kernels.dense_backward_input(dy_rows, self.weight.data)
            return dx_rows.reshape(x.shape)  # (..., D_in)

    def describe(self):
        bias = "" if self.bias is not None else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias})"


class Flatten(Module):
    """(N, ...) → (N, D): all axes but the first in one, row-major, channels running fastest.

    Nothing is computed, so backward only folds the gradient back into the shape of x.
    """

    def forward(self, x):
        self.save(x.shape)
        return x.reshape(len(x), -1)

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        expect_gradient(self, dy, (shape[0], math.prod(shape[1:])))
        return dy.reshape(shape)
