"""Depthwise convolution: every channel has a filter of its own, and channels do not mix.

    y(o, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c)

There is no sum over channels, so no outer product: a vector of channels of x meets the same
channels of w. A tile holds the sums of ROWS neighbouring outputs along the width, for one vector
of channels. It takes one tap after the other, and is stored once. Outputs near the border, where
some taps along the width fall outside, are done one by one with the taps that do not.

The input gradient is a depthwise convolution of dy, for each phase of the stride as in
`input_gradient`. The weight gradient sums over places: a vector of sums for each tap and
vector of channels takes the products of ROWS neighbouring places at once.

There must be at least one vector of channels. Where they are not a multiple of one, the last
vector begins earlier and does some channels again.
"""

import itertools
import math

import numpy as np

from nn.kernels import threads
from nn.kernels.input_gradient import phases
from nn.kernels.jit import kernel
from nn.kernels.tile import lanes, load, slide, slide_sums, store
from nn.kernels.turns import take
from nn.kernels.window import outputs_inside, taps_inside

ROWS = 6  # sums enough to keep the CPU busy, and few enough for 16 registers
TASKS = 64  # at most
CACHE_BYTES = 32 * 1024  # less than a first-level cache


@kernel(inline=True)
def _find_taps(shape, corner, dilation, inside, K, width, sources, weights):
    """List the taps that are inside: where in x each one meets the output whose window begins
    at `corner`, and where its weights are, `width` of them for each tap. How many there are."""
    N, T, H, W, C = shape
    n, i, j, k = corner
    p0, p1, q0, q1, r0, r1 = inside
    count = 0
    for p in range(p0, p1):
        for q in range(q0, q1):
            row = ((n * T + i + p * dilation[0]) * H + j + q * dilation[1]) * W
            for r in range(r0, r1):
                sources[count] = (row + k + r * dilation[2]) * C
                weights[count] = ((p * K[1] + q) * K[2] + r) * width
                count += 1
    return count


@kernel(inline=True)
def _whole_windows(W, n_outputs, K, stride, before, dilation):
    """The outputs all of whose taps along the width are inside."""
    first, _ = outputs_inside(W, n_outputs, stride, -before)
    _, last = outputs_inside(W, n_outputs, stride, (K - 1) * dilation - before)
    return first, last


