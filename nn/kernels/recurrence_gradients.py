"""The gradients of an LSTM's or a GRU's weights and inputs, once those of all steps are there.

    dx = dp @ Uᵀ        dU = xᵀ @ dp        dW = (h before)ᵀ @ dq        db = Σ dp

dp and dq, the gradients of x @ U + b and of h @ W, are one array for an LSTM. For a GRU they differ
in the columns of n. So dU and dW are mostly sums over the same panels of columns, and a task does
both. x (M, D) and h before (M, H), M = N·T, lie as columns for tiles: (tiles, M, SHORT), the last
tile of each made up with zeros. A task is some rows of dx, or one panel of columns of the others.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.cpu import SHORT
from nn.kernels.jit import kernel
from nn.kernels.panels import multiply, pack_transposed, whole, width_of
from nn.kernels.recurrence import GATES, LARGE, PLAIN, narrow, wide
from nn.kernels.tile import add_outer, apart, fill, load, store
from nn.kernels.turns import await_finished, finish, take

ROWS = 64  # of dx in a task
TERMS = 256  # rows of dp that a panel holds at a time: it stays in the first-level cache


@kernel
def _pack_columns(x, tile, columns, at):
    """SHORT columns of x, those of one row next to each other."""
    M, K = x.shape
    for m in range(M):
        for r in range(SHORT):
            k = tile * SHORT + r
            columns[at, m, r] = x[m, k] if k < K else 0


@kernel
def _add_outer_products(columns, tiles, m0, terms, panel, dw, at, C):
    """dw[:, at:][:, :width] += Σ_m columns[:, m] ⊗ panel[m − m0], for so many m from m0 on."""
    apart()
    M, width = columns.shape[1], panel.shape[1]
    for tile in range(tiles[0], tiles[1]):
        place = tile * SHORT * C + at
        sums = fill(dw, 0.0, SHORT, 2) if m0 == 0 else load(dw, place, C, SHORT, 2)
        for m in range(terms):
            a = (tile * M + m0 + m) * SHORT
            sums = add_outer(sums, columns, a, 1, panel, m * width)
        store(sums, dw, place, C)


@kernel
def _panel_gradients(columns, tiles, dp, from_, panel, dw, at, db):
    """dw and db at some columns, `at`, for those of dp that begin at `from_`."""
    rows, width = panel.shape
    M, C = dp.shape
    total = fill(dp, 0.0, 1, 2)
    for m0 in range(0, M, rows):
        terms = min(rows, M - m0)
        for m in range(terms):
            row = load(dp, (m0 + m) * C + from_, 0, 1, 2)
            total = total + row
            store(row, panel, m * width, 0)
        _add_outer_products(columns, tiles, m0, terms, panel, dw, at, dw.shape[1])
    store(total, db, at, 0)


@kernel
def _gradients(turns, x, h, u, dp, dq_n, of_x, of_h, columns, panels, zeros, dx, dw, db, db_h):
    """of_x and of_h tiles of columns; dx is empty where it is not asked for."""
    M, C = dp.shape
    of_u, _, width = panels.shape
    first_tasks, same = of_u + of_x + of_h, C - dq_n.shape[1]
    task = take(turns)
    while task < first_tasks:
        if task < of_u:
            pack_transposed(u, task, panels)
        elif task < of_u + of_x:
            _pack_columns(x, task - of_u, columns, task - of_u)
        else:
            _pack_columns(h, task - of_u - of_x, columns, task - of_u)
        finish(turns)
        task = take(turns)
    await_finished(turns, first_tasks)
    panel = aligned(np.empty(TERMS * width + ALIGNMENT, dp.dtype))[: TERMS * width]
    panel = panel.reshape(TERMS, width)
    blocks = -(-len(dx) // ROWS)
    while task < first_tasks + blocks:
        first = (task - first_tasks) * ROWS
        multiply(dp, first, min(first + ROWS, M), panels, zeros, 0, dx, of_u * width)
        task = take(turns)
    while task < first_tasks + blocks + C // width:
        at = (task - first_tasks - blocks) * width
        if at < same:
            _panel_gradients(columns, (0, of_x + of_h), dp, at, panel, dw, at, db)
            store(load(db, at, 0, 1, 2), db_h, at, 0)
        else:
            _panel_gradients(columns, (0, of_x), dp, at, panel, dw, at, db)
            _panel_gradients(columns, (of_x, of_x + of_h), dq_n, at - same, panel, dw, at, db_h)
        task = take(turns)


# ---- what Python calls ------------------------------------------------------------------------


def gradients(kind, x, u, kept, of_x=True, of_u=True, of_w=True):
    """dx, du, dw, db and db_h from x (N, T, D) and what `backward` left in `kept`.

    The flags say which of the first three are asked for.
    """
    gates, saved = kept
    dtype, G = gates.dtype, GATES[kind]
    H = u.shape[1] // G
    x, u = np.require(x, dtype, PLAIN), wide(np.require(u, dtype, PLAIN), H, G)
    (N, T, D), H_wide, C = x.shape, saved.shape[3], gates.shape[2]
    M, width = N * T, width_of(dtype)
    D_wide = whole(D, width) if of_x else 0
    tiles = [-(-D // SHORT) if of_u else 0, -(-H_wide // SHORT) if of_w else 0]
    columns = aligned_empty((sum(tiles), M, SHORT), dtype)
    panels = aligned_empty((D_wide // width, C, width), dtype)
    dx = aligned_empty((M if of_x else 0, D_wide), dtype)
    dw = aligned_empty((sum(tiles) * SHORT, C), dtype)
    db, db_h = np.empty((2, C), dtype)
    dq_n = saved[1].reshape(M, H_wide) if kind == "gru" else np.empty((0, 0), dtype)
    arrays = x.reshape(M, D), saved[0].reshape(M, H_wide), u, gates.reshape(M, C), dq_n
    args = *arrays, *tiles, columns, panels, np.zeros(D_wide, dtype), dx, dw, db, db_h
    threads.run_if(M * C * (D + H_wide) >= LARGE, _gradients, *args)
    dx = narrow(dx, D).reshape(x.shape) if of_x else None
    du, dw = dw[:D], dw[tiles[0] * SHORT :][:H]
    return dx, *(narrow(a, H, G) for a in (du, dw, db, db_h))
