"""Max and average pooling on vectors of channels, one row per task, in the letters of `loops`.

A vector of the channels of one output stays in its register while the taps of its window are
looked at, and is stored once. So is a vector of dx: backward asks of each *input* which windows
it lies in and collects from them. Windows may overlap, and still every task writes only its own
row, and each place of it once.

There must be at least one vector of channels. Where they are not a multiple of one, the last
vector begins earlier and does some channels again.
"""

import numpy as np

from nn.kernels.jit import kernel
from nn.kernels.tile import clear, fill, keep_larger, lanes, load, store, store_whole, where_equal
from nn.kernels.turns import take
from nn.kernels.window import taps_inside, windows_over

TASKS = 64  # at most: neighbouring rows are fetched faster by one thread than by several


@kernel
def _max_row(x, kernel_size, stride, before, n, t, h, y, winner, at):
    """One row of y, which begins at `at`. The first tap inside the input is the best so far:
    padding never wins."""
    N, T, H, W, C = x.shape
    P, Q, R = kernel_size
    i, j = t * stride[0] - before[0], h * stride[1] - before[1]
    p0, p1 = taps_inside(i, P, 1, T)
    q0, q1 = taps_inside(j, Q, 1, H)
    corner = ((n * T + i) * H + j) * W  # the place of the window's first tap, which may not exist
    for o in range(y.shape[3]):
        k = o * stride[2] - before[2]
        r0, r1 = taps_inside(k, R, 1, W)
        for start in range(0, C, lanes(x)):
            c = min(start, C - lanes(x))
            place = corner + (p0 * H + q0) * W + k + r0
            best = load(x, place * C + c, 0, 1, 1)
            who = fill(x, (p0 * Q + q0) * R + r0, 1, 1)
            for p in range(p0, p1):
                for q in range(q0, q1):
                    place = corner + (p * H + q) * W + k
                    for r in range(r0, r1):
                        new = load(x, (place + r) * C + c, 0, 1, 1)
                        tap = fill(x, (p * Q + q) * R + r, 1, 1)
                        who = keep_larger(best, new, who, tap)
                        best = keep_larger(best, new, best, new)
            store(best, y, at + c, 0)
            store_whole(who, winner, at + c)
        at += C


@kernel
def _average_row(x, kernel_size, stride, before, n, t, h, y, at):
    """One row of y, which begins at `at`."""
    N, T, H, W, C = x.shape
    P, Q, R = kernel_size
    share = x.dtype.type(1 / (P * Q * R))
    i, j = t * stride[0] - before[0], h * stride[1] - before[1]
    p0, p1 = taps_inside(i, P, 1, T)
    q0, q1 = taps_inside(j, Q, 1, H)
    corner = ((n * T + i) * H + j) * W
    for o in range(y.shape[3]):
        k = o * stride[2] - before[2]
        r0, r1 = taps_inside(k, R, 1, W)
        for start in range(0, C, lanes(x)):
            c = min(start, C - lanes(x))
            total = fill(x, 0, 1, 1)
            for p in range(p0, p1):
                for q in range(q0, q1):
                    place = corner + (p * H + q) * W + k
                    for r in range(r0, r1):
                        total = total + load(x, (place + r) * C + c, 0, 1, 1)
            store(total * share, y, at + c, 0)
        at += C


@kernel
def forward(turns, x, kernel_size, stride, before, y, winner, is_max):
    """Max: y(o) = max_p x(o·stride + p − before), and in `winner` which tap p it was.
    Average: y(o) = 1/(P·Q·R) Σ_p x(o·stride + p − before); `winner` is left alone."""
    N, T_out, H_out, W_out, C = y.shape
    rows = N * T_out * H_out
    tasks = min(rows, TASKS)
    task = take(turns)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
            at = row * W_out * C
            if is_max:
                _max_row(x, kernel_size, stride, before, n, t, h, y, winner, at)
            else:
                _average_row(x, kernel_size, stride, before, n, t, h, y, at)
        task = take(turns)