@kernel(inline=True)
def _block_of(row_bytes, Q):
    """How many outputs along the width are done for all rows of a task before the next ones.

    Each row of x meets Q rows of outputs. It is fetched once if it is still in the first-level
    cache when the next row of outputs asks for it.
    """
    return ROWS * max(1, CACHE_BYTES // (ROWS * row_bytes * (Q + 1)))


@kernel
def _convolve_rows(x, w, b, stride, before, dilation, size, first, step, y, row0, row1):
    """Some rows of outputs, one block of the width after the other."""
    N, T, H, W, C = x.shape
    _, T_y, H_y, W_y, _ = y.shape
    P, Q, R, _ = w.shape
    x_step, y_step = stride[2] * C, step[2] * C
    sources, weights = np.empty(P * Q * R, np.int64), np.empty(P * Q * R, np.int64)
    o0, o1 = _whole_windows(W, size[2], R, stride[2], before[2], dilation[2])
    three = R % 3 == 0 and stride[2] == dilation[2]  # taps at once, that meet the same inputs
    start, end = 0, 0
    while end < size[2]:
        start, end = end, min(size[2], max(end, o0) + _block_of(x_step * x.itemsize, Q))
        for row in range(row0, row1):
            n, t, h = row // (size[0] * size[1]), row // size[1] % size[0], row % size[1]
            i, j = t * stride[0] - before[0], h * stride[1] - before[1]
            p0, p1 = taps_inside(i, P, dilation[0], T)
            q0, q1 = taps_inside(j, Q, dilation[1], H)
            to = (n * T_y + first[0] + t * step[0]) * H_y + first[1] + h * step[1]
            to = (to * W_y + first[2]) * C
            o = start
            while o < end:
                tiled = o0 <= o < o1 and o1 - o0 >= ROWS
                k, r0, r1 = -before[2], 0, R
                if not tiled:
                    k = o * stride[2] - before[2]
                    r0, r1 = taps_inside(k, R, dilation[2], W)
                taps = _find_taps(
                    x.shape, (n, i, j, k), dilation, (p0, p1, q0, q1, r0, r1), w.shape, C,
                    sources, weights,
                )  # fmt: skip
                if not tiled:
                    for at in range(0, C, lanes(x)):
                        c = min(at, C - lanes(x))
                        one = load(b, c, 0, 1, 1)
                        for tap in range(taps):
                            one = slide(one, x, sources[tap] + c, 0, w, weights[tap] + c, 0, 1)
                        store(one, y, to + o * y_step + c, 0)
                    o += 1
                while tiled and o < min(end, o1):
                    o = min(o, o1 - ROWS)  # the last tile does some outputs again
                    for at in range(0, C, lanes(x)):
                        c = min(at, C - lanes(x))
                        tile = load(b, c, 0, ROWS, 1)
                        if three:
                            for tap in range(0, taps, 3):
                                a = sources[tap] + o * x_step + c
                                tile = slide(tile, x, a, x_step, w, weights[tap] + c, C, 3)
                        else:
                            for tap in range(taps):
                                a = sources[tap] + o * x_step + c
                                tile = slide(tile, x, a, x_step, w, weights[tap] + c, C, 1)
                        store(tile, y, to + o * y_step + c, y_step)
                    o += ROWS


@kernel
def _convolve(turns, x, w, b, stride, before, dilation, size, first, step, y):
    rows = len(x) * size[0] * size[1]
    tasks = min(rows, TASKS)
    task = take(turns)
    while task < tasks:
        row0, row1 = task * rows // tasks, (task + 1) * rows // tasks
        _convolve_rows(x, w, b, stride, before, dilation, size, first, step, y, row0, row1)
        task = take(turns)


def convolve(x, w, b, stride, before, dilation, y, first=(0, 0, 0), step=(1, 1, 1)):
    """y(o·step + first, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c) + b(c).

    x (N, T, H, W, C), w (P, Q, R, C), b (C,), y (N, T_y, H_y, W_y, C), which is written into.
    """
    size = tuple(len(range(f, n, s)) for f, n, s in zip(first, y.shape[1:4], step, strict=True))
    if 0 in size or 0 in y.shape:
        return
    threads.run(_convolve, x, w, b, stride, before, dilation, size, first, step, y)


def backward_input(dy, w, stride, before, dilation, dx):
    """dx(i, c) = Σ_p dy(o, c) · w(p, c), over the taps with o·stride + p·dilation − before = i."""
    axes = zip(dx.shape[1:4], w.shape[:3], stride, before, dilation, strict=True)
    met = list(itertools.product(*(phases(*axis) for axis in axes)))
    if len(met) < math.prod(stride):
        dx[...] = 0  # no tap meets the other phases
    nothing = np.zeros(dy.shape[-1], dy.dtype)
    for phase in met:
        first, taps, before, dilation = zip(*phase, strict=True)
        part = np.ascontiguousarray(w[taps])
        convolve(dy, part, nothing, (1, 1, 1), before, dilation, dx, first, stride)


@kernel
def _add_share(dy, x, stride, before, dilation, share, n_shares, dw):
    """One share of all places, summed into dw (P, Q, R, C)."""
    N, T_out, H_out, W_out, C = dy.shape
    _, T, H, W, _ = x.shape
    P, Q, R, _ = dw.shape
    step = stride[2] * C
    width = -(-C // lanes(x)) * lanes(x)  # the last vector has sums of its own
    sums = np.zeros(P * Q * R * width, x.dtype)
    sources, targets = np.empty(P * Q * R, np.int64), np.empty(P * Q * R, np.int64)
    o0, o1 = _whole_windows(W, W_out, R, stride[2], before[2], dilation[2])
    o1 -= max(0, o1 - o0) % ROWS
    three = R % 3 == 0 and stride[2] == dilation[2]
    rows = N * T_out * H_out
    start, end = 0, 0
    while end < W_out:
        start, end = end, min(W_out, max(end, o0) + _block_of(step * x.itemsize, Q))
        for row in range(share * rows // n_shares, (share + 1) * rows // n_shares):
            n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
            i, j = t * stride[0] - before[0], h * stride[1] - before[1]
            p0, p1 = taps_inside(i, P, dilation[0], T)
            q0, q1 = taps_inside(j, Q, dilation[1], H)
            o = start
            while o < end:
                tiled = o0 <= o < o1
                k, r0, r1 = -before[2], 0, R
                if not tiled:
                    k = o * stride[2] - before[2]
                    r0, r1 = taps_inside(k, R, dilation[2], W)
                taps = _find_taps(
                    x.shape, (n, i, j, k), dilation, (p0, p1, q0, q1, r0, r1), dw.shape, width,
                    sources, targets,
                )  # fmt: skip
                if not tiled:
                    for at in range(0, C, lanes(x)):
                        c = min(at, C - lanes(x))
                        value = load(dy, (row * W_out + o) * C + c, 0, 1, 1)
                        for tap in range(taps):
                            one = load(sums, targets[tap] + at, 0, 1, 1)
                            one = slide_sums(one, x, sources[tap] + c, 0, value)
                            store(one, sums, targets[tap] + at, 0)
                    o += 1
                while tiled and o < min(end, o1):
                    for at in range(0, C, lanes(x)):
                        c = min(at, C - lanes(x))
                        values = load(dy, (row * W_out + o) * C + c, C, ROWS, 1)
                        if three:
                            for tap in range(0, taps, 3):
                                total = load(sums, targets[tap] + at, width, 3, 1)
                                a = sources[tap] + o * step + c
                                total = slide_sums(total, x, a, step, values)
                                store(total, sums, targets[tap] + at, width)
                        else:
                            for tap in range(taps):
                                one = load(sums, targets[tap] + at, 0, 1, 1)
                                a = sources[tap] + o * step + c
                                one = slide_sums(one, x, a, step, values)
                                store(one, sums, targets[tap] + at, 0)
                    o += ROWS
    for tap in range(P * Q * R):
        for at in range(0, C, lanes(x)):
            c = min(at, C - lanes(x))
            store(load(sums, tap * width + at, 0, 1, 1), dw, tap * C + c, 0)


@kernel
def backward_weight(turns, dy, x, stride, before, dilation, shares):
    """dw(p, c) = Σ_o x(o·stride + p·dilation − before, c) · dy(o, c), as shares (n, *K, C) that
    are still to be added up."""
    share = take(turns)
    while share < len(shares):
        _add_share(dy, x, stride, before, dilation, share, len(shares), shares[share])
        share = take(turns)
