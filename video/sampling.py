"""Which frames of a clip a network sees.

A clip of T frames lasts T frame times, and frame j is on display during [j, j + 1). Cut the
clip into n equal parts and look once in each: the k-th look, a fraction u into its part, sees

    frame floor((k + u) T / n),    k = 0 .. n-1,  0 <= u < 1.

With u = 1/2 these are the centres of the parts: `uniform`. With u drawn anew for every part it
is `random`, the segment sampling of Temporal Segment Networks (Wang et al. 2016); for n = 1
that is one frame at a random time of the clip. `dense` takes n frames in a row instead, so that
motion keeps its speed, from a random start. `Offset(u)` takes another u than 1/2, for several views
of one clip, and `Window(share)` is `random` within a random part of the clip.

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


class Offset:
    """Frames like `uniform`, at the share u of each part instead of its centre: 0 <= u < 1."""

    def __init__(self, u):
        if not 0 <= u < 1:
            raise ValueError(f"Offset: expected 0 <= u < 1, got {u}")
        self.u = u

    def __call__(self, T, n, rng=None):
        """Indices (n,) for a clip of T frames."""
        if T < n:
            return short(T, n)
        return np.minimum(((np.arange(n) + self.u) * T / n).astype(np.int64), T - 1)

    def __repr__(self):
        return f"Offset({self.u:g})"


class Window:
    """Frames like `random`, but of a part of the clip: jitter in time, for training.

    The part lasts a share of the clip drawn from [1 - cut, 1] and begins anywhere it fits, so a
    clip is seen earlier or later, and faster or slower, than it was cut. At least n frames long.
    """

    def __init__(self, cut=0.2):
        if not 0 <= cut < 1:
            raise ValueError(f"Window: expected 0 <= cut < 1, got {cut}")
        self.cut = cut

    def __call__(self, T, n, rng):
        """Indices (n,) for a clip of T frames."""
        if T < n:
            return short(T, n)
        length = max(n, T * (1 - self.cut * rng.random()))
        start = rng.random() * (T - length)
        t = start + (np.arange(n) + rng.random(n)) * length / n
        return np.minimum(t.astype(np.int64), T - 1)

    def __repr__(self):
        return f"Window({self.cut:g})"


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