@kernel
def _apart_row(dy, winner, kernel_size, stride, before, n, i, j, dx, at, is_max):
    """One row of dx where windows do not overlap: each input lies in one at most."""
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R = kernel_size
    share = dy.dtype.type(1 / (P * Q * R))
    t, p = divmod(i + before[0], stride[0])
    h, q = divmod(j + before[1], stride[1])
    o, r = divmod(before[2], stride[2])
    if t >= T_out or p >= P or h >= H_out or q >= Q:
        clear(dx, at, dx.shape[3] * C)
        return
    place = (((n * T_out + t) * H_out + h) * W_out + o) * C
    for _ in range(dx.shape[3]):
        if o < W_out and r < R:
            tap = (p * Q + q) * R + r
            for start in range(0, C, lanes(dy)):
                c = min(start, C - lanes(dy))
                values = load(dy, place + c, 0, 1, 1)
                if is_max:
                    values = where_equal(values, winner, place + c, tap)
                else:
                    values = values * share
                store(values, dx, at + c, 0)
        else:
            clear(dx, at, C)
        at += C
        r += 1
        if r == stride[2]:
            r = 0
            o += 1
            place += C


@kernel
def _overlapping_row(dy, winner, kernel_size, stride, before, n, i, j, dx, at, is_max):
    """One row of dx, which begins at `at`."""
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R = kernel_size
    share = dy.dtype.type(1 / (P * Q * R))
    i, j = i + before[0], j + before[1]
    t0, t1 = windows_over(i, P, stride[0], T_out)
    h0, h1 = windows_over(j, Q, stride[1], H_out)
    # The windows of this row: where their row of dy begins, and the first tap that meets it.
    rows, first_taps = np.empty(P * Q, np.int64), np.empty(P * Q, np.int64)
    n_rows = 0
    for t in range(t0, t1):
        for h in range(h0, h1):
            rows[n_rows] = ((n * T_out + t) * H_out + h) * W_out * C
            first_taps[n_rows] = ((i - t * stride[0]) * Q + j - h * stride[1]) * R
            n_rows += 1
    # The windows of one input: their place in dy, and the tap that meets it.
    places, taps = np.empty(P * Q * R, np.int64), np.empty(P * Q * R, np.int64)
    o0 = o1 = 0
    for k in range(before[2], before[2] + dx.shape[3]):
        # As windows_over(k, R, stride[2], W_out), but counted on: a division takes too long here.
        while o1 < W_out and o1 * stride[2] <= k:
            o1 += 1
        while o0 < o1 and o0 * stride[2] + R <= k:
            o0 += 1
        count = 0
        for o in range(o0, o1):
            for row in range(n_rows):
                places[count] = rows[row] + o * C
                taps[count] = first_taps[row] + k - o * stride[2]
                count += 1
        for start in range(0, C, lanes(dy)):
            c = min(start, C - lanes(dy))
            total = fill(dy, 0, 1, 1)
            if is_max:
                for window in range(count):
                    place = places[window] + c
                    values = load(dy, place, 0, 1, 1)
                    total = total + where_equal(values, winner, place, taps[window])
            else:
                for window in range(count):
                    total = total + load(dy, places[window] + c, 0, 1, 1)
                total = total * share
            store(total, dx, at + c, 0)
        at += C


@kernel
def backward(turns, dy, winner, kernel_size, stride, before, dx, is_max):
    """dx(i) = Σ_o dy(o), over the windows o that i lies in: those it won (max), or an equal
    share of each (average, which ignores `winner`)."""
    N, T, H, W, C = dx.shape
    overlap = False
    for axis in range(3):
        overlap |= stride[axis] < kernel_size[axis]
    rows = N * T * H
    tasks = min(rows, TASKS)
    task = take(turns)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            n, i, j = row // (T * H), row // H % T, row % H
            at = row * W * C
            if overlap:
                _overlapping_row(dy, winner, kernel_size, stride, before, n, i, j, dx, at, is_max)
            else:
                _apart_row(dy, winner, kernel_size, stride, before, n, i, j, dx, at, is_max)
        task = take(turns)
