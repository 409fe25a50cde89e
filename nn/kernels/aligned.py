"""The memory of arrays: where they begin, and how to walk through them.

Scratch arrays begin at a multiple of 64 bytes, the size of a cache line.

A vector of AVX-512 is as long as a cache line. Where it begins anywhere else, every load of one
touches two lines and takes twice as long. NumPy promises 16 bytes only.
"""

import math

import numpy as np

from nn.kernels.jit import kernel
from nn.kernels.memory import pool

LINE = 64
ALIGNMENT = LINE // 4  # so many numbers, float32 or float64, are to spare in what is aligned


def aligned_empty(shape, dtype):
    """np.empty(shape, dtype), beginning at a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = pool.lend(size + LINE)
    skip = -memory.__array_interface__["data"][0] % LINE  # (quicker to ask than ctypes.data)
    return memory[skip : skip + size].view(dtype).reshape(shape)


def aligned_zeros(shape, dtype):
    """np.zeros(shape, dtype), beginning at a cache line."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array


def flat_view(a):
    """A view of memory that strides may walk through backwards: (flat array, start, steps)."""
    steps = tuple([s // a.itemsize for s in a.strides])
    if a.flags.c_contiguous:
        return a.reshape(-1), 0, steps
    lowest = a[tuple(slice(-1, None) if s < 0 else slice(1) for s in steps)]
    span = 1 + sum(abs(s) * (n - 1) for s, n in zip(steps, a.shape, strict=True))
    start = sum(-s * (n - 1) for s, n in zip(steps, a.shape, strict=True) if s < 0)
    return np.lib.stride_tricks.as_strided(lowest, (span,), (a.itemsize,)), start, steps


@kernel
def aligned(scratch):
    """Inside a kernel: `scratch` from the first cache line that begins in it."""
    return scratch[-scratch.ctypes.data % LINE // scratch.itemsize :]
