"""Patterns: sums over too little, and arrays that are the same all along an axis."""

import numpy as np

from nn.gradcheck.hints.evidence import CLOSE, same


def one_of_a_sum(e):
    """a is what one index of dy gives alone, or all but one."""
    if e.parts is None:
        return
    a = e.claim.ravel()
    whole = e.parts.reshape(len(a), -1).sum(axis=1)
    for axis in range(1, e.parts.ndim):
        length = e.parts.shape[axis]
        if length < 2:
            continue
        others = tuple(i for i in range(1, e.parts.ndim) if i != axis)
        shares = e.parts.sum(axis=others)  # (size, length)
        for k in range(length):
            if same(a, shares[:, k]):
                yield (f"missing a sum over axis {axis - 1} of dy: a is what index {k} gives alone")
                return
            if same(a, whole - shares[:, k]):
                yield f"index {k} of axis {axis - 1} of dy is left out of the sum"
                return


def overwritten(e):
    """Where several outputs use one entry, a holds the share of one."""
    if e.parts is None or e.parts.ndim < 2:
        return
    wrong = e.wrong.ravel()
    shares = e.parts.reshape(len(wrong), -1, e.parts.shape[-1])
    scale = np.abs(e.claim).max()
    for share in (shares.sum(axis=-1), shares.reshape(len(wrong), -1)):  # of a place, an output
        several = np.count_nonzero(np.abs(share) > CLOSE * scale, axis=1) > 1
        one_of_them = np.abs(share - e.claim.reshape(-1, 1)).min(axis=1) <= CLOSE * scale
        if np.count_nonzero(wrong) > 2 and (several & one_of_them)[wrong].all():
            yield (
                "where several outputs use one entry, a holds the share of one of them: is a sum "
                "missing, or a += (np.add.at) where it says =?"
            )
            return


def constant(e):
    """a knows no difference along an axis, or n knows none."""
    a, n = e.claim, e.numeric
    if not np.isfinite(n).all():
        return
    for axis, length in enumerate(n.shape):
        if length < 2 or n.size < 3:
            continue
        mean_a, mean_n = (array.mean(axis=axis, keepdims=True) for array in (a, n))
        if same(a, mean_a + 0 * a) and not same(n, mean_n + 0 * n):
            for factor, name in ((1, "mean"), (length, "sum")):
                if same(mean_a, factor * mean_n):
                    yield f"a is the {name} of n over axis {axis}: each index needs its own"
                    return
            yield f"a is the same all along axis {axis}, n is not: each index needs its own"
            return
        if same(n, mean_n + 0 * n) and not same(a, mean_a + 0 * a):
            for factor, name in ((1, "mean"), (length, "sum")):
                if same(factor * mean_a, mean_n):
                    yield f"n is the {name} of a over axis {axis}: every index takes its share"
                    return
