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

  With few channels, such as the three of an image, a pixel's place also takes the channels of
  the pixels to its right that the same output meets: taps along the width become channels.

The input gradient is a convolution too, and runs on this file: see `input_gradient`.
"""

import math

import numba
import numpy as np

from nn.kernels.aligned import ALIGNMENT, aligned, aligned_zeros
from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, load, store

CHUNK = 16  # channels that lie side by side in the scratch array
BLOCK_BYTES = 192 * 1024  # of scratch for one task: less than the second-level cache
PANEL_BYTES = 1024 * 1024  # of weights for one task
FEWEST_TASKS = 16  # so that the threads finish together

# The tiles there are: rows, vectors, and what a multiplication costs, measured: a tile with few
# sums waits for its operands.
TILES = ((TALL, 2, 1.0), (SHORT, 2, 1.02), (TALL, 1, 1.2))


# ---- the compiled part ------------------------------------------------------------------


def _make_row_kernel(rows, vectors):
    @kernel
    def convolve_row(
        packed, base, offsets, taps, C, chunk_step, panel, bias,
        y, at, y_step, n_outputs, n_columns, edge,
    ):  # fmt: skip
        """A row of outputs, tile after tile. Of a tile's columns only n_columns exist in y."""
        apart()
        width = panel.shape[1]
        p0, p1, q0, q1 = taps
        for w in range(0, n_outputs, rows):
            tile = load(bias, 0, 0, rows, vectors)  # every row starts as the bias
            for p in range(p0, p1):
                b = (p * offsets.shape[1] + q0) * offsets.shape[2] * C * width
                for q in range(q0, q1):
                    for offset in offsets[p, q]:
                        a = base + offset
                        for c in range(0, C, CHUNK):
                            for i in range(a, a + min(CHUNK, C - c)):
                                tile = add_outer(tile, packed, i, CHUNK, panel, b)
                                b += width
                            a += chunk_step
            n_rows = min(rows, n_outputs - w)
            if n_rows == rows and n_columns == width:
                store(tile, y, at, y_step)
            else:
                store(tile, edge, 0, width)
                for r in range(n_rows):
                    copy(y, at + r * y_step, edge, r * width, n_columns)
            base += rows * CHUNK
            at += rows * y_step

    return convolve_row


_tall = _make_row_kernel(TALL, 2)
_short = _make_row_kernel(SHORT, 2)
_narrow = _make_row_kernel(TALL, 1)


@kernel
def _convolve_row(choice, *args):
    """A row of outputs by the chosen one of TILES."""
    apart()
    if choice == 0:
        _tall(*args)
    elif choice == 1:
        _short(*args)
    else:
        _narrow(*args)


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
def _pack(x, corner, dilation, taps, layout, groups, C, chunk_step, packed):
    """Copy the inputs of one block, of which `corner` is the first, and the zeros around them.

    One row of x after the other goes into `line`, with its zeros, and from there to its places.
    """
    N, T, H, W, C_in = x.shape
    n, i0, j0, k0 = corner
    rows, phases, columns, step, pixels = layout
    line = aligned(np.empty(pixels * C_in + CHUNK + ALIGNMENT, x.dtype))
    left, right = min(max(0, -k0), pixels), max(0, min(pixels, W - k0))  # those inside x
    for p in range(taps[0], taps[1]):
        i = i0 + p * dilation[0]
        for row in range(rows):
            j = j0 + row
            if 0 <= j < H and left < right:
                clear(line, 0, left * C_in)
                source = (((n * T + i) * H + j) * W + k0 + left) * C_in
                copy(line, left * C_in, x, source, (right - left) * C_in)
                clear(line, right * C_in, (pixels - right) * C_in)
            else:
                clear(line, 0, pixels * C_in)
            for phase in range(phases):
                to = ((p * rows + row) * phases + phase) * columns * CHUNK
                for g in range(groups):
                    for c in range(0, C, CHUNK):
                        # A whole chunk is one vector. What it takes beyond C is never used.
                        source = phase * C_in + g * C + c
                        for at in range(to, to + columns * CHUNK, CHUNK):
                            copy(packed, at, line, source, CHUNK)
                            source += step * C_in
                        to += chunk_step


