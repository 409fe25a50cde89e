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

import functools
import math
from typing import NamedTuple

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty, flat_view
from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, prefetch, store
from nn.kernels.turns import await_finished, finish, take
from nn.kernels.window import taps_inside

BLOCK_BYTES = 192 * 1024  # of inputs for one task: less than the second-level cache
PANEL_BYTES = 1024 * 1024  # of weights for one task
FEWEST_TASKS = 16  # so that the threads finish together
MOST_TURNS = 64  # in which they are handed out

# What a multiplication costs in other tiles than the tall one, measured. A tile with few sums waits
# for its operands: of two vectors, short ones with 8 rows hardly do, those with 4 rows do.
SHORT_PRICE = 1.02 if SHORT >= 8 else 1.15
NARROW = 2 * SHORT  # rows of a tile with one vector only, for few output channels
NARROW_PRICE = 1.15
MOST_ROWS = max(TALL, NARROW)
TILE_PRICE = 40  # multiplications in the time that it takes to begin and to end a tile


class Plan(NamedTuple):
    """How the work is divided."""

    vectors: int  # in the width of a tile
    rows: int  # outputs of one block, along the height
    columns: int  # and along the width
    tall: int  # of these, the ones in tall tiles; the others are in short ones
    tall_last: int  # the same for the last block along the width
    panels: int  # of one task
    runs: int  # R, or 1 where the taps along the width are one run with the channels


# ---- the compiled part ------------------------------------------------------------------


def _make_tile_kernel(rows, vectors):
    @kernel
    def convolve_rows(
        x, base, x_steps, tap_steps, taps_in_time, height, panels, panel, runs, run, bias, start,
        y, at, y_steps, size, n_columns, edge, later, ahead, advance,
    ):  # fmt: skip
        """Rows of outputs, tile after tile, for one panel.

        x_steps and y_steps: from one output to the next along the height, and along the width.
        height: the row of x under the first tap of the first row of outputs, the rows from there
        to the next, the taps, their dilation, and the rows of x. Taps above the first row of x
        and below the last are left out.
        later[ahead:] is what the next block will read. It is fetched into the second-level cache
        meanwhile, a little with every product: fetched at once, it would hold up all other loads.
        """
        apart()
        width = vectors * lanes(y)
        first, stride, Q, dilation, H = height
        for h in range(size[0]):
            q0, q1 = taps_inside(first + h * stride, Q, dilation, H)
            a_row, y_row = base + h * x_steps[0], at + h * y_steps[0]
            for w in range(0, size[1], rows):
                tile = load(bias, start, 0, rows, vectors)  # every row starts as the bias
                for p in range(taps_in_time[0], taps_in_time[1]):
                    b = panel + (p * Q + q0) * runs * run * width
                    for q in range(q0, q1):
                        for r in range(runs):
                            a = a_row + p * tap_steps[0] + q * tap_steps[1] + r * tap_steps[2]
                            for i in range(a, a + run):
                                prefetch(later, ahead)
                                ahead += advance
                                tile = add_outer(tile, x, i, x_steps[1], panels, b)
                                b += width
                n_rows = min(rows, size[1] - w)
                if n_rows == rows and n_columns == width:
                    store(tile, y, y_row, y_steps[1])
                else:  # this tile hangs over
                    store(tile, edge, 0, width)
                    for r in range(n_rows):
                        copy(y, y_row + r * y_steps[1], edge, r * width, n_columns)
                a_row += rows * x_steps[1]
                y_row += rows * y_steps[1]

    return convolve_rows


_tall = _make_tile_kernel(TALL, 2)
_short = _make_tile_kernel(SHORT, 2)
_narrow = _make_tile_kernel(NARROW, 1)


