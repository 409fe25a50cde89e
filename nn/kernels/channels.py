"""At least one vector of channels, for kernels that work on whole vectors of them."""

import numpy as np

from nn.kernels.aligned import aligned_zeros
from nn.kernels.cpu import VECTOR_BYTES


def widened(array, dtype=None):
    """The array, or a copy with channels of zeros added, enough to fill a vector of the dtype
    (its own where none is given)."""
    C = array.shape[-1]
    least = VECTOR_BYTES // np.dtype(dtype or array.dtype).itemsize
    if C >= least:
        return array
    wide = aligned_zeros((*array.shape[:-1], least), array.dtype)
    wide[..., :C] = array
    return wide


def narrowed(array, C):
    """The array's first C channels, in plain memory."""
    return np.ascontiguousarray(array[..., :C])
