"""The weight gradient on register tiles.

    dw(p) = Σ_o x(o·stride + p·dilation − before)ᵀ @ dy(o)

Again a long sum of outer products, now over all places o: a tile holds the sums of some input
channels (its rows) times some output channels (its columns), for one tap. The channels of x lie
side by side already. So do neighbouring taps along the width, if there is no dilation: a tile's
rows then run over (tap along the width, channel), which fills tiles even with 3 channels. Such
a run of rows of dw is called a *strip* here.

A task goes through its share of all places, block by block. It copies the block of dy, and of x
where it meets the padding, into scratch arrays that fit into the cache, and adds to sums of its
own:

        sums [share] [panel of output channels] [strip, row of the strip] [column]

In the end the shares are added in order. How many there are depends on the problem and not on
the number of threads, so neither does any bit of the result.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_zeros
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.direct import copy_rows
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store
from nn.kernels.turns import await_finished, finish, take
from nn.kernels.window import taps_inside

BLOCK_BYTES = 256 * 1024  # of x, for one block
BLOCK_PLACES = 256  # of which dy, one panel wide, should fit into the first-level cache
SUMS_BYTES = 512 * 1024  # of the panels that one task goes through with each block
TASKS = 8  # shares × panels, at least

# The tiles there are: rows and vectors. The low one divides evenly the commonest strip that is
# short, the 9 rows of a 3×3 kernel on 3 channels.
LOW = math.ceil(9 / math.ceil(9 / TALL))
TILES = ((TALL, 2), (LOW, 2), (TALL, 1))


# ---- the compiled part ------------------------------------------------------------------


def _make_tile_kernel(rows, vectors):
    @kernel
    def add_tiles(x, base, steps, offsets, strips, strip_rows, dy, b0, size, sums, at):
        """Add all places of one block to the sums of some strips, for one panel.

        steps: from clip to clip, row to row and place to place in x. dy has the columns of the
        panel alone, from b0 on, place after place.
        """
        apart()
        width = vectors * lanes(dy)
        padded_rows = -(-strip_rows // rows) * rows
        for strip in range(strips[0], strips[1]):
            for m in range(0, strip_rows, rows):
                to = at + (strip * padded_rows + m) * width
                tile = load(sums, to, width, rows, vectors)
                b = b0
                for n in range(size[0]):
                    for h in range(size[1]):
                        a = base + offsets[strip] + m + n * steps[0] + h * steps[1]
                        for _ in range(size[2]):
                            tile = add_outer(tile, x, a, 1, dy, b)
                            a += steps[2]
                            b += width
                store(tile, sums, to, width)

    return add_tiles


_add_tall = _make_tile_kernel(TALL, 2)
_add_low = _make_tile_kernel(LOW, 2)
_add_narrow = _make_tile_kernel(TALL, 1)


@kernel
def _pack_dy(dy, shape, corner, size, channel, panels, width, packed):
    """Copy some panels of dy's columns from `channel` on, each by itself, place after place.

    What is taken beyond the last channel is never used.
    """
    N, T, H, W, C = shape
    n0, t, h0, w0 = corner
    panel_step = size[0] * size[1] * size[2] * width
    to = 0
    for n in range(n0, n0 + size[0]):
        for h in range(h0, h0 + size[1]):
            source = (((n * T + t) * H + h) * W + w0) * C + channel
            for _ in range(size[2]):
                for panel in range(panels):
                    at = source + panel * width
                    if at + width <= dy.size:
                        for c in range(0, width, lanes(dy)):
                            store(load(dy, at + c, 0, 1, 1), packed, to + panel * panel_step + c, 0)
                    else:
                        copy(packed, to + panel * panel_step, dy, at, max(0, dy.size - at))
                source += C
                to += width


@kernel
def _add_share(
    dy, dy_shape, x, x_shape, kernel_size, stride, before, dilation, groups, block, strip_rows,
    runs, choice, share, n_shares, panels, sums,
):  # fmt: skip
    """Add one share of all places to its sums, for the panels from the first to the second."""
    N, T_out, H_out, W_out, C_out = dy_shape
    _, T, H, W, C_in = x_shape
    P, Q, R = kernel_size
    n_panels, width = sums.shape[1] // groups, sums.shape[3]
    first = panels[0]
    numbers, panel_size = sums.reshape(-1), sums.shape[2] * width
    most = block[0] * block[1] * block[2] * min(n_panels, panels[1] - panels[0]) * width
    packed_dy = aligned(np.empty(most + ALIGNMENT, x.dtype))
    offsets = np.empty(P * Q * runs, np.int64)  # of the strips, in x or its copy
    h_blocks, w_blocks = -(-H_out // block[1]), -(-W_out // block[2])
    blocks = -(-N // block[0]) * T_out * h_blocks * w_blocks
    for number in range(share * blocks // n_shares, (share + 1) * blocks // n_shares):
        w0 = number % w_blocks * block[2]
        h0 = number // w_blocks % h_blocks * block[1]
        t = number // (w_blocks * h_blocks) % T_out
        n = number // (w_blocks * h_blocks * T_out) * block[0]
        size = (min(block[0], N - n), min(block[1], H_out - h0), min(block[2], W_out - w0))

        # The part of x that the block meets: where it stands, or a copy with the padding.
        i, j = t * stride[0] - before[0], h0 * stride[1] - before[1]
        k = w0 * stride[2] - before[2]
        rows = (size[1] - 1) * stride[1] + (Q - 1) * dilation[1] + 1
        columns = (size[2] - 1) * stride[2] + (R - 1) * dilation[2] + 1
        p0, p1 = taps_inside(i, P, dilation[0], T)
        if p0 >= p1:
            continue  # nothing but padding
        base, source = (((n * T + i) * H + j) * W + k) * C_in, x
        clip_step, row_step, tap_step = T * H * W * C_in, W * C_in, dilation[0] * H * W * C_in
        inside = j >= 0 and j + rows <= H and k >= 0 and k + columns <= W
        end = base + (size[0] - 1) * clip_step + (p1 - 1) * tap_step
        if not inside or end + ((rows - 1) * W + columns) * C_in + TALL > x.size:
            row_step = columns * C_in
            tap_step = rows * row_step
            clip_step, base = P * tap_step, 0
            source = np.empty(size[0] * clip_step + TALL, x.dtype)
            clear(source, source.size - TALL, TALL)  # the last tile of a strip reads beyond it
            for clip in range(size[0]):
                copy_rows(
                    x, x_shape, (n + clip, i, j, k), (p0, p1), dilation[0], rows, columns,
                    source[clip * clip_step :],
                )  # fmt: skip
        steps = (clip_step, stride[1] * row_step, stride[2] * C_in)
        strip = 0
        for p in range(P):
            for q in range(Q):
                for r in range(runs):
                    offsets[strip] = p * tap_step + q * dilation[1] * row_step
                    offsets[strip] += r * dilation[2] * C_in
                    strip += 1

        places = size[0] * size[1] * size[2]
        for panel in range(panels[0], panels[1]):
            group, number = panel // n_panels, panel % n_panels
            if number == 0 or panel == panels[0]:  # the panels of a group lie side by side
                first, count = panel, min(n_panels - number, panels[1] - panel)
                channel = group * (C_out // groups) + number * width
                _pack_dy(
                    dy, dy_shape, (n, t, h0, w0), size, channel, count, width, packed_dy
                )  # fmt: skip
            args = (
                source, base + group * strip_rows, steps, offsets, (p0 * Q * runs, p1 * Q * runs),
                strip_rows, packed_dy, (panel - first) * places * width, size, numbers,
                (share * sums.shape[1] + panel) * panel_size,
            )  # fmt: skip
            if choice == 0:
                _add_tall(*args)
            elif choice == 1:
                _add_low(*args)
            else:
                _add_narrow(*args)


@kernel(inline=True)
def _add(out, values):
    for c in range(len(out)):
        out[c] += values[c]


@kernel
def _add_up(sums, strip_rows, padded_rows, groups, row, dw):
    """One row of dw: the sum of all shares, from all panels. It is zero at first."""
    n_shares, n_panels, width = sums.shape[0], sums.shape[1] // groups, sums.shape[3]
    outputs = len(dw) // groups
    at = row // strip_rows * padded_rows + row % strip_rows
    for panel in range(sums.shape[1]):
        first = panel % n_panels * width
        n_columns = min(width, outputs - first)
        first += panel // n_panels * outputs
        for share in range(n_shares):
            _add(dw[first : first + n_columns], sums[share, panel, at, :n_columns])


@kernel
def _backward_weight(
    turns, dy, dy_shape, x, x_shape, kernel_size, stride, before, dilation, groups,
    block, strip_rows, padded_rows, runs, choice, at_once, sums, dw,
):  # fmt: skip
    n_shares, n_panels = sums.shape[:2]
    splits = -(-n_panels // at_once)
    tasks = n_shares * splits
    task = take(turns)
    while task < tasks:
        share, panel = task // splits, task % splits * at_once
        _add_share(
            dy, dy_shape, x, x_shape, kernel_size, stride, before, dilation, groups, block,
            strip_rows, runs, choice, share, n_shares, (panel, min(panel + at_once, n_panels)),
            sums,
        )  # fmt: skip
        finish(turns)
        task = take(turns)
    await_finished(turns, tasks)
    while task < tasks + len(dw):
        _add_up(sums, strip_rows, padded_rows, groups, task - tasks, dw[task - tasks])
        task = take(turns)


# ---- what is settled before it runs -----------------------------------------------------


def _choose_block(N, size, kernel_size, stride, dilation, C, itemsize):
    """How many clips, rows and columns of places one block has."""
    T, H, W = size
    P, Q, R = kernel_size
    pixel = P * C * itemsize
    least_rows = (Q - 1) * dilation[1] + 1
    fitting = (BLOCK_BYTES // (pixel * least_rows) - (R - 1) * dilation[2] - 1) // stride[2] + 1
    w = _evenly(W, min(BLOCK_PLACES, fitting))
    columns = (w - 1) * stride[2] + (R - 1) * dilation[2] + 1
    fitting = (BLOCK_BYTES // (pixel * columns) - least_rows) // stride[1] + 1
    h = _evenly(H, min(BLOCK_PLACES // w, fitting))
    rows = (h - 1) * stride[1] + least_rows
    fitting = BLOCK_BYTES // (pixel * columns * rows)
    n = _evenly(N, min(BLOCK_PLACES // (h * w), fitting)) if (h, w) == (H, W) else 1
    return n, h, w


def _choose_tile(strip_rows, outputs, lanes):
    """Which of TILES, and the rows of a strip and the columns of a panel in whole tiles of it."""
    if outputs <= lanes:
        return 2, math.ceil(strip_rows / TALL) * TALL, lanes
    tall, low = (math.ceil(strip_rows / rows) * rows for rows in (TALL, LOW))
    return (0, tall, 2 * lanes) if tall <= low else (1, low, 2 * lanes)


def _evenly(total, most):
    """The size of equal parts of `total`, none larger than `most` (or than one)."""
    return math.ceil(total / math.ceil(total / max(1, min(total, most))))


def backward_weight(dy, x, kernel_size, stride, before, dilation, groups):
    """dw(p) = Σ_o x(o·stride + p·dilation − before)ᵀ @ dy(o), over all places o and clips.

    dy (N, T_out, H_out, W_out, C_out), x (N, T, H, W, C_in) → dw (P, Q, R, C_in // groups, C_out).
    """
    N, *size, C_out = dy.shape
    C_in = x.shape[-1]
    C, outputs = C_in // groups, C_out // groups
    P, Q, R = kernel_size
    dw = np.zeros((P * Q * R * C, C_out), x.dtype)
    if dy.size == 0:
        return dw.reshape(*kernel_size, C, C_out)

    block = _choose_block(N, size, kernel_size, stride, dilation, C_in, x.itemsize)

    runs, strip_rows = (1, R * C) if groups == dilation[2] == 1 else (R, C)
    choice, padded_rows, width = _choose_tile(strip_rows, outputs, VECTOR_BYTES // x.itemsize)
    panels = math.ceil(outputs / width)

    # All panels use the same block of x, and take turns on it as long as their sums fit into the
    # cache beside it. (With several groups they use parts of it, and always take turns.)
    panel_bytes = P * Q * runs * padded_rows * width * x.itemsize
    at_once = groups * panels
    if groups == 1:
        at_once = max(1, min(panels, SUMS_BYTES // panel_bytes))
    splits = math.ceil(groups * panels / at_once)
    blocks = size[0] * math.prod(
        math.ceil(n / part) for n, part in zip((N, *size[1:]), block, strict=True)
    )
    shares = min(blocks, math.ceil(TASKS / splits))
    sums = aligned_zeros((shares, groups * panels, P * Q * runs * padded_rows, width), x.dtype)
    threads.run(
        _backward_weight, dy.reshape(-1), dy.shape, x.reshape(-1), x.shape, tuple(kernel_size),
        tuple(stride), tuple(before), tuple(dilation), groups, block, strip_rows,
        padded_rows, runs, choice, at_once, sums, dw,
    )  # fmt: skip
    return dw.reshape(*kernel_size, C, C_out)
