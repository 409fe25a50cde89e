"""Rung 6: a block of sums that stays in registers, fed from memory laid out for it.

The grown-up form is `nn.kernels.direct`: any window, few channels, smaller tiles where these
would hang over.
"""

import numba
import numpy as np

from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, lanes, load, store

ROWS = TALL  # of a tile: neighbouring outputs along the width
VECTORS = 2  # of a tile: output channels, as many as two vectors hold
BLOCK = 8  # rows of outputs that one task computes


@kernel
def empty(shape, like):
    """np.empty inside a kernel, of the dtype of `like`, beginning at a cache line."""
    size = 1
    for n in shape:
        size *= n
    return aligned(np.empty(size + ALIGNMENT, like.dtype))[:size].reshape(shape)


@kernel
def pack(x, i0, zeros, packed):
    """Copy rows of x (H, W, C) from i0 on, and the zeros that lie around x, into packed.

    packed (rows, groups, columns, width): the channels in groups as wide as a tile. Neighbouring
    columns are a constant number of places apart, whatever C is.
    """
    H, W, C = x.shape
    rows, groups, columns, width = packed.shape
    to = 0
    for i in range(i0, i0 + rows):
        for group in range(groups):
            for j in range(-1, columns - 1):
                if 0 <= i < H and 0 <= j < W:
                    channels = load(x, (i * W + j) * C + group * width, 0, 1, VECTORS)
                else:
                    channels = load(zeros, 0, 0, 1, VECTORS)
                store(channels, packed, to, 0)
                to += width


@kernel
def _row_of_tiles(packed, row, panel, zeros, y, at, step, tiles):
    """One row of outputs for the channels of one panel, written from y[at] on."""
    apart()
    groups, columns = packed.shape[1:3]
    width = VECTORS * lanes(packed)  # as the shape says, but a constant
    for t in range(tiles):
        tile = load(zeros, 0, 0, ROWS, VECTORS)
        b = 0
        for p in range(3):
            for q in range(3):
                for group in range(groups):
                    a = (((row + p) * groups + group) * columns + t * ROWS + q) * width
                    for c in range(a, a + width):
                        tile = add_outer(tile, packed, c, width, panel, b)
                        b += width
        store(tile, y, at, step)
        at += ROWS * step


@kernel
def _block(x, panels, y, i0):
    """BLOCK rows of outputs of one clip."""
    H, W, O = y.shape
    width = panels.shape[2]
    zeros = np.zeros(width, x.dtype)
    packed = empty((BLOCK + 2, x.shape[2] // width, W + 2, width), x)
    pack(x, i0 - 1, zeros, packed)
    for k in range(len(panels)):
        for i in range(i0, min(i0 + BLOCK, H)):
            at = i * W * O + k * width
            _row_of_tiles(packed, i - i0, panels[k], zeros, y, at, O, W // ROWS)


@kernel(parallel=True)
def _blocks(x, panels, y):
    blocks = -(-y.shape[1] // BLOCK)
    for task in numba.prange(len(x) * blocks):
        n, i0 = task // blocks, task % blocks * BLOCK
        _block(x[n], panels, y[n], np.int64(i0))


def whole(array, axis, multiple):
    """The array with zeros at the end of an axis, so that its length is a multiple of that."""
    missing = -array.shape[axis] % multiple
    if missing == 0:
        return array
    return np.pad(array, [(0, missing if a == axis else 0) for a in range(array.ndim)])


def in_panels(w, width):
    """Weights (…, terms, O) → (…, panels, terms, width): in the order a tile reads them."""
    w = w.reshape(*w.shape[:-1], -1, width).swapaxes(-3, -2)
    panels = aligned_empty(w.shape, w.dtype)
    panels[:] = w
    return panels


def register_tile(x, w):
    """Register tiles on packed inputs and weights, in blocks that fit into the cache."""
    N, H, W, _ = x.shape
    O = w.shape[3]
    width = VECTORS * VECTOR_BYTES // x.itemsize
    x, w = whole(x, 3, width), whole(whole(w, 2, width), 3, width)
    panels = in_panels(w.reshape(-1, w.shape[3]), width)
    y = aligned_empty((N, H, -(-W // ROWS) * ROWS, w.shape[3]), x.dtype)  # in whole tiles
    _blocks(x, panels, y)
    return y[:, :, :W, :O]
