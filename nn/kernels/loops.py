"""Convolution as plain compiled loops: the equation, one output row per task.

The rung between the equations (`reference`) and the register tiles. Three axes, which serve
one and two as well: the axes that are missing have length one. The innermost loop runs along
the output channels, which lie side by side in memory, so the compiler turns it into vector
instructions.

Letters: outputs are counted by t, h, o along time, height and width, inputs by i, j, k, and the
taps of the window by p, q, r. `stride`, `dilation` and `before` (the zeros in front of the
first input) are triples.

Every task owns the part of the result that it writes. The weight gradient is a sum over all
tasks: each share of the rows sums into a buffer of its own, and the buffers are then added in
order. How many there are is fixed, whatever the number of threads; so are the bits of the
result.
"""

from nn.kernels.jit import kernel
from nn.kernels.turns import take


@kernel(inline=True)
def _add_scaled(out, factor, values):
    for d in range(len(out)):
        out[d] += factor * values[d]


@kernel(inline=True)
def _dot(a, b):
    total = a[0] * b[0]
    for d in range(1, len(a)):
        total += a[d] * b[d]
    return total


@kernel
def _forward_row(x, w, b, stride, before, dilation, groups, n, t, h, row):
    N, T, H, W, C_in = x.shape
    P, Q, R, C_group, C_out = w.shape
    outputs = C_out // groups  # of one group
    for o in range(len(row)):
        for d in range(C_out):
            row[o, d] = b[d]
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
                    if k < 0 or k >= W:
                        continue
                    for c in range(C_in):
                        d = c // C_group * outputs
                        weights = w[p, q, r, c % C_group, d : d + outputs]
                        _add_scaled(row[o, d : d + outputs], x[n, i, j, k, c], weights)


@kernel
def conv_forward(turns, x, w, b, stride, before, dilation, groups, y):
    """y(o) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b, for all axes of o and p."""
    N, T_out, H_out = y.shape[:3]
    rows = N * T_out * H_out
    row = take(turns)
    while row < rows:
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _forward_row(x, w, b, stride, before, dilation, groups, n, t, h, y[n, t, h])
        row = take(turns)


@kernel
def _backward_input_row(dy, w, stride, before, dilation, groups, n, i, j, row):
    N, T_out, H_out, W_out, C_out = dy.shape
    P, Q, R, C_group, C_out = w.shape
    W, C_in = row.shape
    outputs = C_out // groups
    row[:] = 0
    for p in range(P):
        t = i + before[0] - p * dilation[0]
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        for q in range(Q):
            h = j + before[1] - q * dilation[1]
            if h < 0 or h % stride[1] or h // stride[1] >= H_out:
                continue
            for k in range(W):
                for r in range(R):
                    o = k + before[2] - r * dilation[2]
                    if o < 0 or o % stride[2] or o // stride[2] >= W_out:
                        continue
                    out = dy[n, t // stride[0], h // stride[1], o // stride[2]]  # (C_out,)
                    for c in range(C_in):
                        d = c // C_group * outputs
                        weights = w[p, q, r, c % C_group, d : d + outputs]
                        row[k, c] += _dot(out[d : d + outputs], weights)


@kernel
def conv_backward_input(turns, dy, w, stride, before, dilation, groups, dx):
    """dx(i) = Σ_p dy(o) @ w(p)ᵀ, over the taps p with o·stride + p·dilation − before = i."""
    N, T, H = dx.shape[:3]
    rows = N * T * H
    row = take(turns)
    while row < rows:
        n, i, j = row // (T * H), row // H % T, row % H
        _backward_input_row(dy, w, stride, before, dilation, groups, n, i, j, dx[n, i, j])
        row = take(turns)


@kernel
def _backward_weight_row(row, x, stride, before, dilation, groups, n, t, h, dw):
    N, T, H, W, C_in = x.shape
    P, Q, R, C_group, C_out = dw.shape
    outputs = C_out // groups
    for p in range(P):
        i = t * stride[0] + p * dilation[0] - before[0]
        if i < 0 or i >= T:
            continue
        for q in range(Q):
            j = h * stride[1] + q * dilation[1] - before[1]
            if j < 0 or j >= H:
                continue
            for r in range(R):
                for o in range(len(row)):
                    k = o * stride[2] + r * dilation[2] - before[2]
                    if k < 0 or k >= W:
                        continue
                    for c in range(C_in):
                        d = c // C_group * outputs
                        sums = dw[p, q, r, c % C_group, d : d + outputs]
                        _add_scaled(sums, x[n, i, j, k, c], row[o, d : d + outputs])


@kernel
def conv_backward_weight(turns, dy, x, stride, before, dilation, groups, shares):
    """dw(p) = Σ_o x(o·stride + p·dilation − before)ᵀ @ dy(o), as shares (n, *K, C_in // groups,
    C_out) that are still to be added up."""
    N, T_out, H_out = dy.shape[:3]
    rows, n_shares = N * T_out * H_out, len(shares)
    share = take(turns)
    while share < n_shares:
        for row in range(share * rows // n_shares, (share + 1) * rows // n_shares):
            n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
            _backward_weight_row(
                dy[n, t, h], x, stride, before, dilation, groups, n, t, h, shares[share]
            )
        share = take(turns)
