"""Rung 7: Winograd's F(4×4, 3×3), on the same register tiles.

Four by four outputs Y from six by six inputs d, for one input and one output channel:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

The sum over input channels can be taken inside the brackets, as what stands outside is linear.
So at each of the 36 places of a transformed tile there is a product of matrices, (tiles, C) times
(C, O): 36 products for 16 outputs, where the plain sum has 9 for each. `winograd_matrices`
derives the matrices.

The grown-up form is `nn.kernels.winograd`.
"""

import numba
import numpy as np

from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.ladder.register_tile import ROWS, VECTORS, empty, in_panels, pack, whole
from nn.kernels.tile import add_outer, apart, clear, lanes, load, store
from nn.kernels.winograd_matrices import matrices

M, SIZE = 4, 6  # a tile of the image, on each side: outputs and inputs


def _make_transform(rows):
    @kernel
    def transform(matrix, zeros, part, source, at, steps, target, to, to_steps):
        """matrix (rows, 6) · X (6, 6) · matrixᵀ, for the channels of two vectors at once.

        `steps` lead from a row of X to the next, and from a column to the next. Each tile is a
        product of the small matrix with one row or one column of X.
        """
        apart()
        width = len(zeros)
        for i in range(SIZE):  # part (6, rows) = X · matrixᵀ
            tile = load(zeros, 0, 0, rows, VECTORS)
            for k in range(SIZE):
                tile = add_outer(tile, matrix, k, SIZE, source, at + i * steps[0] + k * steps[1])
            store(tile, part, i * rows * width, width)
        for j in range(rows):  # matrix · part
            tile = load(zeros, 0, 0, rows, VECTORS)
            for k in range(SIZE):
                tile = add_outer(tile, matrix, k, SIZE, part, (k * rows + j) * width)
            store(tile, target, to + j * to_steps[1], to_steps[0])

    return transform


_transform_input = _make_transform(SIZE)
_transform_output = _make_transform(M)


@kernel
def _product(V, panels, zeros, sums):
    """sums = V · U at one of the 36 places: (tiles, C) times (C, O).

    Channels are in groups as wide as a register tile: V (groups, tiles, width), sums alike.
    """
    apart()
    groups, tiles, _ = V.shape
    width = VECTORS * lanes(V)  # as the shape says, but a constant
    for k in range(len(panels)):
        panel = panels[k]
        for t in range(0, tiles, ROWS):
            tile = load(zeros, 0, 0, ROWS, VECTORS)
            b = 0
            for group in range(groups):
                a = (group * tiles + t) * width
                for c in range(a, a + width):
                    tile = add_outer(tile, V, c, width, panel, b)
                    b += width
            store(tile, sums, (k * tiles + t) * width, width)


@kernel
def _row_of_tiles(x, U, BT, AT, y, i0):
    """Four rows of outputs of one clip: y (H, W, O) from i0 on."""
    W, O = y.shape[1:]
    places, panels, C, width = U.shape
    groups, tiles = C // width, W // M
    in_tiles = -(-tiles // ROWS) * ROWS  # whole register tiles
    zeros = np.zeros(width, x.dtype)
    part = empty((SIZE, SIZE, width), x)
    packed = empty((SIZE, groups, W + 2, width), x)
    V = empty((places, groups, in_tiles, width), x)
    sums = empty((places, panels, in_tiles, width), x)

    pack(x, i0 - 1, zeros, packed)
    from_steps = groups * (W + 2) * width, width
    place_step = groups * in_tiles * width
    for t in range(tiles):
        for group in range(groups):
            at, to = (group * (W + 2) + t * M) * width, (group * in_tiles + t) * width
            to_steps = SIZE * place_step, place_step
            _transform_input(BT, zeros, part, packed, at, from_steps, V, to, to_steps)
    # What is beyond the last tile is never used, but multiplied. What memory happens to hold may
    # be denormal numbers, the tiny ones at the end of the range: with those a core is far slower.
    for row in range(places * groups):
        clear(V, (row * in_tiles + tiles) * width, (in_tiles - tiles) * width)

    for place in range(places):
        _product(V[place], U[place], zeros, sums[place])

    place_step = panels * in_tiles * width
    for t in range(tiles):
        for k in range(panels):
            at, to = (k * in_tiles + t) * width, (i0 * W + t * M) * O + k * width
            from_steps = SIZE * place_step, place_step
            _transform_output(AT, zeros, part, sums, at, from_steps, y, to, (W * O, O))


@kernel(parallel=True)
def _rows_of_tiles(x, U, BT, AT, y):
    rows = y.shape[1] // M
    for task in numba.prange(len(x) * rows):
        n, i0 = task // rows, task % rows * M
        _row_of_tiles(x[n], U, BT, AT, y[n], np.int64(i0))


def winograd(x, w):
    """Winograd's algorithm: 36 multiplications for 16 outputs instead of 144."""
    N, H, W, _ = x.shape
    O = w.shape[3]
    width = VECTORS * VECTOR_BYTES // x.itemsize
    x, w = whole(x, 3, width), whole(whole(w, 2, width), 3, width)
    AT, G, BT = matrices(M, 3)
    # kron(G, G) is the matrix that does G g Gᵀ to a g written as a column of 9.
    U = (np.kron(G, G) @ w.reshape(9, -1)).astype(x.dtype)
    U = in_panels(U.reshape(SIZE * SIZE, *w.shape[2:]), width)
    y = aligned_empty((N, -(-H // M) * M, -(-W // M) * M, w.shape[3]), x.dtype)
    _rows_of_tiles(x, U, BT.astype(x.dtype), AT.astype(x.dtype), y)
    return y[:, :H, :W, :O]
