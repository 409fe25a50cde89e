"""Max and average pooling as compiled loops, one row per task, in the letters of `loops`.

Backward asks of each *input* which windows it lies in and collects from them. So windows may
overlap, and still every task writes only its own row.
"""

import numba

from nn.kernels.jit import kernel
from nn.kernels.tile import clear
from nn.kernels.window import outputs_inside


@kernel(inline=True)
def _add_scaled(out, values, factor):
    for c in range(len(out)):
        out[c] += values[c] * factor


@kernel(inline=True)
def _begin(best, winner, values, tap):
    for c in range(len(best)):
        best[c] = values[c]
        winner[c] = tap


@kernel(inline=True)
def _keep_larger(best, winner, values, tap):
    """The first of equals stays. A NaN, which is neither larger nor equal, wins and stays."""
    for c in range(len(best)):
        old, new = best[c], values[c]
        better = (new > old) | ((new != new) & (old == old))
        best[c] = new if better else old
        winner[c] = tap if better else winner[c]


@kernel
def _max_row(x, kernel_size, stride, before, n, t, h, row, winner):
    N, T, H, W, C = x.shape
    P, Q, R = kernel_size
    for o in range(len(row)):
        first = True  # the first tap inside the input: padding never wins
        for p in range(P):
            i = t * stride[0] + p - before[0]
            for q in range(Q):
                j = h * stride[1] + q - before[1]
                if i < 0 or i >= T or j < 0 or j >= H:
                    continue
                for r in range(R):
                    k = o * stride[2] + r - before[2]
                    if k < 0 or k >= W:
                        continue
                    tap = (p * Q + q) * R + r
                    if first:
                        _begin(row[o], winner[o], x[n, i, j, k], tap)
                        first = False
                    else:
                        _keep_larger(row[o], winner[o], x[n, i, j, k], tap)


@kernel(parallel=True)
def max_forward(x, kernel_size, stride, before, y, winner):
    """y(o) = max_p x(o·stride + p − before), and which tap p it was."""
    N, T_out, H_out = y.shape[:3]
    for row in numba.prange(N * T_out * H_out):
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _max_row(x, kernel_size, stride, before, n, t, h, y[n, t, h], winner[n, t, h])


@kernel
def _average_row(x, kernel_size, stride, before, n, t, h, row):
    N, T, H, W, C = x.shape
    P, Q, R = kernel_size
    share = x.dtype.type(1 / (P * Q * R))
    clear(row, 0, row.size)
    for p in range(P):
        i = t * stride[0] + p - before[0]
        for q in range(Q):
            j = h * stride[1] + q - before[1]
            if i < 0 or i >= T or j < 0 or j >= H:
                continue
            inputs = x[n, i, j]  # (W, C)
            for r in range(R):
                shift = r - before[2]
                first, last = outputs_inside(W, len(row), stride[2], shift)
                for o in range(first, last):
                    _add_scaled(row[o], inputs[o * stride[2] + shift], share)


@kernel(parallel=True)
def average_forward(x, kernel_size, stride, before, y):
    """y(o) = 1/(P·Q·R) Σ_p x(o·stride + p − before)."""
    N, T_out, H_out = y.shape[:3]
    for row in numba.prange(N * T_out * H_out):
        n, t, h = row // (T_out * H_out), row // H_out % T_out, row % H_out
        _average_row(x, kernel_size, stride, before, n, t, h, y[n, t, h])


@kernel(inline=True)
def _add_won(out, values, winner, tap):
    for c in range(len(out)):
        out[c] += values[c] if winner[c] == tap else 0


@kernel
def _backward_row(dy, winner, kernel_size, stride, before, n, i, j, row, is_max):
    N, T_out, H_out, W_out, C = dy.shape
    P, Q, R = kernel_size
    share = dy.dtype.type(1 / (P * Q * R))
    clear(row, 0, row.size)
    for p in range(P):
        t = i + before[0] - p
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        for q in range(Q):
            h = j + before[1] - q
            if h < 0 or h % stride[1] or h // stride[1] >= H_out:
                continue
            outputs = dy[n, t // stride[0], h // stride[1]]  # (W_out, C)
            for r in range(R):
                shift = r - before[2]
                first, last = outputs_inside(len(row), W_out, stride[2], shift)
                if is_max:
                    tap = (p * Q + q) * R + r
                    winners = winner[n, t // stride[0], h // stride[1]]
                    for o in range(first, last):
                        _add_won(row[o * stride[2] + shift], outputs[o], winners[o], tap)
                else:
                    for o in range(first, last):
                        _add_scaled(row[o * stride[2] + shift], outputs[o], share)


@kernel(parallel=True)
def backward(dy, winner, kernel_size, stride, before, dx, is_max):
    """dx(i) = Σ_o dy(o), over the windows o that i lies in: those it won (max), or an equal
    share of each (average, which ignores `winner`)."""
    N, T, H = dx.shape[:3]
    for row in numba.prange(N * T * H):
        n, i, j = row // (T * H), row // H % T, row % H
        _backward_row(dy, winner, kernel_size, stride, before, n, i, j, dx[n, i, j], is_max)
