"""LSTM and GRU: all steps in one kernel, forward and backward.

A step needs the state that the one before it left: time cannot be divided among threads. But the
clips of a batch know nothing of each other. So a task is a few clips for *all* steps: from its
first step to its last no thread waits for another. It works through

    p_t = x_t @ U + b          for all steps of its clips, before the first
    q = p_t + h_{t−1} @ W      one step: tiles of a few clips × 2 vectors
    h_t, … = step(q, …)        the equations of the cell, on vectors

While a task runs, W is read at each step. It lies in panels, each with the columns of one tile
and its terms one after the other: a tile reads its panel from front to back, from the second-level
cache. All threads make the panels first, and wait until the last one is there.

Backward is the same from the last step to the first, with W transposed:

    dq_t, … = step_backward(dh_t, …)        dh_{t−1} += dq_t @ Wᵀ

Which rows share a tile changes no bit: each sum takes its terms in the same order in any tile.

The equations are those of `recurrent_cells.py`, the plain loop is in `through_time.py`. Here H is
a multiple of a tile's width: `forward` adds units that stay at zero where it is not.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.cpu import SHORT, VECTOR_BYTES
from nn.kernels.gates import sigmoid, tanh
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, fill, load, store
from nn.kernels.turns import await_finished, finish, take

GATES = {"lstm": 4, "gru": 3}
SAVED = {"lstm": 3, "gru": 2}  # besides the gates: h before, c before, tanh c; h before, q of n
FEW = min(4, SHORT)  # rows of a tile for small batches, so that they are several tasks too
ROWS = 64  # of dx in a task
TERMS = 256  # rows of dp that a panel holds at a time: it stays in the first-level cache
PLAIN = ["C", "ALIGNED", "WRITEABLE"]  # (Numba compiles anew for read-only arrays)
LARGE = 1 << 21  # multiplications for which waking the threads pays


# ---- products on panels, compiled -------------------------------------------------------------


@kernel
def _pack(w, panel, panels, at):
    """Panel number `panel` of w (K, C), as number `at` of the panels."""
    _, terms, width = panels.shape
    columns = w.shape[1]
    for k in range(terms):
        row = load(w, k * columns + panel * width, 0, 1, 2)
        store(row, panels, (at * terms + k) * width, 0)


@kernel
def _pack_transposed(w, panel, panels):
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
def _add_product_short(a, panels, y):
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
def _add_product_few(a, panels, y):
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
def _multiply(x, first, last, panels, start, at, y, columns):
    """y[first:last, at:] = start[at:] + x[first:last] @ w, as many columns as the panels have."""
    apart()
    count, terms, width = panels.shape
    whole = last if last - first >= SHORT else first
    for row in range(first, whole, SHORT):  # a few rows of x stay in the cache for all panels
        r = min(row, last - SHORT)  # the last tile does some rows once more
        for panel in range(count):
            c = at + panel * width
            tile = load(start, c, 0, SHORT, 2)
            for k in range(terms):
                i = (panel * terms + k) * width
                tile = add_outer(tile, x, r * terms + k, terms, panels, i)
            store(tile, y, r * columns + c, columns)
    for r in range(whole, last):
        for panel in range(count):
            c = at + panel * width
            tile = load(start, c, 0, 1, 2)
            for k in range(terms):
                i = (panel * terms + k) * width
                tile = add_outer(tile, x, r * terms + k, terms, panels, i)
            store(tile, y, r * columns + c, columns)


# ---- the equations of one step, for one clip ----------------------------------------------------
#
# `at` is the place of a clip and a step, n·T + t; `row` that of the clip in the scratch arrays.


@kernel
def _lstm_step(row, at, size, H, width, q, h, c, gates, saved, y):
    g0, s = at * 4 * H, at * H
    for j in range(0, H, width):
        r, k = row * H + j, row * 4 * H + j
        i = sigmoid(load(q, k, 0, 1, 2))
        f = sigmoid(load(q, k + H, 0, 1, 2))
        g = tanh(load(q, k + 2 * H, 0, 1, 2))
        o = sigmoid(load(q, k + 3 * H, 0, 1, 2))
        h_before, c_before = load(h, r, 0, 1, 2), load(c, r, 0, 1, 2)
        new_c = f * c_before + i * g
        tanh_c = tanh(new_c)
        new_h = o * tanh_c
        store(i, gates, g0 + j, 0)
        store(f, gates, g0 + H + j, 0)
        store(g, gates, g0 + 2 * H + j, 0)
        store(o, gates, g0 + 3 * H + j, 0)
        store(h_before, saved, s + j, 0)
        store(c_before, saved, size + s + j, 0)
        store(tanh_c, saved, 2 * size + s + j, 0)
        store(new_c, c, r, 0)
        store(new_h, h, r, 0)
        store(new_h, y, s + j, 0)


@kernel
def _lstm_step_backward(row, at, size, H, width, dh, dc, dq, gates, saved, dy):
    """What was a gate becomes its gradient."""
    g0, s = at * 4 * H, at * H
    zero = fill(dh, 0.0, 1, 2)
    for j in range(0, H, width):
        r, k = row * H + j, row * 4 * H + j
        i, f = load(gates, g0 + j, 0, 1, 2), load(gates, g0 + H + j, 0, 1, 2)
        g, o = load(gates, g0 + 2 * H + j, 0, 1, 2), load(gates, g0 + 3 * H + j, 0, 1, 2)
        c_before, tanh_c = (
            load(saved, size + s + j, 0, 1, 2),
            load(saved, 2 * size + s + j, 0, 1, 2),
        )
        of_h = load(dh, r, 0, 1, 2) + load(dy, s + j, 0, 1, 2)
        shown = of_h * o
        of_c = load(dc, r, 0, 1, 2) + (shown - shown * tanh_c * tanh_c)
        of_i = of_c * g * (i - i * i)
        of_f = of_c * c_before * (f - f * f)
        of_g = of_c * i
        of_g = of_g - of_g * g * g
        of_o = of_h * tanh_c * (o - o * o)
        store(of_i, gates, g0 + j, 0)
        store(of_f, gates, g0 + H + j, 0)
        store(of_g, gates, g0 + 2 * H + j, 0)
        store(of_o, gates, g0 + 3 * H + j, 0)
        store(of_i, dq, k, 0)
        store(of_f, dq, k + H, 0)
        store(of_g, dq, k + 2 * H, 0)
        store(of_o, dq, k + 3 * H, 0)
        store(of_c * f, dc, r, 0)
        store(zero, dh, r, 0)


@kernel
def _gru_step(row, at, size, H, width, q, h, gates, saved, y):
    g0, s = at * 3 * H, at * H
    for j in range(0, H, width):
        i, k = row * H + j, row * 3 * H + j
        r = sigmoid(load(gates, g0 + j, 0, 1, 2) + load(q, k, 0, 1, 2))
        z = sigmoid(load(gates, g0 + H + j, 0, 1, 2) + load(q, k + H, 0, 1, 2))
        q_n = load(q, k + 2 * H, 0, 1, 2)
        n = tanh(load(gates, g0 + 2 * H + j, 0, 1, 2) + r * q_n)
        h_before = load(h, i, 0, 1, 2)
        new_h = n + z * (h_before - n)
        store(r, gates, g0 + j, 0)
        store(z, gates, g0 + H + j, 0)
        store(n, gates, g0 + 2 * H + j, 0)
        store(h_before, saved, s + j, 0)
        store(q_n, saved, size + s + j, 0)
        store(new_h, h, i, 0)
        store(new_h, y, s + j, 0)


@kernel
def _gru_step_backward(row, at, size, H, width, dh, dq, gates, saved, dy):
    """What was a gate becomes its gradient, and what was q of n its own: n saw it through r."""
    g0, s = at * 3 * H, at * H
    for j in range(0, H, width):
        i, k = row * H + j, row * 3 * H + j
        r, z = load(gates, g0 + j, 0, 1, 2), load(gates, g0 + H + j, 0, 1, 2)
        n = load(gates, g0 + 2 * H + j, 0, 1, 2)
        h_before, q_n = load(saved, s + j, 0, 1, 2), load(saved, size + s + j, 0, 1, 2)
        of_h = load(dh, i, 0, 1, 2) + load(dy, s + j, 0, 1, 2)
        kept = of_h * z
        of_n = of_h - kept
        of_n = of_n - of_n * n * n
        of_z = of_h * (h_before - n) * (z - z * z)
        of_r = of_n * q_n * (r - r * r)
        seen = of_n * r
        store(of_r, gates, g0 + j, 0)
        store(of_z, gates, g0 + H + j, 0)
        store(of_n, gates, g0 + 2 * H + j, 0)
        store(seen, saved, size + s + j, 0)
        store(of_r, dq, k, 0)
        store(of_z, dq, k + H, 0)
        store(seen, dq, k + 2 * H, 0)
        store(kept, dh, i, 0)


# ---- all steps, compiled ----------------------------------------------------------------------
#
# x (N, T, D), gates (N, T, G·H), saved (arrays, N, T, H), y (N, T, H), state (arrays, N, H).
# Where the last block is not full, the scratch arrays have clips that are in no other array.


@kernel
def _forward(
    turns, lstm, backwards, rows, starts, x, u, b, w, b_h, panels, state, gates, saved, y, last
):
    N, T, H = y.shape
    count, _, width = panels.shape
    C, size = count * width, y.size
    of_u = aligned(np.empty(len(u) * width + ALIGNMENT, x.dtype))[: len(u) * width]
    of_u = of_u.reshape(1, len(u), width)
    task = take(turns)
    while task < 2 * count:
        if task < count:
            _pack(u, task, of_u, 0)
            _multiply(x, 0, N * T, of_u, b, task * width, gates, C)
        else:
            _pack(w, task - count, panels, task - count)
        finish(turns)
        task = take(turns)
    await_finished(turns, 2 * count)
    h = aligned(np.zeros(rows * H + ALIGNMENT, x.dtype))
    c = aligned(np.zeros(rows * H + ALIGNMENT, x.dtype))
    q = aligned(np.zeros(rows * C + ALIGNMENT, x.dtype))
    while (task - 2 * count) * rows < N:
        first = (task - 2 * count) * rows
        clips = min(rows, N - first)
        copy(h, 0, state, first * H, clips * H)
        if lstm:
            copy(c, 0, state, (N + first) * H, clips * H)
        for step in range(T):
            t = T - 1 - step if backwards else step
            for row in range(clips):
                if lstm:
                    copy(q, row * C, gates, ((first + row) * T + t) * C, C)
                else:
                    copy(q, row * C, b_h, 0, C)
            if rows == SHORT and (starts or step > 0):
                _add_product_short(h, panels, q)
            elif starts or step > 0:
                _add_product_few(h, panels, q)
            for row in range(clips):
                at = (first + row) * T + t
                if lstm:
                    _lstm_step(row, at, size, H, width, q, h, c, gates, saved, y)
                else:
                    _gru_step(row, at, size, H, width, q, h, gates, saved, y)
        copy(last, first * H, h, 0, clips * H)
        if lstm:
            copy(last, (N + first) * H, c, 0, clips * H)
        task = take(turns)


@kernel
def _backward(turns, lstm, backwards, rows, dy, w, panels, cuts, gates, saved, dstate, dfirst):
    N, T, H = dy.shape
    count, C, width = panels.shape
    size = dy.size
    task = take(turns)
    while task < count:
        _pack_transposed(w, task, panels)
        finish(turns)
        task = take(turns)
    await_finished(turns, count)
    of_h = aligned(np.zeros(rows * H + ALIGNMENT, dy.dtype))
    of_c = aligned(np.zeros(rows * H + ALIGNMENT, dy.dtype))
    of_q = aligned(np.zeros(rows * C + ALIGNMENT, dy.dtype))
    while (task - count) * rows < N:
        first = (task - count) * rows
        clips = min(rows, N - first)
        copy(of_h, 0, dstate, first * H, clips * H)
        if lstm:
            copy(of_c, 0, dstate, (N + first) * H, clips * H)
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if backwards else step
            for row in range(clips):
                at = (first + row) * T + t
                if lstm:
                    _lstm_step_backward(row, at, size, H, width, of_h, of_c, of_q, gates, saved, dy)
                else:
                    _gru_step_backward(row, at, size, H, width, of_h, of_q, gates, saved, dy)
            if cuts[step]:  # the state before is taken for a constant
                clear(of_h, 0, clips * H)
                clear(of_c, 0, clips * H)
            elif rows == SHORT:
                _add_product_short(of_q, panels, of_h)
            else:
                _add_product_few(of_q, panels, of_h)
        copy(dfirst, first * H, of_h, 0, clips * H)
        if lstm:
            copy(dfirst, (N + first) * H, of_c, 0, clips * H)
        task = take(turns)


# ---- the gradients of weights and inputs, compiled ---------------------------------------------
#
#     dx = dp @ uᵀ        du = xᵀ @ dp        dw = (h before)ᵀ @ dq        db = Σ dp
#
# x (M, D) and h before (M, H) lie as columns for tiles: (tiles, M, SHORT), the last tile of each
# made up with zeros. So du and dw stand below each other. A task is some rows of dx, or one panel
# of columns of the other three.


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
            _pack_transposed(u, task, panels)
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
        _multiply(dp, first, min(first + ROWS, M), panels, zeros, 0, dx, of_u * width)
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


def forward(kind, x, u, b, w, b_h, state, backwards):
    """y (N, T, H), the last state (arrays, N, H), and what `backward` and `gradients` need.

    x (N, T, D), u (D, G·H), w (H, G·H), b (G·H,), state (arrays, N, H). b_h is GRU's, else None.
    `backwards`: from the last step to the first.
    """
    H, dtype = len(w), u.dtype
    u, b, b_h = (_wide(a, H, GATES[kind]) for a in (u, b, b if b_h is None else b_h))
    x, w, state = np.require(x, dtype, PLAIN), _wide_square(w, GATES[kind]), _wide(state, H)
    N, T, D = x.shape
    wide, C = w.shape
    gates = aligned_empty((N, T, C), dtype)
    saved = aligned_empty((SAVED[kind], N, T, wide), dtype)
    y, last = aligned_empty((N, T, wide), dtype), np.empty_like(state)
    panels = aligned_empty((C // _width(dtype), wide, _width(dtype)), dtype)
    starts = bool(state[0].any())  # else the first product is zero
    args = _rows(N), starts, x, u, b, w, b_h, panels, state, gates, saved, y, last
    large = N * T * (D + wide) * C >= LARGE
    threads.run_if(large, _forward, kind == "lstm", bool(backwards), *args)
    return _narrow(y, H), _narrow(last, H), (gates, saved)


def backward(kind, dy, w, dstate, kept, cuts, backwards):
    """The gradient of the first state. `kept`, from forward, is written over for `gradients`.

    dy (N, T, H), dstate (arrays, N, H). cuts (T,), in the order of the direction, is True at steps
    that no gradient leaves.
    """
    gates, saved = kept
    H = len(w)
    dy, dstate = (np.require(_wide(a, H), gates.dtype, PLAIN) for a in (dy, dstate))
    w = _wide_square(w, GATES[kind])
    N, T, wide = dy.shape
    C, width = gates.shape[2], _width(gates.dtype)
    panels, dfirst = aligned_empty((wide // width, C, width), dy.dtype), np.empty_like(dstate)
    args = _rows(N), dy, w, panels, cuts, gates, saved, dstate, dfirst
    threads.run_if(N * T * wide * C >= LARGE, _backward, kind == "lstm", bool(backwards), *args)
    return _narrow(dfirst, H)


def gradients(kind, x, u, kept, of_x=True, of_u=True, of_w=True):
    """dx, du, dw, db and db_h from x (N, T, D) and what `backward` left in `kept`.

    The flags say which of the first three are asked for.
    """
    gates, saved = kept
    dtype, G = gates.dtype, GATES[kind]
    H = u.shape[1] // G
    x, u = np.require(x, dtype, PLAIN), _wide(u, H, G)
    (N, T, D), wide, C = x.shape, saved.shape[3], gates.shape[2]
    M, width = N * T, _width(dtype)
    wide_D = _whole(D, width) if of_x else 0
    tiles = [-(-D // SHORT) if of_u else 0, -(-wide // SHORT) if of_w else 0]
    columns = aligned_empty((sum(tiles), M, SHORT), dtype)
    panels = aligned_empty((wide_D // width, C, width), dtype)
    dx = aligned_empty((M if of_x else 0, wide_D), dtype)
    dw = aligned_empty((sum(tiles) * SHORT, C), dtype)
    db, db_h = np.empty((2, C), dtype)
    dq_n = saved[1].reshape(M, wide) if kind == "gru" else np.empty((0, 0), dtype)
    arrays = x.reshape(M, D), saved[0].reshape(M, wide), u, gates.reshape(M, C), dq_n
    args = *arrays, *tiles, columns, panels, np.zeros(wide_D, dtype), dx, dw, db, db_h
    threads.run_if(M * C * (D + wide) >= LARGE, _gradients, *args)
    dx = _narrow(dx, D).reshape(x.shape) if of_x else None
    du, dw = dw[:D], dw[tiles[0] * SHORT :][:H]
    return dx, *(_narrow(a, H, G) for a in (du, dw, db, db_h))


def _rows(N):
    """Clips in a task. The same on any number of threads."""
    return SHORT if N >= 2 * SHORT else FEW


def _width(dtype):
    """Columns of a tile."""
    return 2 * VECTOR_BYTES // np.dtype(dtype).itemsize


def _whole(n, width):
    """n, or the next multiple of `width`."""
    return -(-n // width) * width


def _wide(a, H, gates=1):
    """(…, gates·H) with zeros behind each H, up to a whole number of tiles.

    Units whose weights are all zero have an h and a c of zero at all steps, and disturb nobody.
    """
    wide = _whole(H, _width(a.dtype))
    if wide == H:
        return np.require(a, None, PLAIN)
    out = np.zeros((*a.shape[:-1], gates, wide), a.dtype)
    out[..., :H] = a.reshape(*a.shape[:-1], gates, H)
    return out.reshape(*a.shape[:-1], gates * wide)


def _wide_square(w, gates):
    """w (H, gates·H), with zeros below as well."""
    H, w = len(w), _wide(w, len(w), gates)
    below = _whole(H, _width(w.dtype)) - H
    return np.concatenate([w, np.zeros((below, w.shape[1]), w.dtype)]) if below else w


def _narrow(a, H, gates=1):
    """The other way round."""
    parts = a.reshape(*a.shape[:-1], gates, a.shape[-1] // gates)
    return a if parts.shape[-1] == H else parts[..., :H].reshape(*a.shape[:-1], gates * H)
