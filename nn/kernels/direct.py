"""Convolution on register tiles: the last rung of the ladder, and the fast one.

    y(o) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b

A tile holds the sums of ROWS neighbouring outputs along the width (its rows) for some output
channels (its columns, a few vectors). For every tap and every input channel it takes one outer
product: the ROWS inputs that meet this tap, times the weights of this tap and channel.

Two things are laid out anew so that the tile reads plain memory:

- The weights, once: for each *panel* of output channels that fills a tile's width, all taps and
  input channels one after the other, in the order in which they are used.
- The inputs, block by block: a task copies what its block of outputs needs into a scratch array
  that fits into the cache. The zeros of the padding are written there, so no tap has to ask
  whether it is inside the input. Neighbouring pixels lie a constant CHUNK apart. With stride 2,
  even and odd columns (its two *phases*) are kept apart, so that the inputs of neighbouring
  outputs are neighbours again.

        packed [chunk of channels] [tap in time] [row] [phase] [column] [channel in its chunk]

The input gradient is a convolution too: of dy, with the weights turned round in space and
transposed in channels. See `backward_input`.
"""

import math

import numba
import numpy as np

from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, clear, copy, load, prefetch, store

CHUNK = 16  # channels that lie side by side in the scratch array
BLOCK_BYTES = 192 * 1024  # of scratch for one task: less than the second-level cache
FEWEST_TASKS = 16  # so that the threads finish together

# The tiles there are: rows, vectors, and what a multiplication costs, measured: a tile with few
# sums waits for its operands.
TILES = ((TALL, 2, 1.0), (SHORT, 2, 1.05), (TALL, 1, 1.2))


# ---- the compiled part ------------------------------------------------------------------


def _make_tile_kernel(rows, vectors):
    @kernel
    def convolve_tile(
        packed, base, offsets, taps, C, chunk_step, panel, bias, y, at, y_step, n_rows, n_columns
    ):
        """One tile of outputs. Only the first n_rows and n_columns of it exist in y."""
        width = panel.shape[1]
        tile = load(bias, 0, 0, rows, vectors)  # every row starts as the bias
        prefetch(tile, y, at, y_step)
        b = taps[0] * C * width
        for tap in range(taps[0], taps[1]):
            a = base + offsets[tap]
            for c in range(0, C, CHUNK):
                for i in range(a, a + min(CHUNK, C - c)):
                    tile = add_outer(tile, packed, i, CHUNK, panel, b)
                    b += width
                a += chunk_step
        if n_rows == rows and n_columns == width:
            store(tile, y, at, y_step)
        else:
            edge = np.empty((rows, width), packed.dtype)
            store(tile, edge, 0, width)
            for r in range(n_rows):
                copy(y, at + r * y_step, edge, r * width, n_columns)

    return convolve_tile


_tall = _make_tile_kernel(TALL, 2)
_short = _make_tile_kernel(SHORT, 2)
_narrow = _make_tile_kernel(TALL, 1)


@kernel
def _pack(x, corner, channels, taps, stride, dilation, layout, chunk_step, packed):
    """Copy the inputs of one block, `corner` the first (n, i, j, k), and zeros around them."""
    N, T, H, W, C_in = x.shape
    n, i0, j0, k0 = corner
    rows, phases, columns = layout
    for p in range(taps[0], taps[1]):
        i = i0 + p * dilation[0]
        for row in range(rows):
            j = j0 + row
            at = (p * rows + row) * phases * columns * CHUNK
            for phase in range(phases):
                for column in range(columns):
                    k = k0 + phase + column * stride[2]
                    inside = 0 <= j < H and 0 <= k < W
                    source = (((n * T + i) * H + j) * W + k) * C_in + channels[0]
                    to = at
                    for _ in range(channels[0], channels[1], CHUNK):
                        # A whole chunk is one vector. What it takes beyond the last channel is
                        # never used, but it must not lie beyond the array.
                        if not inside:
                            clear(packed, to, CHUNK)
                        elif source + CHUNK <= x.size:
                            copy(packed, to, x, source, CHUNK)
                        else:
                            copy(packed, to, x, source, x.size - source)
                        source += CHUNK
                        to += chunk_step
                    at += CHUNK


