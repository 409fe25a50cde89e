"""Up-sampling: the way back from few places to many, without anything learned."""

import numpy as np

from nn.arguments import expect_gradient, per_axis
from nn.convolution import AXIS_NAMES
from nn.module import Module


def linear_weights(size, factor, dtype):
    """The matrix A (size · factor, size) of linear interpolation along one axis.

    Output i looks at the place (i + ½)/factor − ½ of the input, which lies between two inputs;
    it takes a share of each. Outside the outermost centres the border value is kept.
    """
    place = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    low = np.minimum(place.astype(int), max(size - 2, 0))
    share = place - low
    A = np.zeros((size * factor, size), dtype)
    rows = np.arange(size * factor)
    A[rows, low] += 1 - share
    A[rows, np.minimum(low + 1, size - 1)] += share
    return A


def along(A, x, axis):
    """Multiply matrix A (m, n) onto the given axis of x, which has n places: it then has m."""
    return np.moveaxis(np.tensordot(A, x, axes=(1, axis)), 0, axis)


class _Upsample(Module):
    """What Upsample2d and Upsample3d share.

    x (N, *S, C) → y (N, *(S · scale), C).

    - mode "nearest": y(i) = x(⌊i / scale⌋), each value repeated. Backward: dx sums the gradients
      of its copies.
    - mode "linear": y = A x along each axis in turn, A the matrix of linear interpolation between
      the centres of places (PyTorch's bilinear and trilinear with align_corners=False).
      Backward: dx = Aᵀ dy along each axis.
    """

    axes = None

    def __init__(self, scale, mode="nearest"):
        if mode not in ("nearest", "linear"):
            raise ValueError(f'{type(self).__name__}: mode is "nearest" or "linear", got {mode!r}')
        self.scale = per_axis(self, "scale", scale)
        self.mode = mode

    def forward(self, x):
        if x.ndim != self.axes + 2:
            raise ValueError(
                f"{self.describe()}: expected an input (N, {AXIS_NAMES[self.axes]}, C), "
                f"got {x.shape}"
            )
        self.save(x.shape)
        for axis, factor in enumerate(self.scale, start=1):
            if self.mode == "nearest":
                x = np.repeat(x, factor, axis=axis)
            else:
                x = along(linear_weights(x.shape[axis], factor, x.dtype), x, axis)
        return x

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        N, *S, C = shape
        enlarged = (size * factor for size, factor in zip(S, self.scale, strict=True))
        expect_gradient(self, dy, (N, *enlarged, C))
        for axis, factor in enumerate(self.scale, start=1):
            if self.mode == "nearest":
                copies = (*dy.shape[:axis], shape[axis], factor, *dy.shape[axis + 1 :])
                dy = dy.reshape(copies).sum(axis=axis + 1)
            else:
                dy = along(linear_weights(shape[axis], factor, dy.dtype).T, dy, axis)
        return dy

    def describe(self):
        return f"{type(self).__name__}({self.scale}, mode={self.mode!r})"


class Upsample2d(_Upsample):
    """Enlarge height and width: (N, H, W, C) → (N, H·scale, W·scale, C). See `_Upsample`."""

    axes = 2


class Upsample3d(_Upsample):
    """Enlarge time, height and width: (N, T, H, W, C) → (N, T·scale, …, C). See `_Upsample`."""

    axes = 3
