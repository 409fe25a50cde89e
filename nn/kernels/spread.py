"""The input gradient for few input channels, such as the three of an image.

    dx(i) = Σ_p dy(o) @ w(p)ᵀ      over the taps p with o·stride + p·dilation − before = i

`input_gradient` gathers: for each input the outputs that it went into. Its tiles have an input
channel in each lane, so with 3 of them 13 of 16 lanes do nothing. Here every output spreads its
gradient over all the inputs it came from:

    z(o) = dy(o) @ wᵀ                     (C_out) @ (C_out, Q·R·C): 27 numbers for 3×3 taps of 3
    dx(o·stride + p·dilation − before) += z(o, p)

The product fills the lanes, and only the additions are left to do number by number. A task owns
some rows of dx and takes every row of dy that reaches them, so no two tasks add to one number.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.direct import multiply_row
from nn.kernels.jit import kernel
from nn.kernels.tile import clear, copy

MOST_CHANNELS = 4  # measured: with more the lanes are full enough for `input_gradient`
ROWS = 16  # of dx in a task


@kernel
def _spread(z, z_step, first, n_outputs, stride, dilation, R, C, to, at):
    """Add the contributions of one tap row q, of all outputs in a row, to one row of dx."""
    if dilation == 1:
        for o in range(n_outputs):
            for m in range(R * C):
                to[at + o * stride * C + m] += z[o * z_step + first + m]
    else:
        for o in range(n_outputs):
            for r in range(R):
                for c in range(C):
                    place = at + (o * stride + r * dilation) * C + c
                    to[place] += z[o * z_step + first + r * C + c]


@kernel
def _input_rows(dy, dy_shape, panels, stride, before, dilation, kernel_size, dx, dx_shape, task):
    """ROWS rows of one frame of dx."""
    N, T_out, H_out, W_out, C_out = dy_shape
    N, T, H, W, C = dx_shape
    P, Q, R = kernel_size
    blocks = -(-H // ROWS)
    n, i, j0 = task // (T * blocks), task // blocks % T, task % blocks * ROWS
    j1 = min(H, j0 + ROWS)
    n_panels, width = panels.shape[1], panels.shape[3]
    nothing, edge = np.zeros(width, dy.dtype), np.empty(TALL * width, dy.dtype)
    z_step = n_panels * width
    z = np.empty(W_out * z_step, dy.dtype)
    line = np.empty((W_out + TALL) * C_out, dy.dtype)
    columns = max(W + before[2], (W_out - 1) * stride[2] + (R - 1) * dilation[2] + 1)
    rows = np.zeros(ROWS * columns * C, dy.dtype)  # with the padding, which is cut off in the end
    for p in range(P):
        t = i + before[0] - p * dilation[0]
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        t //= stride[0]
        first = -(-(j0 + before[1] - (Q - 1) * dilation[1]) // stride[1])
        for h in range(max(0, first), min(H_out, (j1 - 1 + before[1]) // stride[1] + 1)):
            at = ((n * T_out + t) * H_out + h) * W_out * C_out
            source = dy
            if at + (W_out + TALL) * C_out > dy.size:  # a tile may read beyond the last row
                copy(line, 0, dy, at, W_out * C_out)
                clear(line, W_out * C_out, TALL * C_out)
                source, at = line, 0
            for panel in range(n_panels):
                multiply_row(
                    source, at, C_out, panels[p, panel], nothing, z, panel * width, z_step, W_out,
                    edge,
                )  # fmt: skip
            for q in range(Q):
                j = h * stride[1] + q * dilation[1] - before[1]
                if j0 <= j < j1:
                    row = (j - j0) * columns * C
                    _spread(
                        z, z_step, q * R * C, W_out, stride[2], dilation[2], R, C, rows, row
                    )  # fmt: skip
    for j in range(j0, j1):
        to = (((n * T + i) * H + j) * W) * C
        copy(dx, to, rows, ((j - j0) * columns + before[2]) * C, W * C)


@kernel
def _backward_input(
    thread, threads, dy, dy_shape, panels, stride, before, dilation, kernel_size, dx, dx_shape
):  # fmt: skip
    N, T, H, W, C = dx_shape
    for task in range(thread, N * T * -(-H // ROWS), threads):
        _input_rows(
            dy, dy_shape, panels, stride, before, dilation, kernel_size, dx, dx_shape, task
        )  # fmt: skip


def suits(kernel_size, C, groups):
    """Few channels, and enough taps to fill the lanes with them instead."""
    return groups == 1 and C <= MOST_CHANNELS and C * math.prod(kernel_size[-2:]) > 2 * C


def backward_input(dy, w, stride, before, dilation, dx):
    """dx(i) = Σ_p dy(o) @ w(p)ᵀ over the taps with o·stride + p·dilation − before = i.

    dy (N, T_out, H_out, W_out, C_out), w (P, Q, R, C, C_out), dx (N, T, H, W, C).
    """
    P, Q, R, C, C_out = w.shape
    width = 2 * VECTOR_BYTES // dy.itemsize
    n_panels = math.ceil(Q * R * C / width)
    panels = aligned_empty((P, C_out, n_panels * width), dy.dtype)
    panels[..., Q * R * C :] = 0
    panels[..., : Q * R * C] = w.reshape(P, Q * R * C, C_out).swapaxes(1, 2)
    panels = np.ascontiguousarray(panels.reshape(P, C_out, n_panels, width).swapaxes(1, 2))
    threads.run(
        _backward_input, dy.reshape(-1), dy.shape, panels, tuple(stride), tuple(before),
        tuple(dilation), (P, Q, R), dx.reshape(-1), dx.shape,
    )  # fmt: skip
