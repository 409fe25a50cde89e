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
from nn.kernels.direct import multiply_rows
from nn.kernels.jit import kernel
from nn.kernels.tile import copy
from nn.kernels.turns import take

MOST_CHANNELS = 4  # measured: with more the lanes are full enough for `input_gradient`
ROWS = 16  # of dx in a task


@kernel
def _spread(z, first, z_step, n_outputs, stride, dilation, R, C, to, at):
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
    numbers, nothing = panels.reshape(-1), np.zeros(width, dy.dtype)
    edge = np.empty(TALL * width, dy.dtype)
    z_step = n_panels * width
    most = min(H_out, (ROWS + (Q - 1) * dilation[1] - 1) // stride[1] + 1)  # rows of dy that reach
    z = np.empty(most * W_out * z_step, dy.dtype)
    columns = max(W + before[2], (W_out - 1) * stride[2] + (R - 1) * dilation[2] + 1)
    rows = np.zeros(ROWS * columns * C, dy.dtype)  # with the padding, which is cut off in the end
    for p in range(P):
        t = i + before[0] - p * dilation[0]
        if t < 0 or t % stride[0] or t // stride[0] >= T_out:
            continue
        h0 = max(0, -(-(j0 + before[1] - (Q - 1) * dilation[1]) // stride[1]))
        h1 = min(H_out, (j1 - 1 + before[1]) // stride[1] + 1)
        n_outputs = max(0, h1 - h0) * W_out
        at = ((n * T_out + t // stride[0]) * H_out + h0) * W_out * C_out
        source, end = dy, at + n_outputs * C_out
        if end + TALL * C_out > dy.size:  # a tile may read beyond the last place
            source = np.zeros((n_outputs + TALL) * C_out, dy.dtype)
            copy(source, 0, dy, at, n_outputs * C_out)
            at = 0
        for panel in range(n_panels):
            multiply_rows(
                source, at, C_out, numbers, (p * n_panels + panel) * C_out * width, nothing,
                z, panel * width, z_step, n_outputs, edge,
            )  # fmt: skip
        for h in range(h0, h1):
            for q in range(Q):
                j = h * stride[1] + q * dilation[1] - before[1]
                if j0 <= j < j1:
                    _spread(
                        z, (h - h0) * W_out * z_step + q * R * C, z_step, W_out, stride[2],
                        dilation[2], R, C, rows, (j - j0) * columns * C,
                    )  # fmt: skip
    for j in range(j0, j1):
        to = (((n * T + i) * H + j) * W) * C
        copy(dx, to, rows, ((j - j0) * columns + before[2]) * C, W * C)


@kernel
def _backward_input(
    turns, dy, dy_shape, panels, stride, before, dilation, kernel_size, dx, dx_shape
):  # fmt: skip
    N, T, H, W, C = dx_shape
    tasks = N * T * -(-H // ROWS)
    task = take(turns)
    while task < tasks:
        _input_rows(
            dy, dy_shape, panels, stride, before, dilation, kernel_size, dx, dx_shape, task
        )  # fmt: skip
        task = take(turns)


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
