"""The weight gradient on register tiles.

    dw(p) = Σ_o x(o·stride + p·dilation − before)ᵀ @ dy(o)

Again a long sum of outer products, now over all places o: a tile holds the sums of some input
channels (its rows) times some output channels (its columns), for one tap. The channels of x lie
side by side already. So do neighbouring taps along the width, if there is no dilation: a tile's
rows then run over (tap along the width, channel), which fills tiles even with 3 channels. Such
a run of rows of dw is called a *strip* here.

A task goes through its share of all places, block by block. It copies the block of x, with the
zeros of the padding, and of dy into scratch arrays that fit into the cache, and adds to sums of
its own:

        sums [share] [panel of output channels] [strip, row of the strip] [column]

In the end the shares are added in order. How many there are depends on the problem and not on
the number of threads, so neither does any bit of the result.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_zeros
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store

BLOCK_BYTES = 256 * 1024  # of x, for one block
BLOCK_PLACES = 256  # of which dy, one panel wide, should fit into the first-level cache
FEWEST_TERMS = 4  # taps times panels that use one copy of a block of x
TASKS = 16  # shares × panels, at least

# The tiles there are: rows and vectors. The low one divides evenly the commonest strip that is
# short, the 9 rows of a 3×3 kernel on 3 channels.
LOW = math.ceil(9 / math.ceil(9 / TALL))
TILES = ((TALL, 2), (LOW, 2), (TALL, 1))


# ---- the compiled part ------------------------------------------------------------------


def _make_tile_kernel(rows, vectors):
    @kernel
    def add_tile(packed, base, steps, dy, size, width, sums, at):
        """Add all places of one block to one tile of the sums."""
        tile = load(sums, at, width, rows, vectors)
        b = 0
        for n in range(size[0]):
            for h in range(size[1]):
                a = base + n * steps[0] + h * steps[1]
                for _ in range(size[2]):
                    tile = add_outer(tile, packed, a, 1, dy, b)
                    a += steps[2]
                    b += width
        store(tile, sums, at, width)

    return add_tile


_add_tall = _make_tile_kernel(TALL, 2)
_add_low = _make_tile_kernel(LOW, 2)
_add_narrow = _make_tile_kernel(TALL, 1)


@kernel
def _add_tile(choice, *args):
    """Add a block to one tile, by the chosen one of TILES."""
    apart()
    if choice == 0:
        _add_tall(*args)
    elif choice == 1:
        _add_low(*args)
    else:
        _add_narrow(*args)


@kernel
def _pack_x(x, corner, clips, layout, dilation, packed):
    """Copy the rows of x that one block of places meets, and zeros where there is no x."""
    N, T, H, W, C = x.shape
    n0, i0, j0, k0 = corner
    P, rows, columns = layout
    left, right = max(0, -k0), min(columns, W - k0)  # columns of the block inside x
    to = 0
    for n in range(n0, n0 + clips):
        for p in range(P):
            i = i0 + p * dilation[0]
            for row in range(rows):
                j = j0 + row
                if 0 <= i < T and 0 <= j < H and left < right:
                    clear(packed, to, left * C)
                    source = (((n * T + i) * H + j) * W + k0 + left) * C
                    copy(packed, to + left * C, x, source, (right - left) * C)
                    clear(packed, to + right * C, (columns - right) * C)
                else:
                    clear(packed, to, columns * C)
                to += columns * C


@kernel
def _pack_dy(dy, corner, size, channel, width, packed):
    """Copy the columns of one panel. What is taken beyond its last channel is never used."""
    N, T, H, W, C = dy.shape
    n0, t, h0, w0 = corner
    to = 0
    for n in range(n0, n0 + size[0]):
        for h in range(h0, h0 + size[1]):
            source = (((n * T + t) * H + h) * W + w0) * C + channel
            for _ in range(size[2]):
                if source + width <= dy.size:
                    for c in range(0, width, lanes(dy)):
                        store(load(dy, source + c, 0, 1, 1), packed, to + c, 0)
                else:
                    copy(packed, to, dy, source, dy.size - source)
                source += C
                to += width


@kernel
def _add_share(
    dy, x, kernel_size, stride, before, dilation, groups, block, offsets, strip_rows, padded_rows,
    choice, share, n_shares, panels, sums,
):  # fmt: skip
    """Add one share of all places to its sums, for the panels from the first to the second."""
    N, T_out, H_out, W_out, C_out = dy.shape
    C_in = x.shape[4]
    P, Q, R = kernel_size
    n_panels, width = sums.shape[1] // groups, sums.shape[3]
    rows = (block[1] - 1) * stride[1] + (Q - 1) * dilation[1] + 1
    columns = (block[2] - 1) * stride[2] + (R - 1) * dilation[2] + 1
    steps = (P * rows * columns * C_in, stride[1] * columns * C_in, stride[2] * C_in)
    packed = np.empty(block[0] * steps[0] + TALL, x.dtype)
    clear(packed, packed.size - TALL, TALL)  # the last tile of a strip reads beyond its end
    packed_dy = aligned(np.empty(block[0] * block[1] * block[2] * width + ALIGNMENT, x.dtype))

    h_blocks, w_blocks = -(-H_out // block[1]), -(-W_out // block[2])
    blocks = -(-N // block[0]) * T_out * h_blocks * w_blocks
    for number in range(share * blocks // n_shares, (share + 1) * blocks // n_shares):
        w0 = number % w_blocks * block[2]
        h0 = number // w_blocks % h_blocks * block[1]
        t = number // (w_blocks * h_blocks) % T_out
        n = number // (w_blocks * h_blocks * T_out) * block[0]
        size = (min(block[0], N - n), min(block[1], H_out - h0), min(block[2], W_out - w0))
        i = t * stride[0] - before[0]
        corner = (n, i, h0 * stride[1] - before[1], w0 * stride[2] - before[2])
        _pack_x(x, corner, size[0], (P, rows, columns), dilation, packed)
        for panel in range(panels[0], panels[1]):
            group = panel // n_panels
            channel = group * (C_out // groups) + panel % n_panels * width
            _pack_dy(dy, (n, t, h0, w0), size, channel, width, packed_dy)
            own = sums[share, panel]
            for strip in range(len(offsets)):
                p = strip * P // len(offsets)
                if not 0 <= i + p * dilation[0] < x.shape[1]:
                    continue  # this tap in time meets nothing but padding
                for m in range(0, strip_rows, TILES[choice][0]):
                    base = offsets[strip] + group * strip_rows + m
                    at = (strip * padded_rows + m) * width
                    _add_tile(choice, packed, base, steps, packed_dy, size, width, own, at)


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
    thread, threads, dy, x, kernel_size, stride, before, dilation, groups, block, offsets,
    strip_rows, padded_rows, choice, at_once, sums,
):  # fmt: skip
    n_shares, n_panels = sums.shape[:2]
    splits = -(-n_panels // at_once)
    for task in range(thread, n_shares * splits, threads):
        share, panel = task // splits, task % splits * at_once
        _add_share(
            dy, x, kernel_size, stride, before, dilation, groups, block, offsets, strip_rows,
            padded_rows, choice, share, n_shares, (panel, min(panel + at_once, n_panels)), sums,
        )  # fmt: skip


@kernel
def _add_up_all(thread, threads, sums, strip_rows, padded_rows, groups, dw):
    for row in range(thread, len(dw), threads):
        _add_up(sums, strip_rows, padded_rows, groups, row, dw[row])


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

    # Where each strip begins in the scratch array of x, and how many rows of dw it has.
    p, q, r = np.ogrid[:P, :Q, :R]
    rows = (block[1] - 1) * stride[1] + (Q - 1) * dilation[1] + 1
    columns = (block[2] - 1) * stride[2] + (R - 1) * dilation[2] + 1
    offsets = ((p * rows + q * dilation[1]) * columns + r * dilation[2]) * C_in
    strip_rows = C
    if groups == 1 and dilation[2] == 1:
        offsets, strip_rows = offsets[:, :, 0], R * C
    offsets = offsets.ravel()

    choice, padded_rows, width = _choose_tile(strip_rows, outputs, VECTOR_BYTES // x.itemsize)
    panels = math.ceil(outputs / width)

    # Every panel needs all of x. With enough taps a panel pays for a copy of its own; otherwise,
    # and with several groups, panels take turns on one.
    at_once = max(1, FEWEST_TERMS // (P * Q * R)) if groups == 1 else groups * panels
    splits = math.ceil(groups * panels / at_once)
    blocks = size[0] * math.prod(
        math.ceil(n / part) for n, part in zip((N, *size[1:]), block, strict=True)
    )
    shares = min(blocks, math.ceil(TASKS / splits))
    sums = aligned_zeros((shares, groups * panels, len(offsets) * padded_rows, width), x.dtype)
    threads.run(
        _backward_weight, dy, x, tuple(kernel_size), stride, before, dilation, groups, block,
        offsets, strip_rows, padded_rows, choice, at_once, sums,
    )  # fmt: skip
    threads.run(_add_up_all, sums, strip_rows, padded_rows, groups, dw)
    return dw.reshape(*kernel_size, C, C_out)
