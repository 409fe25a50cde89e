"""Convolution on register tiles: the fast kernel for the general case.

    y(o) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b

A tile holds the sums of ROWS neighbouring outputs along the width (its rows) for some output
channels (its columns, a few vectors). For every tap and every input channel it takes one outer
product: the ROWS inputs that meet this tap, times the weights of this tap and channel.

The weights are laid out anew: for each *panel* of output channels that fills a tile's width, all
taps and input channels one after the other, in the order in which they are used.

The inputs stay as they are. Neighbouring outputs meet inputs that lie stride·C numbers apart, and
the inputs that one output meets along the width, taps and channels together, are one *run* of R·C
numbers (with dilation or groups, R runs of C). Only where a block of outputs meets the padding,
its inputs are copied, rows with their zeros, to a scratch array that fits into the cache. So no
tap has to ask whether it is inside the input.

The input gradient is a convolution too, and runs on this file: see `input_gradient`.
"""

import math
from typing import NamedTuple

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty, flat_view
from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store

BLOCK_BYTES = 192 * 1024  # of inputs for one task: less than the second-level cache
PANEL_BYTES = 1024 * 1024  # of weights for one task
FEWEST_TASKS = 16  # so that the threads finish together

# The tiles there are: rows, vectors, and what a multiplication costs, measured: a tile with few
# sums waits for its operands.
TILES = ((TALL, 2, 1.0), (SHORT, 2, 1.02), (2 * SHORT, 1, 1.1))


class Plan(NamedTuple):
    """How the work is divided."""

    tile: int  # which of TILES
    rows: int  # outputs of one block, along the height
    columns: int  # and along the width
    panels: int  # of one task
    runs: int  # R, or 1 where the taps along the width are one run with the channels


# ---- the compiled part ------------------------------------------------------------------


def _make_row_kernel(rows, vectors):
    @kernel
    def convolve_row(
        x, base, x_step, taps, tap_steps, runs, run, panel, start, y, at, y_step, n_outputs,
        n_columns, edge,
    ):  # fmt: skip
        """A row of outputs, tile after tile. Of a tile's columns only n_columns exist in y."""
        apart()
        width = len(start)
        p0, p1, q0, q1, Q = taps
        for w in range(0, n_outputs, rows):
            tile = load(start, 0, 0, rows, vectors)  # every row starts as the bias
            for p in range(p0, p1):
                b = (p * Q + q0) * runs * run * width
                for q in range(q0, q1):
                    for r in range(runs):
                        a = base + p * tap_steps[0] + q * tap_steps[1] + r * tap_steps[2]
                        for i in range(a, a + run):
                            tile = add_outer(tile, x, i, x_step, panel, b)
                            b += width
            n_rows = min(rows, n_outputs - w)
            if n_rows == rows and n_columns == width:
                store(tile, y, at, y_step)
            else:
                store(tile, edge, 0, width)
                for r in range(n_rows):
                    copy(y, at + r * y_step, edge, r * width, n_columns)
            base += rows * x_step
            at += rows * y_step

    return convolve_row


_tall = _make_row_kernel(TALL, 2)
_short = _make_row_kernel(SHORT, 2)
_narrow = _make_row_kernel(2 * SHORT, 1)


@kernel
def multiply_row(x, base, x_step, panel, start, y, at, y_step, n_outputs, edge):
    """y[o] = x[o] @ panel + start for a row of outputs: a convolution with one tap."""
    run, width = panel.shape
    taps, tap_steps = (0, 1, 0, 1, 1), (0, 0, 0)
    _tall(
        x, base, x_step, taps, tap_steps, 1, run, panel, start, y, at, y_step, n_outputs, width,
        edge,
    )  # fmt: skip


@kernel
def _taps_inside(first, K, dilation, size):
    """The taps k, from the first to before the last, with 0 ≤ first + k·dilation < size."""
    k0, k1 = 0, K
    while k0 < K and first + k0 * dilation < 0:
        k0 += 1
    while k1 > k0 and first + (k1 - 1) * dilation >= size:
        k1 -= 1
    return k0, k1


@kernel
def copy_rows(x, shape, corner, taps, dilation, rows, columns, to):
    """Copy the rows of x that a block of outputs meets, and zeros where there is no x.

    x is flat, and shape what it was. For each tap in time from taps[0] to taps[1] there are so
    many rows and columns in `to`, the first of them at `corner` of x.
    """
    N, T, H, W, C = shape
    n, i0, j0, k0 = corner
    left = min(columns, max(0, -k0))  # columns of zeros
    inside = max(0, min(columns, W - k0) - left)
    for p in range(taps[0], taps[1]):
        i = i0 + p * dilation
        for row in range(rows):
            at = (p * rows + row) * columns * C
            j = j0 + row
            if 0 <= i < T and 0 <= j < H and inside:
                clear(to, at, left * C)
                source = (((n * T + i) * H + j) * W + k0 + left) * C
                copy(to, at + left * C, x, source, inside * C)
                clear(to, at + (left + inside) * C, (columns - left - inside) * C)
            else:
                clear(to, at, columns * C)


