"""Pooling: one number for each window. Article §3.1.2.

Read literally the article's window moves one step at a time (stride=1); in use it steps by its
own size, which is the default here. Both work. Nothing is learned.
"""

import numpy as np

from nn import kernels
from nn.arguments import expect_gradient, per_axis
from nn.convolution import AXIS_NAMES
from nn.module import Module


class _Pool(Module):
    """What all windowed pooling layers share: the window, its checks and its description."""

    axes = None

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size = per_axis(self, "kernel_size", kernel_size)
        self.stride = per_axis(self, "stride", kernel_size if stride is None else stride)
        padding = per_axis(self, "padding", padding, least=0)
        if any(2 * p > k for p, k in zip(padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: padding {padding} is more than half the kernel "
                f"{self.kernel_size}: some windows would hold nothing but padding"
            )
        self.padding = tuple((p, p) for p in padding)

    @property
    def _window(self):
        return self.kernel_size, self.stride, self.padding

    def output_size(self, input_size):
        """The spatial sizes of y for those of x."""
        return kernels.output_size(input_size, *self._window, dilation=(1,) * self.axes)

    def _check(self, x):
        if x.ndim != self.axes + 2:
            raise ValueError(
                f"{self.describe()}: expected an input (N, {AXIS_NAMES[self.axes]}, C), "
                f"got {x.shape}"
            )
        if min(self.output_size(x.shape[1:-1])) < 1:
            raise ValueError(
                f"{self.describe()}: the window {self.kernel_size} is larger than the padded "
                f"input {x.shape[1:-1]}"
            )

    def describe(self):
        parts = [f"{self.kernel_size}"]
        if self.stride != self.kernel_size:
            parts.append(f"stride={self.stride}")
        if any(map(any, self.padding)):
            parts.append(f"padding={tuple(p[0] for p in self.padding)}")
        return f"{type(self).__name__}({', '.join(parts)})"


class _MaxPool(_Pool):
    """y(i, j) = max_p max_q x(i·stride + p, j·stride + q), on each channel by itself.

    x (N, *S, C) → y (N, *S_out, C), S_out = ⌊(S + 2·padding − K) / stride⌋ + 1.

    Backward: only the winner of a window moved the output, so it gets all of dy, the others
    nothing; an input that won several windows gets the sum. Of equal inputs the first wins.
    """

    def forward(self, x):
        self._check(x)
        y, winner = kernels.max_pool_forward(x, *self._window)
        self.save(winner, x.shape[1:-1])
        return y

    def backward(self, dy, need_input_grad=True):
        winner, input_size = self.take()
        expect_gradient(self, dy, winner.shape)
        return kernels.max_pool_backward(dy, winner, input_size, *self._window)


class _AvgPool(_Pool):
    """y(i, j) = 1/(P·Q) Σ_p Σ_q x(i·stride + p, j·stride + q), on each channel by itself.

    x (N, *S, C) → y (N, *S_out, C), S_out as for max pooling. Padding counts as zeros.

    Backward: each input of a window gets dy / (P·Q); an input in several windows the sum.
    """

    def forward(self, x):
        self._check(x)
        self.save(x.shape)
        return kernels.avg_pool_forward(x, *self._window)

    def backward(self, dy, need_input_grad=True):
        ((N, *input_size, C),) = self.take()
        expect_gradient(self, dy, (N, *self.output_size(input_size), C))
        return kernels.avg_pool_backward(dy, input_size, *self._window)


class MaxPool1d(_MaxPool):
    """The largest value in each window along one axis: (N, T, C) → (N, T_out, C). §3.1.2."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest value in each window: (N, H, W, C) → (N, H_out, W_out, C). §3.1.2."""

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest value in each window: (N, T, H, W, C) → (N, T', H', W', C). §3.1.2."""

    axes = 3


class AvgPool1d(_AvgPool):
    """The mean of each window along one axis: (N, T, C) → (N, T_out, C). §3.1.2."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of each window: (N, H, W, C) → (N, H_out, W_out, C). §3.1.2."""

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window: (N, T, H, W, C) → (N, T', H', W', C). §3.1.2."""

    axes = 3


class GlobalAvgPool(Module):
    """The mean over everything between N and C: (N, *S, C) → (N, C).

    y = 1/|S| Σ_i x(i). Backward: each place gets dy / |S|.
    """

    def forward(self, x):
        if x.ndim < 3:
            raise ValueError(f"{self.describe()}: expected an input (N, ..., C), got {x.shape}")
        self.save(x.shape)
        return x.mean(axis=tuple(range(1, x.ndim - 1)))  # (N, C)

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        N, *S, C = shape
        expect_gradient(self, dy, (N, C))
        share = dy / np.asarray(np.prod(S), dy.dtype)
        return np.broadcast_to(share.reshape(N, *[1] * len(S), C), shape).copy()
