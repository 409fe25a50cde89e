"""Rungs 1 to 4: the formula as seven loops; compiled; on all cores; in a better order."""

import numba
import numpy as np

from nn.kernels.jit import kernel
from nn.kernels.reference import pad


def _padded(x, w):
    """x with a border of zeros, and an array for y."""
    return pad(x, ((1, 1), (1, 1))), np.empty((*x.shape[:3], w.shape[3]), x.dtype)


# ---- rung 1: the formula ----------------------------------------------------------------


def seven_loops(x, w, y):
    """One loop for each letter. x has its border of zeros already: (N, H + 2, W + 2, C)."""
    N, H, W, O = y.shape
    C = x.shape[3]
    for n in range(N):
        for i in range(H):
            for j in range(W):
                for o in range(O):
                    y[n, i, j, o] = 0
                    for p in range(3):
                        for q in range(3):
                            for c in range(C):
                                y[n, i, j, o] += x[n, i + p, j + q, c] * w[p, q, c, o]


def plain_python(x, w):
    """Seven loops, in Python."""
    x, y = _padded(x, w)
    seven_loops(x, w, y)
    return y


# ---- rung 2: the same function, compiled ------------------------------------------------

seven_loops_compiled = kernel(seven_loops)


def jitted(x, w):
    """The same seven loops, compiled by Numba."""
    x, y = _padded(x, w)
    seven_loops_compiled(x, w, y)
    return y


# ---- rung 3: all cores ------------------------------------------------------------------


@kernel(parallel=True)
def _seven_loops_by_clip(x, w, y):
    for n in numba.prange(len(x)):
        seven_loops_compiled(x[n : n + 1], w, y[n : n + 1])


def parallel(x, w):
    """The same loops, the clips of the batch shared out among the cores."""
    x, y = _padded(x, w)
    _seven_loops_by_clip(x, w, y)
    return y


# ---- rung 4: the loops in another order -------------------------------------------------


@kernel
def _row_outputs_last(x, w, y):
    """One row of outputs: x (3, W + 2, C), y (W, O). The loop over o is the innermost."""
    W, O = y.shape
    C = x.shape[2]
    y[:] = 0
    for j in range(W):
        sums = y[j]
        for p in range(3):
            for q in range(3):
                for c in range(C):
                    number, weights = x[p, j + q, c], w[p, q, c]
                    for o in range(O):  # both neighbours in memory: vectors
                        sums[o] += number * weights[o]


@kernel(parallel=True)
def _rows_outputs_last(x, w, y):
    N, H = y.shape[:2]
    for row in numba.prange(N * H):
        n, i = row // H, row % H
        _row_outputs_last(x[n, i : i + 3], w, y[n, i])


def reordered(x, w):
    """The loop over output channels innermost: they lie side by side in memory."""
    x, y = _padded(x, w)
    _rows_outputs_last(x, w, y)
    return y
