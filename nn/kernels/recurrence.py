"""LSTM and GRU: all steps in one kernel, forward and backward.

A step needs the state that the one before it left: time cannot be divided among threads. But the
clips of a batch know nothing of each other. So a task is a few clips for *all* steps: from its
first step to its last no thread waits for another. It works through

    q = p_t + h_{t−1} @ W      tiles of a few clips × 2 vectors
    h_t, … = step(q, …)        the equations of the cell, on vectors

Before that, all threads make what does not depend on the state: p = x @ U + b for all steps, one
panel of U at a time, and the panels of W, which is then read at each step. It comes from the
second-level cache, from front to back.

Backward is the same from the last step to the first, with W transposed:

    dq_t, … = step_backward(dh_t, …)        dh_{t−1} += dq_t @ Wᵀ

and leaves dp and dq of all steps for `recurrence_gradients`.

The equations are those of `recurrent_cells.py`, the plain loop is in `through_time.py`. Inside
the kernels H is a multiple of a tile's width: units that stay at zero are added where it is not.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.cpu import SHORT
from nn.kernels.gates import sigmoid, tanh
from nn.kernels.jit import kernel
from nn.kernels.panels import (
    FEW,
    add_product_few,
    add_product_short,
    multiply,
    pack,
    pack_transposed,
    whole,
    width_of,
)
from nn.kernels.tile import clear, copy, fill, load, store
from nn.kernels.turns import await_finished, finish, take

GATES = {"lstm": 4, "gru": 3}
SAVED = {"lstm": 3, "gru": 2}  # besides the gates: h before, c before, tanh c; h before, q of n
PLAIN = ["C", "ALIGNED", "WRITEABLE"]  # (Numba compiles anew for read-only arrays)
LARGE = 1 << 21  # multiplications for which waking the threads pays


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
        c_before = load(saved, size + s + j, 0, 1, 2)
        tanh_c = load(saved, 2 * size + s + j, 0, 1, 2)
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
            pack(u, task, of_u, 0)
            multiply(x, 0, N * T, of_u, b, task * width, gates, C)
        else:
            pack(w, task - count, panels, task - count)
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
                add_product_short(h, panels, q)
            elif starts or step > 0:
                add_product_few(h, panels, q)
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
        pack_transposed(w, task, panels)
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
                add_product_short(of_q, panels, of_h)
            else:
                add_product_few(of_q, panels, of_h)
        copy(dfirst, first * H, of_h, 0, clips * H)
        if lstm:
            copy(dfirst, (N + first) * H, of_c, 0, clips * H)
        task = take(turns)


# ---- what Python calls ------------------------------------------------------------------------


def forward(kind, x, u, b, w, b_h, state, backwards):
    """y (N, T, H), the last state (arrays, N, H), and what `backward` and `gradients` need.

    x (N, T, D), u (D, G·H), w (H, G·H), b (G·H,), state (arrays, N, H). b_h is GRU's, else None.
    `backwards`: from the last step to the first.
    """
    H, dtype = len(w), u.dtype
    (N, T, D), G = x.shape, GATES[kind]
    b_h = b if b_h is None else b_h
    shapes = [a.shape for a in (u, w, b, b_h, state[0])]
    expected = [(D, G * H), (H, G * H), (G * H,), (G * H,), (N, H)]
    if shapes != expected:  # compiled code does not look
        raise ValueError(f"u, w, b, b_h and h must have the shapes {expected}, got {shapes}")
    x, u, w, b, b_h, state = (np.require(a, dtype, PLAIN) for a in (x, u, w, b, b_h, state))
    u, b, b_h, w, state = *(wide(a, H, G) for a in (u, b, b_h)), _wide_square(w, G), wide(state, H)
    H_wide, C = w.shape
    gates = aligned_empty((N, T, C), dtype)
    saved = aligned_empty((SAVED[kind], N, T, H_wide), dtype)
    y, last = aligned_empty((N, T, H_wide), dtype), np.empty_like(state)
    panels = aligned_empty((C // width_of(dtype), H_wide, width_of(dtype)), dtype)
    starts = bool(state[0].any())  # else the first product is zero
    args = rows_of_a_task(N), starts, x, u, b, w, b_h, panels, state, gates, saved, y, last
    large = N * T * (D + H_wide) * C >= LARGE
    threads.run_if(large, _forward, kind == "lstm", bool(backwards), *args)
    return narrow(y, H), narrow(last, H), (gates, saved)


def backward(kind, dy, w, dstate, kept, cuts, backwards):
    """The gradient of the first state. `kept`, from forward, is written over for `gradients`.

    dy (N, T, H), dstate (arrays, N, H). cuts (T,), in the order of the direction, is True at steps
    that no gradient leaves.
    """
    gates, saved = kept
    H = len(w)
    dy, dstate, w = (np.require(a, gates.dtype, PLAIN) for a in (dy, dstate, w))
    dy, dstate, w = wide(dy, H), wide(dstate, H), _wide_square(w, GATES[kind])
    N, T, H_wide = dy.shape
    C, width = gates.shape[2], width_of(gates.dtype)
    panels, dfirst = aligned_empty((H_wide // width, C, width), dy.dtype), np.empty_like(dstate)
    args = rows_of_a_task(N), dy, w, panels, cuts, gates, saved, dstate, dfirst
    threads.run_if(N * T * H_wide * C >= LARGE, _backward, kind == "lstm", bool(backwards), *args)
    return narrow(dfirst, H)


def rows_of_a_task(N):
    """Clips in a task. The same on any number of threads."""
    return SHORT if N >= 2 * SHORT else FEW


def wide(a, H, gates=1):
    """(…, gates·H) with zeros behind each H, up to a whole number of tiles.

    Units whose weights are all zero have an h and a c of zero at all steps, and disturb nobody.
    """
    H_wide = whole(H, width_of(a.dtype))
    if H_wide == H:
        return a
    out = np.zeros((*a.shape[:-1], gates, H_wide), a.dtype)
    out[..., :H] = a.reshape(*a.shape[:-1], gates, H)
    return out.reshape(*a.shape[:-1], gates * H_wide)


def _wide_square(w, gates):
    """w (H, gates·H), with zeros below as well."""
    H, w = len(w), wide(w, len(w), gates)
    below = whole(H, width_of(w.dtype)) - H
    return np.concatenate([w, np.zeros((below, w.shape[1]), w.dtype)]) if below else w


def narrow(a, H, gates=1):
    """The other way round."""
    parts = a.reshape(*a.shape[:-1], gates, a.shape[-1] // gates)
    return a if parts.shape[-1] == H else parts[..., :H].reshape(*a.shape[:-1], gates * H)
