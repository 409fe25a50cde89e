"""Where in the sequence, or in the clip: added to the features, since attention cannot tell."""

import numpy as np

from nn.arguments import expect_gradient, whole_number
from nn.module import Module, Parameter

LONGEST = 10_000  # the slowest wave turns once in 2π·LONGEST positions
SPREAD = 0.02  # of first values that are learned: small beside features of variance 1


def sinusoids(T, D, dtype=np.float32):
    """P (T, D): each position as the hands of D/2 clocks, from fast to slow.

        P[t, 2i] = sin(t · ω_i)     P[t, 2i+1] = cos(t · ω_i)     ω_i = 10000^(−2i/D)

    The vector of t + k is the one of t with each pair turned by k ω_i: a distance is the same
    linear map everywhere, and P_t · P_{t+k} depends on k alone.
    """
    angles = np.arange(T)[:, None] * LONGEST ** (-np.arange(0, D, 2) / D)  # (T, ⌈D/2⌉)
    P = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(T, -1)
    return P[:, :D].astype(dtype)


class PositionalEncoding(Module):
    """y = x + P: a vector for each position is added, the same for every example.

    Attention has no order: if its inputs change places, so do its outputs, and nothing else.
    With a vector of its own for each position, order is among the features.

    - kind "sinusoidal": x (N, T, D) of any T, nothing learned; see `sinusoids`. Vaswani et al.
      2017, §3.5.
    - kind "learned": x (N, T, D), T up to `size`; a table `weight` (size, D).
    - kind "space-time": x (N, T, H, W, D), up to `size` = (T, H, W); y = x + time[t] +
      space[h, w], with tables `time_weight` (T, D) and `space_weight` (H, W, D) (Bertasius et
      al. 2021, arXiv:2102.05095). Two tables instead of one for T·H·W positions: what is learned
      of a place serves at all times.

    Backward: dx = dy; a row of a table gets the sum of dy over all places to which it was added.
    Raises ValueError for another kind, without a size where one is needed, and for longer inputs.
    """

    def __init__(self, dim, kind="sinusoidal", size=None, rng=None):
        self.dim = whole_number(self, "dim", dim)
        axes = {"sinusoidal": 0, "learned": 1, "space-time": 3}
        if kind not in axes:
            raise ValueError(
                f"PositionalEncoding: kind must be one of {', '.join(axes)}, got {kind!r}"
            )
        size = (size,) if isinstance(size, int | np.integer) else tuple(size or ())
        if len(size) != axes[kind]:
            wanted = ("no size", "size, the largest T", "", "size=(T, H, W)")[axes[kind]]
            raise ValueError(f"PositionalEncoding: {kind!r} takes {wanted}, got size={size}")
        self.kind = kind
        self.size = tuple(whole_number(self, "size", n) for n in size)
        rng = np.random.default_rng(rng)

        def table(*shape):
            return Parameter((SPREAD * rng.standard_normal(shape)).astype(np.float32))

        if kind == "learned":
            self.weight = table(*self.size, dim)
        elif kind == "space-time":
            self.time_weight = table(self.size[0], dim)
            self.space_weight = table(*self.size[1:], dim)

    def forward(self, x):
        self._check(x)
        self.save(x.shape)
        if self.kind == "sinusoidal":
            return x + sinusoids(x.shape[1], self.dim, x.dtype)
        if self.kind == "learned":
            return x + self.weight.data[: x.shape[1]]
        _, T, H, W, _ = x.shape
        time = self.time_weight.data[:T, None, None]  # (T, 1, 1, D)
        return x + time + self.space_weight.data[:H, :W]

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        expect_gradient(self, dy, shape)
        if self.kind == "learned":
            _add_to_rows(self.weight, dy.sum(axis=0))  # (T, D)
        elif self.kind == "space-time":
            of_clip = dy.sum(axis=0)  # (T, H, W, D)
            _add_to_rows(self.time_weight, of_clip.sum(axis=(1, 2)))
            _add_to_rows(self.space_weight, of_clip.sum(axis=0))
        return dy

    def _check(self, x):
        axes = max(1, len(self.size))
        names = ", ".join("THW"[:axes])
        if x.ndim != axes + 2 or x.shape[-1] != self.dim:
            raise ValueError(f"{self.describe()}: expected (N, {names}, {self.dim}), got {x.shape}")
        if any(n > most for n, most in zip(x.shape[1:-1], self.size, strict=False)):
            raise ValueError(
                f"{self.describe()}: {x.shape[1:-1]} positions are more than its size {self.size}"
            )

    def describe(self):
        size = f", size={self.size[0] if len(self.size) == 1 else self.size}" if self.size else ""
        return f"PositionalEncoding({self.dim}, {self.kind!r}{size})"


def _add_to_rows(table, gradient):
    """A shorter input met only the first rows of each axis; the others get zeros."""
    whole = np.zeros_like(table.data)
    whole[tuple(slice(n) for n in gradient.shape)] = gradient
    table.add_grad(whole)
