"""Depthwise convolution: every channel has a filter of its own, and channels do not mix.

    y(o, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c)

The same windows as in `loops`, in the same letters, but the innermost loop multiplies channel
by channel: with one output per group, a loop over the outputs of a group would have length one.
Along the width, all outputs that one tap serves are done at once, so nothing is asked per pixel.
"""

import numba

from nn.kernels.jit import kernel
from nn.kernels.tile import clear, copy
from nn.kernels.window import outputs_inside


@kernel(inline=True)
def _add_product(out, a, b):
    for c in range(len(out)):
        out[c] += a[c] * b[c]


@kernel
def _forward_row(x, w, b, stride, before, dilation, n, t, h, row):
    N, T, H, W, C = x.shape
    P, Q, R, C = w.shape
    for o in range(len(row)):
        copy(row, o * C, b, 0, C)
    for p in range(P):
        i = t * stride[0] + p * dilation[0] - before[0]
        for q in range(Q):
            j = h * stride[1] + q * dilation[1] - before[1]
            if i < 0 or i >= T or j < 0 or j >= H:
                continue
            inputs = x[n, i, j]  # (W, C)
            for r in range(R):
                shift = r * dilation[2] - before[2]
                first, last = outputs_inside(W, len(row), stride[2], shift)
                weights = w[p, q, r]  # (C,)
                for o in range(first, last):
                    _add_product(row[o], inputs[o * stride[2] + shift], weights)


@kernel(parallel=True)
def forward(x, w, b, stride, before, dilation, y):
    """y(o, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c) + b(c)."""
    N, T_out, H_out = y.shape[:3]
    for row in numba.prange(N * T_out * H_out):
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _forward_row(x, w, b, stride, before, dilation, n, t, h, y[n, t, h])


@kernel
def _backward_input_row(dy, w, stride, before, dilation, n, i, j, row):
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R, C = w.shape
    clear(row, 0, row.size)
    for p in range(P):
        t = i + before[0] - p * dilation[0]
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        for q in range(Q):
            h = j + before[1] - q * dilation[1]
            if h < 0 or h % stride[1] or h // stride[1] >= H_out:
                continue
            outputs = dy[n, t // stride[0], h // stride[1]]  # (W_out, C)
            for r in range(R):
                shift = r * dilation[2] - before[2]
                first, last = outputs_inside(len(row), W_out, stride[2], shift)
                weights = w[p, q, r]  # (C,)
                for o in range(first, last):
                    _add_product(row[o * stride[2] + shift], outputs[o], weights)


@kernel(parallel=True)
def backward_input(dy, w, stride, before, dilation, dx):
    """dx(i, c) = Σ_p dy(o, c) · w(p, c), over the taps with o·stride + p·dilation − before = i."""
    N, T, H = dx.shape[:3]
    for row in numba.prange(N * T * H):
        n, i, j = row // (T * H), row // H % T, row % H
        _backward_input_row(dy, w, stride, before, dilation, n, i, j, dx[n, i, j])


@kernel
def _backward_weight_row(row, x, stride, before, dilation, n, t, h, dw):
    N, T, H, W, C = x.shape
    P, Q, R, C = dw.shape
    for p in range(P):
        i = t * stride[0] + p * dilation[0] - before[0]
        for q in range(Q):
            j = h * stride[1] + q * dilation[1] - before[1]
            if i < 0 or i >= T or j < 0 or j >= H:
                continue
            inputs = x[n, i, j]  # (W, C)
            for r in range(R):
                shift = r * dilation[2] - before[2]
                first, last = outputs_inside(W, len(row), stride[2], shift)
                sums = dw[p, q, r]  # (C,)
                for o in range(first, last):
                    _add_product(sums, inputs[o * stride[2] + shift], row[o])


@kernel(parallel=True)
def backward_weight(dy, x, stride, before, dilation, shares):
    """dw(p, c) = Σ_o x(o·stride + p·dilation − before, c) · dy(o, c), as shares (n, *K, C) that
    are still to be added up."""
    N, T_out, H_out = dy.shape[:3]
    rows, n_shares = N * T_out * H_out, len(shares)
    for share in numba.prange(n_shares):
        for row in range(share * rows // n_shares, (share + 1) * rows // n_shares):
            n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
            _backward_weight_row(dy[n, t, h], x, stride, before, dilation, n, t, h, shares[share])
