"""A race, shown and mended: the weight gradient summed by several tasks at once.

    dw(p, q, c, o) = Σ_n Σ_i Σ_j x(n, i + p − 1, j + q − 1, c) · dy(n, i, j, o)

Every task adds to the same few numbers. `sums[k] += v` is three steps: fetch sums[k], add v,
store the result. If two tasks fetch before either has stored, one addition is lost. Nothing is
reported, and the result differs from run to run.

`racing` is wrong, stands here to be looked at, and is used by nothing.
"""

import numba
import numpy as np

from nn.kernels.jit import kernel
from nn.kernels.reference import pad

TASKS = 16  # the shares into which the sum is divided; not the number of threads


@kernel
def _add_rows(dy, x, first, last, dw):
    """Add what the rows of outputs from the first to before the last contribute to dw."""
    H, W, O = dy.shape[1:]
    C = x.shape[3]
    for row in range(first, last):
        n, i = row // H, row % H
        for j in range(W):
            for p in range(3):
                for q in range(3):
                    for c in range(C):
                        for o in range(O):
                            dw[p, q, c, o] += x[n, i + p, j + q, c] * dy[n, i, j, o]


@kernel(parallel=True)
def _add_tasks(dy, x, sums):
    """Each task adds its rows to sums[task % len(sums)]. With fewer sums than tasks: a race."""
    rows = dy.shape[0] * dy.shape[1]
    for task in numba.prange(TASKS):
        first, last = task * rows // TASKS, (task + 1) * rows // TASKS
        _add_rows(dy, x, np.int64(first), np.int64(last), sums[task % len(sums)])


def _weight_gradient(dy, x, n_sums):
    sums = np.zeros((n_sums, 3, 3, x.shape[3], dy.shape[3]), x.dtype)
    _add_tasks(dy, pad(x, ((1, 1), (1, 1))), sums)
    return sums


def racing(dy, x):
    """WRONG on more than one core: all tasks add to the same sums."""
    return _weight_gradient(dy, x, 1)[0]


def mended(dy, x):
    """Each task has sums of its own. In the end they are added up, always in the same order.

    How many there are does not depend on the number of threads, so no bit of the result does.
    """
    return _weight_gradient(dy, x, TASKS).sum(axis=0)


def count_lost(weight_gradient, tries=20):
    """(additions lost, additions made) in the first try that loses any, or in the last.

    With x and dy all ones, and the border left out, each sum counts its additions.
    """
    x, dy = np.ones((64, 64, 64, 1), np.float32), np.zeros((64, 64, 64, 2), np.float32)
    dy[:, 1:-1, 1:-1] = 1  # here all nine taps meet ones
    for _ in range(tries):
        dw = weight_gradient(dy, x)
        made = int(dy.sum(dtype=np.float64)) * 9
        lost = made - int(dw.sum(dtype=np.float64))
        if lost:
            break
    return lost, made
