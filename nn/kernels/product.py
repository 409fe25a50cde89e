"""Matrix products on register tiles, for dense layers of usual size.

    y = a @ b + bias        y[m, n] = Σ_k a[m, k] b[k, n] + bias[n]

a (M, K) and b (K, N) may be transposed views, so the three products of a dense layer are one:

    y = x @ w + bias        dx = dy @ wᵀ        dw = xᵀ @ dy

NumPy's product is as fast by itself. But it runs on threads of its own, which stay awake for
milliseconds when they have finished, in case another product follows. In a training step what
follows is a kernel of ours, which then has to share its cores with them: attention between the
products of its layer takes twice as long as alone. So products that NumPy would do on several
threads are done here, on the same threads as everything else.

First b is laid out in *panels*: as many columns as a tile is wide, their terms one after the other.
A task is some rows of y, for some panels: a tile of rows after the other, each a sum of outer
products in registers. Long sums are taken a *chunk* of terms at a time, so that what all tiles of a
task read stays in the cache; between chunks the tile waits in y. Where there are few tiles and many
terms, as in dw, the terms are divided into *shares*, each with sums of its own, which are added in
order at the end. How all this is cut depends on the sizes alone, so no bit depends on the threads.
"""

import functools
from typing import NamedTuple

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store
from nn.kernels.turns import await_finished, finish, take

LEAST = 1 << 18  # multiplications; with fewer NumPy's product runs on one thread, at no cost to us
LARGE = 1 << 20  # multiplications for which waking our threads pays
CHUNK = 512  # terms: a panel's chunk is 64 kB
SHORT_CHUNK = 256  # where the rows of a lie side by side
SUMS_BYTES = 2 * 1024 * 1024  # of all shares
NO_PANELS = 8  # of b, up to which it is read as it is there
ROWS_BYTES = 256 * 1024  # of a, for one task and chunk
PANEL_BYTES = 1024 * 1024  # of panels, likewise: less than the second-level cache
TASKS = 16  # so that the threads finish together
FEW_TILES = 4 * TASKS  # with more, there is enough to share out without dividing the terms


class Plan(NamedTuple):
    """How the work is divided."""

    rows: int  # of y in one task, a whole number of tiles; the last task takes what is left
    row_blocks: int
    panels: int  # of one task
    panel_blocks: int
    shares: int  # of the terms
    chunk: int  # terms


def suits(M, K, N, dtype):
    """Are these sizes for the tiles? At least one whole tile, and enough to do."""
    columns = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    return M >= TALL and N >= columns and M * K * N >= LEAST


# ---- the compiled part ------------------------------------------------------------------


@kernel
def _tile_rows(
    a, at, a_steps, last_at, terms, b, b_at, b_step, start, start_at, start_step, y, to, rows, edge
):
    """y = start + a @ panel for some rows and one panel, tile after tile.

    a_steps: from row to row and from term to term. The last tile, whose rows begin at last_at, does
    some rows once more if there is no whole one left.
    """
    apart()
    width, columns = 2 * lanes(y), y.shape[1]
    numbers = y.reshape(-1)
    for row in range(0, rows, TALL):
        r = min(row, rows - TALL)
        i = at if r == row else last_at
        j = b_at
        tile = load(start, start_at + r * start_step, start_step, TALL, 2)
        for _ in range(terms):
            tile = add_outer(tile, a, i, a_steps[0], b, j)
            i += a_steps[1]
            j += b_step
        if r == row:
            store(tile, numbers, to + r * columns, columns)
        else:  # of what was done once more, the first time counts
            store(tile, edge, 0, width)
            for m in range(row - r, TALL):
                copy(numbers, to + (r + m) * columns, edge, m * width, width)
        at += TALL * a_steps[0]


@kernel
def _fill_panels(b, b_steps, first, last, columns, panels):
    """Copy the terms from first to last into all panels, and zeros beyond the last column of b."""
    n_panels, terms, width = panels.shape
    numbers = panels.reshape(-1)
    for k in range(first, last):
        for panel in range(n_panels):
            at, to = k * b_steps[0] + panel * width * b_steps[1], (panel * terms + k) * width
            n = min(width, columns - panel * width)
            if n == width and b_steps[1] == 1:
                store(load(b, at, 0, 1, 2), numbers, to, 0)
            else:
                clear(numbers, to, width)
                for c in range(n):
                    numbers[to + c] = b[at + c * b_steps[1]]