@kernel
def _convolve_block(
    x, panels, bias, offsets, kernel_size, stride, before, dilation, size, block, layout, choice,
    task, first, step, y,
):  # fmt: skip
    N, T, H, W, C_in = x.shape
    groups, n_panels, _, width = panels.shape
    C, outputs = C_in // groups, y.shape[4] // groups
    P, Q, R = kernel_size

    # Which block of outputs this is, and which of its taps in time fall on frames there are.
    w_blocks, h_blocks = -(-size[2] // block[1]), -(-size[1] // block[0])
    w0, task = task % w_blocks * block[1], task // w_blocks
    h0, task = task % h_blocks * block[0], task // h_blocks
    t, n = task % size[0], task // size[0]
    i = t * stride[0] - before[0]
    p0, p1 = 0, P
    while p0 < P and i + p0 * dilation[0] < 0:
        p0 += 1
    while p1 > p0 and i + (p1 - 1) * dilation[0] >= T:
        p1 -= 1
    corner = (n, i, h0 * stride[1] - before[1], w0 * stride[2] - before[2])

    rows, phases, columns = layout
    row_step = phases * columns * CHUNK
    chunk_step = P * rows * row_step
    packed = np.empty(-(-C // CHUNK) * chunk_step, x.dtype)
    taps = (p0 * Q * R, p1 * Q * R)
    tile_rows = TILES[choice][0]
    y_step = step[2] * y.shape[4]
    for g in range(groups):
        channels = (g * C, (g + 1) * C)
        _pack(x, corner, channels, (p0, p1), stride, dilation, layout, chunk_step, packed)
        for panel in range(n_panels):
            weights, start = panels[g, panel], bias[g, panel]
            n_columns = min(width, outputs - panel * width)
            for h in range(h0, min(h0 + block[0], size[1])):
                row = y[n, first[0] + t * step[0], first[1] + h * step[1]]  # (W_y, C_out)
                for w in range(w0, min(w0 + block[1], size[2]), tile_rows):
                    base = (h - h0) * stride[1] * row_step + (w - w0) * CHUNK
                    at = (first[2] + w * step[2]) * y.shape[4] + g * outputs + panel * width
                    n_rows = min(tile_rows, size[2] - w)
                    if choice == 0:
                        _tall(
                            packed, base, offsets, taps, C, chunk_step,
                            weights, start, row, at, y_step, n_rows, n_columns,
                        )  # fmt: skip
                    elif choice == 1:
                        _short(
                            packed, base, offsets, taps, C, chunk_step,
                            weights, start, row, at, y_step, n_rows, n_columns,
                        )  # fmt: skip
                    else:
                        _narrow(
                            packed, base, offsets, taps, C, chunk_step,
                            weights, start, row, at, y_step, n_rows, n_columns,
                        )  # fmt: skip


@kernel(parallel=True)
def _convolve(
    x, panels, bias, offsets, kernel_size, stride, before, dilation, size, block, layout, choice,
    first, step, y,
):  # fmt: skip
    blocks = -(-size[2] // block[1]) * -(-size[1] // block[0])
    for task in numba.prange(len(x) * size[0] * blocks):
        _convolve_block(
            x, panels, bias, offsets, kernel_size, stride, before, dilation, size, block, layout,
            choice, task, first, step, y,
        )  # fmt: skip


# ---- what is settled before it runs -----------------------------------------------------


def choose_tile(W_out, outputs, lanes):
    """The index in TILES that wastes the least of its rows and columns on this size."""

    def cost(tile):
        rows, vectors, price = tile
        return (
            math.ceil(W_out / rows)
            * rows
            * math.ceil(outputs / (vectors * lanes))
            * (vectors * price)
        )

    return min(range(len(TILES)), key=lambda i: cost(TILES[i]))


def _panels(w, width):
    """Weights (*K, C, groups, outputs) → (groups, panels, taps · C, width), zeros at the end."""
    *K, C, groups, outputs = w.shape
    panels = np.zeros((groups, math.ceil(outputs / width), *K, C, width), w.dtype)
    for i in range(panels.shape[1]):
        part = np.moveaxis(w[..., i * width : (i + 1) * width], -2, 0)  # (groups, *K, C, ≤ width)
        panels[:, i, ..., : part.shape[-1]] = part
    return panels.reshape(groups, -1, math.prod(K) * C, width)


def _bias_panels(b, groups, outputs, width, dtype):
    bias = np.zeros((groups, math.ceil(outputs / width) * width), dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return bias.reshape(groups, -1, width)


def _block_size(size, N, kernel_size, stride, dilation, C, rows, itemsize):
    """How many rows and columns of outputs one task computes."""
    T, H, W = size
    P, Q, R = kernel_size
    tiles = math.ceil(W / rows)
    w_block = rows * math.ceil(tiles / math.ceil(tiles / 9))  # about 9 tiles at most, all equal
    w_blocks = math.ceil(W / w_block)
    columns = (w_block - 1) * stride[2] + (R - 1) * dilation[2] + 1
    row_bytes = P * columns * math.ceil(C / CHUNK) * CHUNK * itemsize
    fitting = (BLOCK_BYTES // row_bytes - (Q - 1) * dilation[1] - 1) // stride[1] + 1
    for_all = math.ceil(H / math.ceil(FEWEST_TASKS / (N * T * w_blocks)))
    return max(1, min(H, fitting, for_all)), w_block


def convolve(x, w, b, stride, before, dilation, y, first=(0, 0, 0), step=(1, 1, 1)):
    """y(o·step + first) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b, written into y.

    x (N, T, H, W, groups · C), w (P, Q, R, C, groups, outputs), b (groups · outputs,) or None,
    y (N, T_y, H_y, W_y, groups · outputs). Where a tap falls outside x it meets a zero.
    """
    *K, C, groups, outputs = w.shape
    size = [len(range(f, n, s)) for f, n, s in zip(first, y.shape[1:4], step, strict=True)]
    if 0 in size or 0 in y.shape:
        return
    lanes = VECTOR_BYTES // x.itemsize
    choice = choose_tile(size[2], outputs, lanes)
    rows, vectors, _ = TILES[choice]
    width = vectors * lanes
    block = _block_size(size, len(x), K, stride, dilation, C, rows, x.itemsize)

    # Where, from the first input of an output, each tap finds its own in the scratch array.
    P, Q, R = np.ogrid[: K[0], : K[1], : K[2]]
    h_rows = (block[0] - 1) * stride[1] + (K[1] - 1) * dilation[1] + 1
    phases = min(stride[2], (K[2] - 1) * dilation[2] + 1)
    columns = block[1] + (K[2] - 1) * dilation[2] // stride[2]
    phase, shift = R * dilation[2] % stride[2], R * dilation[2] // stride[2]
    offsets = (((P * h_rows + Q * dilation[1]) * phases + phase) * columns + shift) * CHUNK

    _convolve(
        x, _panels(w, width), _bias_panels(b, groups, outputs, width, x.dtype), offsets.ravel(),
        tuple(K), stride, before, dilation, tuple(size), block, (h_rows, phases, columns), choice,
        first, step, y,
    )  # fmt: skip


# ---- the input gradient -----------------------------------------------------------------


def _phases(size, K, stride, before, dilation):
    """The input gradient on one axis, as plain convolutions of dy with stride 1.

    Input i is met by the taps p for which i + before − p·dilation is a multiple of the stride;
    that multiple is the output o. Inputs with the same i % stride are met by the same taps, so
    they are one convolution: i = first + m·stride finds tap p at o = m + shift(p), with
    shift(p) = (first + before − p·dilation) / stride. It falls as p grows: the kernel is turned
    round. Gives (first, taps in the order of rising o, −shift of the first, dilation in o).
    """
    for first in range(min(stride, size)):
        taps = [p for p in range(K) if (first + before - p * dilation) % stride == 0][::-1]
        if taps:
            shift = (first + before - taps[0] * dilation) // stride
            yield first, taps, -shift, dilation // math.gcd(dilation, stride)


def backward_input(dy, w, stride, before, dilation, dx):
    """dx(i) = Σ_p dy(o) @ w(p)ᵀ over the taps with o·stride + p·dilation − before = i.

    dy (N, *S_out, groups · outputs), w (P, Q, R, C, groups, outputs). dx (N, T, H, W, groups · C)
    must be zero where no tap meets an input, which happens when the stride exceeds the kernel.
    """
    axes = zip(dx.shape[1:4], w.shape[:3], stride, before, dilation, strict=True)
    T, H, W = (list(_phases(*axis)) for axis in axes)
    for t in T:
        for h in H:
            for v in W:
                first, taps, before, dilation = zip(t, h, v, strict=True)
                part = w[np.ix_(*taps)].swapaxes(-3, -1)  # (P', Q', R', outputs, groups, C)
                convolve(dy, part, None, (1, 1, 1), before, dilation, dx, first, stride)