@kernel
def _convolve_block(
    x, panels, bias, offsets, stride, before, dilation, size, block, layout, choice,
    first, step, y, task,
):  # fmt: skip
    """Some panels of one block of outputs."""
    h_block, w_block, panels_at_once = block
    rows, phases, columns, _, _ = layout
    groups, n_panels, _, width = panels.shape
    C = panels.shape[2] // offsets.size  # per tap: with few channels, several pixels' channels
    outputs = y.shape[4] // groups

    # The task's number says which: first along the width, then the height, time, clips, panels.
    w_blocks, h_blocks = -(-size[2] // w_block), -(-size[1] // h_block)
    w0 = task % w_blocks * w_block
    h0 = task // w_blocks % h_blocks * h_block
    t = task // (w_blocks * h_blocks) % size[0]
    n = task // (w_blocks * h_blocks * size[0]) % len(x)
    panel0 = task // (w_blocks * h_blocks * size[0] * len(x)) * panels_at_once

    # Taps that meet only padding in time or height are left out, those along the width are not.
    P, Q, _ = offsets.shape
    i, j = t * stride[0] - before[0], h0 * stride[1] - before[1]
    p0, p1 = _taps_inside(i, P, dilation[0], x.shape[1])

    row_step = phases * columns * CHUNK
    chunk_step = P * rows * row_step
    chunks = -(-C // CHUNK)
    packed = aligned(np.empty(groups * chunks * chunk_step + ALIGNMENT, x.dtype))
    corner = (n, i, j, w0 * stride[2] - before[2])
    _pack(x, corner, dilation, (p0, p1), layout, groups, C, chunk_step, packed)

    edge = np.empty(TILES[choice][0] * width, x.dtype)  # for a tile that hangs over
    n_outputs = min(w_block, size[2] - w0)
    y_step = step[2] * y.shape[4]
    for g in range(groups):
        for panel in range(panel0, min(panel0 + panels_at_once, n_panels)):
            weights, start = panels[g, panel], bias[g, panel]
            n_columns = min(width, outputs - panel * width)
            for h in range(h0, min(h0 + h_block, size[1])):
                j = h * stride[1] - before[1]
                q0, q1 = _taps_inside(j, Q, dilation[1], x.shape[2])
                taps = (p0, p1, q0, q1)
                base = g * chunks * chunk_step + (h - h0) * stride[1] * row_step
                row = y[n, first[0] + t * step[0], first[1] + h * step[1]]  # (W_y, C_out)
                at = (first[2] + w0 * step[2]) * y.shape[4] + g * outputs + panel * width
                _convolve_row(
                    choice, packed, base, offsets, taps, C, chunk_step, weights, start,
                    row, at, y_step, n_outputs, n_columns, edge,
                )  # fmt: skip


@kernel(parallel=True)
def _convolve(
    x, panels, bias, offsets, stride, before, dilation, size, block, layout, choice,
    first, step, y,
):  # fmt: skip
    tasks = len(x) * size[0] * -(-size[1] // block[0]) * -(-size[2] // block[1])
    tasks *= -(-panels.shape[1] // block[2])
    for task in numba.prange(tasks):
        _convolve_block(
            x, panels, bias, offsets, stride, before, dilation, size, block, layout, choice,
            first, step, y, np.int64(task),
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


def _panels(w, width):
    """Weights (*K, C, groups, outputs) → (groups, panels, taps · C, width), zeros at the end."""
    *K, C, groups, outputs = w.shape
    panels = aligned_zeros((groups, _ceil(outputs, width), *K, C, width), w.dtype)
    for i in range(panels.shape[1]):
        part = np.moveaxis(w[..., i * width : (i + 1) * width], -2, 0)  # (groups, *K, C, ≤ width)
        panels[:, i, ..., : part.shape[-1]] = part
    return panels.reshape(groups, -1, math.prod(K) * C, width)


def _bias_panels(b, groups, outputs, width, dtype):
    bias = np.zeros((groups, _ceil(outputs, width) * width), dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return bias.reshape(groups, -1, width)


def _choose_block(size, N, K, stride, dilation, C, panels, rows):
    """How many rows, columns and panels of outputs one task computes."""
    T, H, W = size
    P, Q, R = K
    groups, n_panels, K_C, width = panels.shape
    tiles = _ceil(W, rows)
    w_block = rows * _ceil(tiles, _ceil(tiles, 9))  # at most 9 tiles, in blocks of one size
    n_blocks = N * T * _ceil(W, w_block)
    at_once = n_panels if groups > 1 else PANEL_BYTES // (K_C * width * panels.itemsize)
    at_once = max(1, min(n_panels, at_once))
    n_blocks *= _ceil(n_panels, at_once)
    columns = (w_block - 1) * stride[2] + (R - 1) * dilation[2] + 1
    row_bytes = P * columns * groups * _ceil(C, CHUNK) * CHUNK * panels.itemsize
    fitting = (BLOCK_BYTES // row_bytes - (Q - 1) * dilation[1] - 1) // stride[1] + 1
    for_all = _ceil(H, _ceil(FEWEST_TASKS, n_blocks))
    return max(1, min(H, fitting, for_all)), w_block, at_once


def convolve(x, w, b, stride, before, dilation, y, first=(0, 0, 0), step=(1, 1, 1)):
    """y(o·step + first) = Σ_p x(o·stride + p·dilation − before) @ w(p) + b, written into y.

    x (N, T, H, W, groups · C), w (P, Q, R, C, groups, outputs), b (groups · outputs,) or None,
    y (N, T_y, H_y, W_y, groups · outputs). Where a tap falls outside x it meets a zero.
    """
    *K, C, groups, outputs = w.shape
    size = tuple(len(range(f, n, s)) for f, n, s in zip(first, y.shape[1:4], step, strict=True))
    if 0 in size or 0 in y.shape:
        return
    lanes = VECTOR_BYTES // x.itemsize
    choice = choose_tile(size[2], outputs, math.prod(K) * C, lanes)
    rows, vectors, _ = TILES[choice]
    width = vectors * lanes
    panels = _panels(w, width)
    block = _choose_block(size, len(x), K, stride, dilation, C, panels, rows)

    # The layout of the scratch array, and where in it each tap finds the first output's input.
    P, Q, R = K
    p, q, r = np.ogrid[:P, :Q, :R]
    h_rows = (block[0] - 1) * stride[1] + (Q - 1) * dilation[1] + 1
    if C < CHUNK and dilation[2] == groups == 1:
        phases, columns, r = 1, block[1], r[..., :1]
        pixels = (columns - 1) * stride[2] + R
    else:
        phases = min(stride[2], (R - 1) * dilation[2] + 1)
        columns = block[1] + (R - 1) * dilation[2] // stride[2]
        pixels = (columns - 1) * stride[2] + phases
    phase, shift = r * dilation[2] % stride[2], r * dilation[2] // stride[2]
    offsets = (((p * h_rows + q * dilation[1]) * phases + phase) * columns + shift) * CHUNK

    bias = _bias_panels(b, groups, outputs, width, x.dtype)
    layout = (h_rows, phases, columns, stride[2], pixels)
    _convolve(
        x, panels, bias, offsets, stride, before, dilation, size, block, layout, choice,
        first, step, y,
    )  # fmt: skip