@kernel
def multiply_rows(x, base, terms, panels, panel, nothing, y, at, y_step, n_rows, edge):
    """y = x @ panel: the convolution with one tap. x has `terms` columns."""
    _tall(
        x, base, (0, terms), (0, 0, 0), (0, 1), (0, 1, 1, 1, 1), panels, panel, 1, terms, nothing,
        0, y, at, (0, y_step), (1, n_rows), len(nothing), edge, x, 0, 0,
    )  # fmt: skip


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
    over = (MOST_ROWS * stride[2] + 1) * C_in
    p0, p1 = taps_inside(i, P, dilation[0], T)

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

    # While the first panel is computed, the inputs of the next block are fetched: below this one,
    # or beside it. With each product so many numbers that as many come as this block has.
    tiles = n_rows * -(-n_outputs // TALL)
    ahead, inputs = (((n * T + i) * H + j + rows) * W + k) * C_in, n_rows * stride[1] * W * C_in
    if w_blocks > 1:
        ahead += (columns - rows * W) * C_in
        inputs = n_outputs * stride[2] * C_in
    advance = -(-inputs // (tiles * terms))

    run = R * C // plan.runs
    edge = np.empty(MOST_ROWS * width, x.dtype)
    numbers, start = panels.reshape(-1), bias.reshape(-1)
    at = (n * y_shape[1] + first[0] + t * step[0]) * y_shape[2] + first[1] + h0 * step[1]
    at = (at * y_shape[3] + first[2] + w0 * step[2]) * y_shape[4]
    x_steps = (stride[1] * row_step, stride[2] * C_in)
    y_steps = (step[1] * y_shape[3] * y_shape[4], step[2] * y_shape[4])
    height = (j, stride[1], Q, dilation[1], H)
    tall = plan.tall if n_outputs == plan.columns else plan.tall_last
    for g in range(groups):
        for panel in range(panel0, min(panel0 + plan.panels, n_panels)):
            number, a, b = g * n_panels + panel, base + g * C, at + g * outputs + panel * width
            weights = (numbers, number * terms * width, plan.runs, run, start, number * width)
            rest = (min(width, outputs - panel * width), edge, x, ahead, advance)
            if plan.vectors == 1:
                _narrow(
                    source, a, x_steps, tap_steps, (p0, p1), height, *weights,
                    y, b, y_steps, (n_rows, n_outputs), *rest,
                )  # fmt: skip
            else:
                _tall(
                    source, a, x_steps, tap_steps, (p0, p1), height, *weights,
                    y, b, y_steps, (n_rows, tall), *rest,
                )  # fmt: skip
                _short(
                    source, a + tall * x_steps[1], x_steps, tap_steps, (p0, p1), height, *weights,
                    y, b + tall * y_steps[1], y_steps, (n_rows, n_outputs - tall), *rest,
                )  # fmt: skip
            advance = 0


@kernel
def _fill_panel(w, w_shape, start, steps, panel, panels):
    """Copy the weights, and zeros where the panel reaches beyond the last output channel."""
    P, Q, R, C, _, outputs = w_shape
    _, n_panels, terms, width = panels.shape
    L = lanes(panels)
    numbers = panels.reshape(-1)
    g, first = panel // n_panels, panel % n_panels * width
    n_columns = min(width, outputs - first)
    to = panel * terms * width
    for term in range(terms):
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
    turns, w, w_layout, x, x_shape, panels, bias, stride, before, dilation, size, first, step,
    plan, y, y_shape,
):  # fmt: skip
    start, steps, w_shape = w_layout
    n_panels = panels.shape[0] * panels.shape[1]
    task = take(turns)
    while task < n_panels:
        _fill_panel(w, w_shape, start, steps, task, panels)
        finish(turns)
        task = take(turns)
    await_finished(turns, n_panels)
    blocks = x_shape[0] * size[0] * -(-size[1] // plan.rows) * -(-size[2] // plan.columns)
    blocks *= -(-panels.shape[1] // plan.panels)
    # Blocks are taken several at a time, neighbours, since each fetches what the next one reads.
    at_once = max(1, blocks // MOST_TURNS)
    while (task - n_panels) * at_once < blocks:
        start = (task - n_panels) * at_once
        for block in range(start, min(start + at_once, blocks)):
            _convolve_block(
                x, x_shape, panels, bias, stride, before, dilation, w_shape[:3], size, first,
                step, plan, y, y_shape, block,
            )  # fmt: skip
        task = take(turns)


# ---- what is settled before it runs -----------------------------------------------------


def _ceil(a, b):
    return -(-a // b)


def tall_share(n):
    """Of n neighbouring outputs, how many belong in tall tiles, if short ones take the rest.

    Tiles are computed whole: what hangs over the edge is wasted. → (outputs, the cost in rows)
    """

    def cost(tall):
        rest = _ceil(max(0, n - tall * TALL), SHORT) * SHORT
        return tall * TALL + rest * SHORT_PRICE

    tall = min(range(_ceil(n, TALL), -1, -1), key=cost)
    return min(n, tall * TALL), cost(tall)


@functools.lru_cache
def choose_vectors(W_out, outputs, terms, lanes):
    """Two vectors in a tile or one: which takes less time for this size, as estimated."""
    wide = tall_share(W_out)[1] * 2 * terms + _ceil(W_out, TALL) * TILE_PRICE
    tiles = _ceil(W_out, NARROW)
    narrow = tiles * (NARROW * NARROW_PRICE * terms + TILE_PRICE)
    return 2 if _ceil(outputs, 2 * lanes) * wide <= _ceil(outputs, lanes) * narrow else 1


def _bias_panels(b, groups, outputs, width, dtype):
    if b is not None and outputs % width == 0:
        return b.reshape(groups, -1, width)
    bias = np.zeros((groups, _ceil(outputs, width) * width), dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return bias.reshape(groups, -1, width)


@functools.lru_cache
def _make_plan(N, w_shape, vectors, size, stride, dilation, width, itemsize):
    P, Q, R, C, groups, outputs = w_shape
    T, H, W = size
    rows = TALL if vectors == 2 else NARROW
    tiles = _ceil(W, rows)
    columns = min(W, rows * _ceil(tiles, _ceil(tiles, 9)))  # at most 9 tiles, of blocks alike
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
    tall, tall_last = tall_share(columns)[0], tall_share(W % columns)[0]
    return Plan(vectors, _ceil(H, _ceil(H, rows)), columns, tall, tall_last, panels, runs)


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
    vectors = choose_vectors(size[2], outputs, math.prod(K) * C, L)
    width = vectors * L
    stride, dilation = tuple(stride), tuple(dilation)
    plan = _make_plan(len(x), w.shape, vectors, size, stride, dilation, width, x.itemsize)
    panels = aligned_empty((groups, _ceil(outputs, width), math.prod(K) * C, width), x.dtype)
    bias = _bias_panels(b, groups, outputs, width, x.dtype)
    numbers, start, steps = flat_view(w)
    threads.run(
        _convolve, numbers, (start, steps, w.shape), x.reshape(-1), x.shape, panels, bias, stride,
        tuple(before), dilation, size, tuple(first), tuple(step), plan, y.reshape(-1), y.shape,
    )  # fmt: skip
