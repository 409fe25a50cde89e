"""Matrices in panels, and products with them: y = x @ w, read from front to back.

A panel is as many columns of w as a tile is wide, two vectors, its terms one after the other:
(panels, K, width). Who uses a matrix many times makes its panels once (see also `repeated`); who
uses its transpose makes those of the transpose.

Which rows share a tile changes no bit: each sum takes its terms in the same order in any tile.
"""

import numpy as np

from nn.kernels.cpu import SHORT, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, copy, load, store

FEW = min(4, SHORT)  # rows of a tile for small batches


def width_of(dtype):
    """Columns of a tile."""
    return 2 * VECTOR_BYTES // np.dtype(dtype).itemsize


def whole(n, width):
    """n, or the next multiple of `width`."""
    return -(-n // width) * width


@kernel
def pack(w, panel, panels, at):
    """Panel number `panel` of w (K, C), as number `at` of the panels."""
    _, terms, width = panels.shape
    columns = w.shape[1]
    for k in range(terms):
        row = load(w, k * columns + panel * width, 0, 1, 2)
        store(row, panels, (at * terms + k) * width, 0)


@kernel
def pack_transposed(w, panel, panels):
    """Panel number `panel` of wᵀ: rows of w, SHORT at a time, each read from front to back.

    Where w has no more rows for it, the panel repeats the last one.
    """
    _, terms, width = panels.shape
    for j in range(0, width, SHORT):
        for k in range(terms):
            for r in range(SHORT):
                row = min(panel * width + j + r, len(w) - 1)
                copy(panels, (panel * terms + k) * width + j + r, w, row * terms + k, 1)


@kernel
def add_product_short(a, panels, y):
    """y[:SHORT] += a[:SHORT] @ w. The rows of both lie end to end."""
    apart()
    count, terms, width = panels.shape
    columns = count * width
    for panel in range(count):
        tile = load(y, panel * width, columns, SHORT, 2)
        for k in range(terms):
            tile = add_outer(tile, a, k, terms, panels, (panel * terms + k) * width)
        store(tile, y, panel * width, columns)


@kernel
def add_product_few(a, panels, y):
    """The same for FEW rows."""
    apart()
    count, terms, width = panels.shape
    columns = count * width
    for panel in range(count):
        tile = load(y, panel * width, columns, FEW, 2)
        for k in range(terms):
            tile = add_outer(tile, a, k, terms, panels, (panel * terms + k) * width)
        store(tile, y, panel * width, columns)


@kernel
def multiply(x, first, last, panels, start, at, y, columns):
    """y[first:last, at:] = start[at:] + x[first:last] @ w, as many columns as the panels have."""
    apart()
    count, terms, width = panels.shape
    full = last if last - first >= SHORT else first
    for row in range(first, full, SHORT):  # a few rows of x stay in the cache for all panels
        r = min(row, last - SHORT)  # the last tile does some rows once more
        for panel in range(count):
            c = at + panel * width
            tile = load(start, c, 0, SHORT, 2)
            for k in range(terms):
                i = (panel * terms + k) * width
                tile = add_outer(tile, x, r * terms + k, terms, panels, i)
            store(tile, y, r * columns + c, columns)
    for r in range(full, last):
        for panel in range(count):
            c = at + panel * width
            tile = load(start, c, 0, 1, 2)
            for k in range(terms):
                i = (panel * terms + k) * width
                tile = add_outer(tile, x, r * terms + k, terms, panels, i)
            store(tile, y, r * columns + c, columns)
