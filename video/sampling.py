"""Which frames of a clip a network sees.

A clip of T frames lasts T frame times, and frame j is on display during [j, j + 1). Cut the
clip into n equal parts and look once in each: the k-th look, a fraction u into its part, sees

    frame floor((k + u) T / n),    k = 0 .. n-1,  0 <= u < 1.

With u = 1/2 these are the centres of the parts: `uniform`. With u drawn anew for every part it
is `random`, the segment sampling of Temporal Segment Networks (Wang et al. 2016); for n = 1
that is one frame at a random time of the clip. `dense` takes n frames in a row instead, so that
motion keeps its speed, from a random start.

A clip shorter than n gives all its frames and repeats its last one, whatever the sampling; so
does `video.read(path, frames=n)`.
"""

import numpy as np

EXAMPLE, ORDER, BATCH = 0, 1, 2  # what a random number is for, see `generator`


def uniform(T, n, rng=None):
    """Indices (n,) of the frames at the centres of n equal parts of a clip of T frames."""
    if T < n:
        return short(T, n)
    k = np.arange(n)
    return (2 * k + 1) * T // (2 * n)  # (k + 1/2) T/n, in whole numbers


def random(T, n, rng):
    """Indices (n,), one frame at a random time of each of n equal parts of the clip."""
    if T < n:
        return short(T, n)
    k = np.arange(n)
    indices = ((k + rng.random(n)) * T / n).astype(np.int64)
    return np.minimum(indices, T - 1)  # rounding may reach T itself


def dense(T, n, rng):
    """Indices (n,) of n frames in a row, from a random start."""
    if T < n:
        return short(T, n)
    return rng.integers(T - n + 1) + np.arange(n)


def short(T, n):
    """Indices (n,) for a clip of fewer than n frames: all of them, then the last again."""
    return np.minimum(np.arange(n), T - 1)


SAMPLINGS = {"uniform": uniform, "random": random, "dense": dense}


def sampler(sampling):
    """The function `(T, n, rng) -> indices` that a name stands for; a function stays itself."""
    if callable(sampling):
        return sampling
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling is one of {', '.join(SAMPLINGS)}, not {sampling!r}")
    return SAMPLINGS[sampling]


def generator(seed, epoch, index, purpose=EXAMPLE):
    """The random numbers of one example (or of a batch, or of an epoch's order).

    They follow from (seed, epoch, index) alone. Neither the number of threads nor a run that
    was interrupted and resumed changes what happens to a clip. `purpose` keeps the draws for
    examples, for the order of an epoch and for whole batches apart.
    """
    return np.random.default_rng((seed, epoch, index, purpose))