@kernel
def _convolve_block(
    x, x_shape, panels, bias, stride, before, dilation, kernel_size, size, first, step, plan,
    y, y_shape, task,
):  # fmt: skip
    """Some panels of one block of outputs."""
    N, T, H, W, C_in = x_shape
    groups, n_panels, terms, width = panels.shape
    P, Q, R = kernel_size
    outputs = y_shape[4] // groups
    C = terms // (P * Q * R)

    # The task's number says which: first along the width, then the height, time, clips, panels.
    w_blocks, h_blocks = -(-size[2] // plan.columns), -(-size[1] // plan.rows)
    w0 = task % w_blocks * plan.columns
    h0 = task // w_blocks % h_blocks * plan.rows
    t = task // (w_blocks * h_blocks) % size[0]
    n = task // (w_blocks * h_blocks * size[0]) % N
    panel0 = task // (w_blocks * h_blocks * size[0] * N) * plan.panels
    n_rows, n_outputs = min(plan.rows, size[1] - h0), min(plan.columns, size[2] - w0)

    # The corner of x that the block meets, and its size. (A tile that hangs over reads further.)
    i, j = t * stride[0] - before[0], h0 * stride[1] - before[1]
    k = w0 * stride[2] - before[2]
    rows = (n_rows - 1) * stride[1] + (Q - 1) * dilation[1] + 1
    columns = (n_outputs - 1) * stride[2] + (R - 1) * dilation[2] + 1
    over = (TILES[plan.tile][0] * stride[2] + 1) * C_in
    p0, p1 = _taps_inside(i, P, dilation[0], T)

    base = (((n * T + i) * H + j) * W + k) * C_in
    tap_steps = (dilation[0] * H * W * C_in, dilation[1] * W * C_in, dilation[2] * C_in)
    source = x
    inside = j >= 0 and j + rows <= H and k >= 0 and k + columns <= W
    end = base + (p1 - 1) * tap_steps[0] + ((rows - 1) * W + columns) * C_in
    row_step = W * C_in
    if not inside or end + over > x.size:
        row_step = columns * C_in
        source = np.empty(P * rows * row_step + over, x.dtype)
        copy_rows(x, x_shape, (n, i, j, k), (p0, p1), dilation[0], rows, columns, source)
        base = 0
        tap_steps = (rows * row_step, dilation[1] * row_step, dilation[2] * C_in)

    run = C if plan.runs == R else R * C
    edge = np.empty(TILES[plan.tile][0] * width, x.dtype)  # for a tile that hangs over
    x_step, y_step = stride[2] * C_in, step[2] * y_shape[4]
    for g in range(groups):
        for panel in range(panel0, min(panel0 + plan.panels, n_panels)):
            n_columns = min(width, outputs - panel * width)
            for h in range(h0, h0 + n_rows):
                q0, q1 = _taps_inside(h * stride[1] - before[1], Q, dilation[1], H)
                at = (n * y_shape[1] + first[0] + t * step[0]) * y_shape[2]
                at = (at + first[1] + h * step[1]) * y_shape[3] + first[2] + w0 * step[2]
                args = (
                    source, base + (h - h0) * stride[1] * row_step + g * C, x_step,
                    (p0, p1, q0, q1, Q), tap_steps, plan.runs, run, panels[g, panel],
                    bias[g, panel], y, at * y_shape[4] + g * outputs + panel * width, y_step,
                    n_outputs, n_columns, edge,
                )  # fmt: skip
                if plan.tile == 0:
                    _tall(*args)
                elif plan.tile == 1:
                    _short(*args)
                else:
                    _narrow(*args)


@kernel
def _fill_panels(w, shape, start, steps, panels):
    """Copy the weights, and zeros where a panel reaches beyond the last output channel."""
    P, Q, R, C, groups, outputs = shape
    width = panels.shape[3]
    L = lanes(panels)
    numbers = panels.reshape(-1)
    to = 0
    for g in range(groups):
        for first in range(0, outputs, width):
            n_columns = min(width, outputs - first)
            for term in range(P * Q * R * C):
                p, q, r, c = term // (Q * R * C), term // (R * C) % Q, term // C % R, term % C
                at = start + p * steps[0] + q * steps[1] + r * steps[2] + c * steps[3]
                at += g * steps[4] + first * steps[5]
                if n_columns == width and steps[5] == 1:
                    for o in range(0, width, L):
                        store(load(w, at + o, 0, 1, 1), numbers, to + o, 0)
                else:
                    clear(numbers, to, width)
                    for o in range(n_columns):
                        numbers[to + o] = w[at + o * steps[5]]
                to += width


@kernel
def _convolve(
    thread, threads, x, x_shape, panels, bias, stride, before, dilation, kernel_size, size, first,
    step, plan, y, y_shape,
):  # fmt: skip
    tasks = x_shape[0] * size[0] * -(-size[1] // plan.rows) * -(-size[2] // plan.columns)
    tasks *= -(-panels.shape[1] // plan.panels)
    for task in range(thread, tasks, threads):
        _convolve_block(
            x, x_shape, panels, bias, stride, before, dilation, kernel_size, size, first, step,
            plan, y, y_shape, task,
        )  # fmt: skip


# ---- what is settled before it runs -----------------------------------------------------


def _ceil(a, b):
    return -(-a // b)


def choose_tile(W_out, outputs, terms, lanes):
    """The index in TILES of the one that takes the least time for this size, as estimated.

    Tiles are computed whole, so what hangs over the edge is wasted; and to begin and to end a
    tile takes as long as some 40 multiplications, much when there are few terms to sum.
    """

    def cost(tile):
        rows, vectors, price = tile
        tiles = _ceil(W_out, rows) * _ceil(outputs, vectors * lanes)
        return tiles * (rows * vectors * price * terms + 40)

    return min(range(len(TILES)), key=lambda i: cost(TILES[i]))


def _bias_panels(b, groups, outputs, width, dtype):
    bias = np.zeros((groups, _ceil(outputs, width) * width), dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return bias.reshape(groups, -1, width)


def _make_plan(N, w_shape, tile, size, stride, dilation, width, itemsize):
    P, Q, R, C, groups, outputs = w_shape
    T, H, W = size
    rows = TILES[tile][0]
    tiles = _ceil(W, rows)
    columns = rows * _ceil(tiles, _ceil(tiles, 9))  # at most 9 tiles, in blocks of one size
    n_blocks = N * T * _ceil(W, columns)
    n_panels = _ceil(outputs, width)
    panels = n_panels if groups > 1 else PANEL_BYTES // (P * Q * R * C * width * itemsize)
    panels = max(1, min(n_panels, panels))
    n_blocks *= _ceil(n_panels, panels)
    inputs = (columns - 1) * stride[2] + (R - 1) * dilation[2] + 1
    row_bytes = P * inputs * groups * C * itemsize
    fitting = (BLOCK_BYTES // row_bytes - (Q - 1) * dilation[1] - 1) // stride[1] + 1
    for_all = _ceil(H, _ceil(FEWEST_TASKS, n_blocks))
    rows = max(1, min(H, fitting, for_all))
    runs = 1 if dilation[2] == groups == 1 else R
    return Plan(tile, _ceil(H, _ceil(H, rows)), columns, panels, runs)


def convolve(x, w, b, stride, before, dilation, y, first=(0, 0, 0), step=(1, 1, 1)):
    """y(o·step + first) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b, written into y.

    x (N, T, H, W, groups · C), w (P, Q, R, C, groups, outputs) with any strides, b (groups ·
    outputs,) or None, y (N, T_y, H_y, W_y, groups · outputs). A tap that falls outside x meets a
    zero.
    """
    *K, C, groups, outputs = w.shape
    size = tuple(len(range(f, n, s)) for f, n, s in zip(first, y.shape[1:4], step, strict=True))
    if 0 in size or 0 in y.shape:
        return
    L = VECTOR_BYTES // x.itemsize
    tile = choose_tile(size[2], outputs, math.prod(K) * C, L)
    width = TILES[tile][1] * L
    plan = _make_plan(len(x), w.shape, tile, size, stride, dilation, width, x.itemsize)
    panels = aligned_empty((groups, _ceil(outputs, width), math.prod(K) * C, width), x.dtype)
    bias = _bias_panels(b, groups, outputs, width, x.dtype)
    numbers, start, steps = flat_view(w)
    _fill_panels(numbers, w.shape, start, steps, panels)
    threads.run(
        _convolve, x.reshape(-1), x.shape, panels, bias, tuple(stride), tuple(before),
        tuple(dilation), tuple(K), size, tuple(first), tuple(step), plan, y.reshape(-1), y.shape,
    )  # fmt: skip
