"""Depthwise convolution: every channel has a filter of its own, and channels do not mix.

    y(o, c) = Σ_p x(o·stride + p·dilation − before, c) · w(p, c)

The same windows as in `loops`, in the same letters, but the innermost loop multiplies channel
by channel: with one output per group, a loop over the outputs of a group would have length one.
"""

import numba

from nn.kernels.jit import kernel


@kernel
def _add_product(out, a, b):
    for c in range(len(out)):
        out[c] += a[c] * b[c]


@kernel
def _forward_row(x, w, stride, before, dilation, n, t, h, row):
    N, T, H, W, C = x.shape
    P, Q, R, C = w.shape
    for p in range(P):
        i = t * stride[0] + p * dilation[0] - before[0]
        if i < 0 or i >= T:
            continue
        for q in range(Q):
            j = h * stride[1] + q * dilation[1] - before[1]
            if j < 0 or j >= H:
                continue
            for o in range(len(row)):
                for r in range(R):
                    k = o * stride[2] + r * dilation[2] - before[2]
                    if 0 <= k < W:
                        _add_product(row[o], x[n, i, j, k], w[p, q, r])


@kernel(parallel=True)
def forward(x, w, stride, before, dilation, y):
    """y(o, c) += Σ_p x(o·stride + p·dilation − before, c) · w(p, c)."""
    N, T_out, H_out = y.shape[:3]
    for row in numba.prange(N * T_out * H_out):
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _forward_row(x, w, stride, before, dilation, n, t, h, y[n, t, h])


@kernel
def _backward_input_row(dy, w, stride, before, dilation, n, i, j, row):
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R, C = w.shape
    for p in range(P):
        t = i + before[0] - p * dilation[0]
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        for q in range(Q):
            h = j + before[1] - q * dilation[1]
            if h < 0 or h % stride[1] or h // stride[1] >= H_out:
                continue
            for k in range(len(row)):
                for r in range(R):
                    o = k + before[2] - r * dilation[2]
                    if o >= 0 and o % stride[2] == 0 and o // stride[2] < W_out:
                        out = dy[n, t // stride[0], h // stride[1], o // stride[2]]
                        _add_product(row[k], out, w[p, q, r])


@kernel(parallel=True)
def backward_input(dy, w, stride, before, dilation, dx):
    """dx(i, c) += Σ_p dy(o, c) · w(p, c), over the taps with o·stride + p·dilation − before = i."""
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
        if i < 0 or i >= T:
            continue
        for q in range(Q):
            j = h * stride[1] + q * dilation[1] - before[1]
            if j < 0 or j >= H:
                continue
            for o in range(len(row)):
                for r in range(R):
                    k = o * stride[2] + r * dilation[2] - before[2]
                    if 0 <= k < W:
                        _add_product(dw[p, q, r], x[n, i, j, k], row[o])


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
