"""Depthwise convolution: every channel has a filter of its own, and channels do not mix.

    y(o, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c)

There is no sum over channels, so no outer product: a vector of channels of x meets the same
channels of w. A tile holds the sums of ROWS neighbouring outputs along the width, for one vector
of channels. It takes one tap after the other, and is stored once. Outputs near the border, where
some taps along the width fall outside, are done one by one with the taps that do not.

The input gradient is a depthwise convolution of dy, for each phase of the stride as in
`input_gradient`. The weight gradient sums over places: for each tap and vector of channels, ROWS
sums for neighbouring places, which come together in the end.

There must be at least one vector of channels. Where they are not a multiple of one, the last
vector begins earlier and does some channels again.
"""

import itertools
import math

import numba
import numpy as np

from nn.kernels.cpu import SHORT as ROWS
from nn.kernels.input_gradient import phases
from nn.kernels.jit import kernel
from nn.kernels.tile import fill, lanes, load, store
from nn.kernels.window import outputs_inside, taps_inside


@kernel
def _convolve_row(x, w, b, stride, before, dilation, n, t, h, y, at, y_step, n_outputs):
    """One row of outputs: the first at y[at:], the others y_step further each."""
    N, T, H, W, C = x.shape
    P, Q, R, C = w.shape
    i, j = t * stride[0] - before[0], h * stride[1] - before[1]
    p0, p1 = taps_inside(i, P, dilation[0], T)
    q0, q1 = taps_inside(j, Q, dilation[1], H)
    # From the first to before the last output all taps along the width are inside.
    first, _ = outputs_inside(W, n_outputs, stride[2], -before[2])
    _, last = outputs_inside(W, n_outputs, stride[2], (R - 1) * dilation[2] - before[2])
    step, tap_step = stride[2] * C, dilation[2] * C
    o = 0
    while o < n_outputs:
        tiled = first <= o < last and last - first >= ROWS
        if tiled:
            o = min(o, last - ROWS)  # the last tile does some outputs again
            r0, r1 = 0, R
        else:
            r0, r1 = taps_inside(o * stride[2] - before[2], R, dilation[2], W)
        for start in range(0, C, lanes(x)):
            c = min(start, C - lanes(x))
            tile = load(b, c, 0, ROWS, 1)
            single = load(b, c, 0, 1, 1)
            for p in range(p0, p1):
                for q in range(q0, q1):
                    row = ((n * T + i + p * dilation[0]) * H + j + q * dilation[1]) * W
                    source = (row + o * stride[2] - before[2]) * C + c
                    weight = (p * Q + q) * R * C + c
                    if tiled:
                        for r in range(R):
                            weights = load(w, weight + r * C, 0, ROWS, 1)
                            tile = tile + load(x, source + r * tap_step, step, ROWS, 1) * weights
                    else:
                        for r in range(r0, r1):
                            weights = load(w, weight + r * C, 0, 1, 1)
                            single = single + load(x, source + r * tap_step, 0, 1, 1) * weights
            if tiled:
                store(tile, y, at + o * y_step + c, y_step)
            else:
                store(single, y, at + o * y_step + c, 0)
        o += ROWS if tiled else 1


@kernel(parallel=True)
def _convolve(x, w, b, stride, before, dilation, size, first, step, y):
    N, T_y, H_y, W_y, C = y.shape
    for row in numba.prange(N * size[0] * size[1]):
        n, t, h = row // (size[0] * size[1]), row // size[1] % size[0], row % size[1]
        i, j = first[0] + t * step[0], first[1] + h * step[1]
        at = (((n * T_y + i) * H_y + j) * W_y + first[2]) * C
        _convolve_row(x, w, b, stride, before, dilation, n, t, h, y, at, step[2] * C, size[2])


def convolve(x, w, b, stride, before, dilation, y, first=(0, 0, 0), step=(1, 1, 1)):
    """y(o·step + first, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c) + b(c).

    x (N, T, H, W, C), w (P, Q, R, C), b (C,), y (N, T_y, H_y, W_y, C), which is written into.
    """
    size = tuple(len(range(f, n, s)) for f, n, s in zip(first, y.shape[1:4], step, strict=True))
    _convolve(x, w, b, stride, before, dilation, size, first, step, y)


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
def _add_row(dy, x, stride, before, dilation, n, t, h, sums):
    """Add one row of places to the sums (vectors of channels, P, Q, R, ROWS, lanes)."""
    N, T, H, W, C = x.shape
    _, T_out, H_out, W_out, C = dy.shape
    _, P, Q, R, _, _ = sums.shape
    i, j = t * stride[0] - before[0], h * stride[1] - before[1]
    p0, p1 = taps_inside(i, P, dilation[0], T)
    q0, q1 = taps_inside(j, Q, dilation[1], H)
    step = stride[2] * C
    for p in range(p0, p1):
        for q in range(q0, q1):
            row = ((n * T + i + p * dilation[0]) * H + j + q * dilation[1]) * W
            for vector in range(len(sums)):
                c = min(vector * lanes(x), C - lanes(x))
                to = ((vector * P + p) * Q + q) * R * ROWS * lanes(x)
                for r in range(R):
                    shift = r * dilation[2] - before[2]
                    first, last = outputs_inside(W, W_out, stride[2], shift)
                    a = (row + first * stride[2] + shift) * C + c
                    b = (((n * T_out + t) * H_out + h) * W_out + first) * C + c
                    tile = load(sums, to, lanes(x), ROWS, 1)
                    for _ in range(first, last - ROWS + 1, ROWS):
                        tile = tile + load(x, a, step, ROWS, 1) * load(dy, b, C, ROWS, 1)
                        a += ROWS * step
                        b += ROWS * C
                    store(tile, sums, to, lanes(x))
                    single = load(sums, to, 0, 1, 1)
                    for _ in range(max(0, last - first) % ROWS):
                        single = single + load(x, a, 0, 1, 1) * load(dy, b, 0, 1, 1)
                        a += step
                        b += C
                    store(single, sums, to, 0)
                    to += ROWS * lanes(x)


@kernel
def _add_share(dy, x, stride, before, dilation, share, n_shares, dw):
    """One share of all places, summed into dw (P, Q, R, C)."""
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R, C = dw.shape
    vectors = -(-C // lanes(x))
    sums = np.zeros((vectors, P, Q, R, ROWS, lanes(x)), x.dtype)
    rows = N * T_out * H_out
    for row in range(share * rows // n_shares, (share + 1) * rows // n_shares):
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _add_row(dy, x, stride, before, dilation, n, t, h, sums)
    for vector in range(vectors):
        c = min(vector * lanes(x), C - lanes(x))
        for tap in range(P * Q * R):
            at = (vector * P * Q * R + tap) * ROWS * lanes(x)
            total = fill(x, 0, 1, 1)
            for _ in range(ROWS):
                total = total + load(sums, at, 0, 1, 1)
                at += lanes(x)
            store(total, dw, tap * C + c, 0)


@kernel(parallel=True)
def backward_weight(dy, x, stride, before, dilation, shares):
    """dw(p, c) = Σ_o x(o·stride + p·dilation − before, c) · dy(o, c), as shares (n, *K, C) that
    are still to be added up."""
    for share in numba.prange(len(shares)):
        _add_share(
            dy, x, stride, before, dilation, np.int64(share), len(shares), shares[share]
        )
