"""Products with one matrix again and again, each with few rows: y = x @ w at every step in time.

    for t in range(T):
        q = h @ W                  (N, H) @ (H, G·H), and the next h needs this q

A library's product first copies the matrix into the order in which it reads it. For a large x that
is little beside the product; for 32 rows it is a third of the time, and done again at each step.
Here it is done once: columns go in panels as wide as a tile, each panel with its terms one after
the other. A tile then reads its panel from front to back.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import SHORT, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, load, store
from nn.kernels.turns import take

LEAST_TIMES = 4  # products for which packing pays
LEAST_WEIGHTS = 1 << 14  # smaller products are NumPy's: calling a kernel takes as long
LARGE = 1 << 21  # multiplications for which waking the threads pays


def suits(K, N, times, dtype):
    """Is (·, K) @ (K, N) for the panels, if it is done so many times?"""
    if dtype not in (np.float32, np.float64):
        return False
    width = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    return times >= LEAST_TIMES and N % width == 0 and K * N >= LEAST_WEIGHTS


def pack(w):
    """w (K, N) as panels (N / width, K, width). w may be a transposed view."""
    K, N = w.shape
    width = 2 * VECTOR_BYTES // w.itemsize
    panels = aligned_empty((N // width, K, width), w.dtype)
    panels[...] = w.reshape(K, N // width, width).swapaxes(0, 1)
    return panels


@kernel
def _panels(turns, x, panels, zeros, y):
    """y = x @ w: one task is one panel, so many columns of y. At least SHORT rows."""
    rows, columns = y.shape
    count, terms, width = panels.shape
    panel = take(turns)
    while panel < count:
        for row in range(0, rows, SHORT):
            r = min(row, rows - SHORT)  # the last tile does some rows once more
            tile = load(zeros, 0, 0, SHORT, 2)
            for t in range(terms):
                tile = add_outer(tile, x, r * terms + t, terms, panels, (panel * terms + t) * width)
            store(tile, y, r * columns + panel * width, columns)
        panel = take(turns)


def product(x, panels):
    """x (M, K) @ w (K, N), for w as `pack` has it. M is at least SHORT."""
    count, K, width = panels.shape
    y = aligned_empty((len(x), count * width), x.dtype)
    threads.run_if(y.size * K >= LARGE, _panels, x, panels, np.zeros(width, x.dtype), y)
    return y