@kernel
def _multiply_block(a, a_steps, K, b, b_steps, width, bias, sums, plan, task, edge):
    """Some rows of y for some panels, summed over one share of the terms."""
    _, M, columns = sums.shape
    row_block = task % plan.row_blocks
    panel_block = task // plan.row_blocks % plan.panel_blocks
    share = task // (plan.row_blocks * plan.panel_blocks)
    m0 = row_block * plan.rows
    rows = M - m0 if row_block == plan.row_blocks - 1 else plan.rows
    panel0 = panel_block * plan.panels
    panel1 = min(panel0 + plan.panels, columns // width)
    y = sums[share]
    first, last = K * share // plan.shares, K * (share + 1) // plan.shares
    for k in range(first, last, plan.chunk):
        terms = min(plan.chunk, last - k)
        at = m0 * a_steps[0] + k * a_steps[1]
        last_at = at + (rows - TALL) * a_steps[0]
        for panel in range(panel0, panel1):
            b_at, to = panel * b_steps[0] + k * b_steps[1], m0 * columns + panel * width
            start, start_at, start_step = y.reshape(-1), to, columns
            if k == first:  # every row starts as the bias, or in other shares at zero
                start, start_step = bias, 0
                start_at = panel * width + (columns if share > 0 else 0)
            _tile_rows(
                a, at, a_steps, last_at, terms, b, b_at, b_steps[1], start, start_at, start_step,
                y, to, rows, edge,
            )  # fmt: skip


@kernel
def _product(turns, a, a_steps, b, b_steps, b_shape, panels, bias, sums, plan):
    K, N = b_shape
    width = panels.shape[2]
    edge = np.empty(TALL * width, panels.dtype)
    fills = max(1, min(TASKS, K // TALL)) if len(panels) else 0
    task = take(turns)
    while task < fills:
        _fill_panels(b, b_steps, K * task // fills, K * (task + 1) // fills, N, panels)
        finish(turns)
        task = take(turns)
    await_finished(turns, fills)
    source, steps = b, (width, b_steps[0])
    if fills:
        source, steps = panels.reshape(-1), (K * width, width)
    tasks = plan.row_blocks * plan.panel_blocks * plan.shares
    while task - fills < tasks:
        _multiply_block(a, a_steps, K, source, steps, width, bias, sums, plan, task - fills, edge)
        task = take(turns)


# ---- what Python calls ------------------------------------------------------------------


@functools.lru_cache
def _make_plan(M, K, panels, width, itemsize, side_by_side):
    tiles = M // TALL
    if side_by_side:  # the terms in order, each for as many tiles as can be
        chunk = min(K, SHORT_CHUNK)
        fitting = SUMS_BYTES // (M * panels * width * itemsize)
        few = tiles * panels < FEW_TILES
        shares = max(1, min(TASKS, fitting, K // chunk)) if few else 1
        panels_of_task = -(-panels // -(-TASKS // shares))
    else:
        chunk = min(K, CHUNK)
        shares = 1
        panels_of_task = max(1, min(panels, PANEL_BYTES // (chunk * width * itemsize)))
    panel_blocks = -(-panels // panels_of_task)
    fitting = max(1, ROWS_BYTES // (TALL * chunk * itemsize))
    tiles_of_task = max(1, min(fitting, tiles * panel_blocks * shares // TASKS))
    row_blocks = max(1, tiles // tiles_of_task)
    return Plan(TALL * tiles_of_task, row_blocks, panels_of_task, panel_blocks, shares, chunk)


def product(a, b, bias=None):
    """a (M, K) @ b (K, N) + bias (N,), a and b by rows or by columns. At least TALL rows."""
    a, b = (m if m.flags.forc else np.ascontiguousarray(m) for m in (a, b))
    (M, K), N = a.shape, b.shape[1]
    width = 2 * VECTOR_BYTES // a.itemsize
    n_panels = -(-N // width)
    columns = n_panels * width
    side_by_side = a.strides[0] == a.itemsize
    plan = _make_plan(M, K, n_panels, width, a.itemsize, side_by_side)
    numbers = [m.reshape(-1) if m.flags.c_contiguous else m.T.reshape(-1) for m in (a, b)]
    steps = [tuple([s // m.itemsize for s in m.strides]) for m in (a, b)]
    # Short rows of b, each read once for many tiles, are as good as panels.
    packs = columns != N or steps[1][1] != 1 or not side_by_side or n_panels > NO_PANELS
    panels = aligned_empty((n_panels if packs else 0, K, width), a.dtype)
    sums = aligned_empty((plan.shares, M, columns), a.dtype)
    start = np.zeros(2 * columns, a.dtype)
    if bias is not None:
        start[:N] = bias
    threads.run_if(
        M * K * N >= LARGE, _product, numbers[0], steps[0], numbers[1], steps[1], b.shape,
        panels, start, sums, plan,
    )  # fmt: skip
    y = sums[0] if plan.shares == 1 else sums.sum(axis=0)
    return y if columns == N else np.ascontiguousarray(y[:, :N])
