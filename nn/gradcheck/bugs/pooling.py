"""Wrong backwards of pooling. Right: `nn/pooling.py` and `nn/kernels/reference.py`."""

import math

import numpy as np

from nn.gradcheck.bugs import bug
from nn.kernels import reference
from nn.module import Module

MAX = ("MaxPool1d", "MaxPool2d", "MaxPool3d")
AVG = ("AvgPool1d", "AvgPool2d", "AvgPool3d")


def taps(pool, out_size):
    """Tap by tap: its index, and the slice of the padded input that meets it."""
    return reference.taps(pool.kernel_size, out_size, pool.stride, (1,) * len(out_size))


def padded_zeros(pool, dy, input_size):
    """A dx that still has its padding: (N, *padded size, C)."""
    N, *_, C = dy.shape
    return reference.pad(np.zeros((N, *input_size, C), dy.dtype), pool.padding)


# ---- max pooling ------------------------------------------------------------------------


@bug(*MAX, only_with="overlapping windows")
class MaxOverlapOverwritten(Module):
    """An input that won several windows keeps the gradient of one instead of the sum."""

    def backward(self, dy, need_input_grad=True):
        winner, input_size = self.take()
        dx = padded_zeros(self, dy, input_size)
        for k, (_, window) in enumerate(taps(self, dy.shape[1:-1])):
            dx[window] = np.where(winner == k, dy, dx[window])
        return reference.unpad(dx, self.padding)


@bug(*MAX, only_with="equal inputs")
class EveryTieWins(Module):
    """All inputs equal to the maximum get the whole gradient, not only the first."""

    def forward(self, x):
        y, _ = reference.max_pool_forward(x, self.kernel_size, self.stride, self.padding)
        self.save(x, y)
        return y

    def backward(self, dy, need_input_grad=True):
        x, y = self.take()
        dx = padded_zeros(self, dy, x.shape[1:-1])
        x = reference.pad(x, self.padding, -np.inf)
        for _, window in taps(self, dy.shape[1:-1]):
            dx[window] += dy * (x[window] == y)
        return reference.unpad(dx, self.padding)


@bug(*MAX, only_with="a stride")
class MaxStrideForgotten(Module):
    """The windows are taken to lie one step apart."""

    def backward(self, dy, need_input_grad=True):
        winner, input_size = self.take()
        stride = (1,) * self.axes
        return reference.max_pool_backward(
            dy, winner, input_size, self.kernel_size, stride, self.padding
        )


@bug(*MAX, only_with="padding")
class MaxPaddingOffByOne(Module):
    """One zero too few is cut off in front, one too many at the end."""

    def backward(self, dy, need_input_grad=True):
        winner, input_size = self.take()
        padding = tuple((b - 1, a + 1) if b else (b, a) for b, a in self.padding)
        return reference.max_pool_backward(
            dy, winner, input_size, self.kernel_size, self.stride, padding
        )


@bug("MaxPool2d", "MaxPool3d")
class WinnerReadByColumns(Module):
    """The number of the winning tap is read with the first axis running fastest."""

    def backward(self, dy, need_input_grad=True):
        winner, input_size = self.take()
        dx = padded_zeros(self, dy, input_size)
        for tap, window in taps(self, dy.shape[1:-1]):
            k = np.ravel_multi_index(tap, self.kernel_size, order="F")
            dx[window] += dy * (winner == k)
        return reference.unpad(dx, self.padding)


# ---- average pooling --------------------------------------------------------------------


class AvgParts(Module):
    """The right backward of average pooling in two parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        ((_, *input_size, _),) = self.take()
        return self.spread(self.share(dy, input_size), input_size)

    def share(self, dy, input_size):
        return dy / math.prod(self.kernel_size)

    def spread(self, share, input_size):
        dx = padded_zeros(self, share, input_size)
        for _, window in taps(self, share.shape[1:-1]):
            dx[window] += share
        return reference.unpad(dx, self.padding)


@bug(*AVG)
class NotDivided(AvgParts):
    """Every input gets the whole gradient of its window: the 1/(P·Q) is missing."""

    def share(self, dy, input_size):
        return dy


@bug(*AVG, only_with="padding")
class PaddingNotCounted(AvgParts):
    """At the border dy is divided by the inputs in the window; forward counts the zeros too."""

    def share(self, dy, input_size):
        ones = np.ones((1, *input_size, 1), dy.dtype)
        window = self.kernel_size, self.stride, self.padding
        inputs = reference.avg_pool_forward(ones, *window) * math.prod(self.kernel_size)
        return dy / inputs


@bug("AvgPool2d", "AvgPool3d", only_with="an oblong window")
class SquareWindowAssumed(AvgParts):
    """dy is divided by P² although the window is P·Q."""

    def share(self, dy, input_size):
        return dy / self.kernel_size[0] ** len(input_size)


@bug(*AVG, only_with="overlapping windows")
class AvgOverlapOverwritten(AvgParts):
    """An input in several windows keeps the share of the last instead of the sum."""

    def spread(self, share, input_size):
        dx = padded_zeros(self, share, input_size)
        for _, window in taps(self, share.shape[1:-1]):
            dx[window] = share
        return reference.unpad(dx, self.padding)


@bug(*AVG, only_with="a stride")
class AvgStrideForgotten(AvgParts):
    """The windows are taken to lie one step apart."""

    def spread(self, share, input_size):
        no_division = share * math.prod(self.kernel_size)
        stride = (1,) * self.axes
        return reference.avg_pool_backward(
            no_division, input_size, self.kernel_size, stride, self.padding
        )


@bug("GlobalAvgPool")
class DividedByOneAxis(Module):
    """dy is divided by the length of the last axis instead of the number of places."""

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        N, *S, C = shape
        share = dy / S[-1]
        return np.broadcast_to(share.reshape(N, *[1] * len(S), C), shape).copy()


@bug("GlobalAvgPool")
class OnePlaceOnly(Module):
    """The whole gradient goes to the first place, as if it had been a maximum."""

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        dx = np.zeros(shape, dy.dtype)
        dx.reshape(len(dy), -1, dy.shape[-1])[:, 0] = dy
        return dx
