"""Functions that NumPy lacks, element by element."""

import math

import numba

from nn.kernels.jit import kernel

BLOCK = 4096  # elements one task works through


@kernel(parallel=True)
def erf_flat(x, y):
    """y[i] = erf(x[i]) for flat arrays."""
    for block in numba.prange((len(x) + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(x))):
            y[i] = math.erf(x[i])
