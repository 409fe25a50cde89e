"""Winograd's convolution: kernels of 3×3 taps and more, stride 1, a quarter of the multiplications.

To convolve is to multiply polynomials, and a product of polynomials is known from its values at
enough points: one multiplication for each point, instead of one for each pair of coefficients.
F(4, 3), four outputs of a kernel of three taps, needs 6 points where plain sums need 12 products;
in two dimensions, F(4×4, 3×3), it is 36 instead of 144:

    y = Aᵀ [ Σ_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A

d (6, 6) is the *patch* of the input that 4×4 outputs meet, one channel of it, and g (3, 3) its
kernel. `Bᵀ` and `G` evaluate both at the points, `Aᵀ` goes back from values to coefficients; see
`winograd_matrices` for where they come from. The points are 0, ±a, ±b and ∞.

The sum over the channels is taken before the way back, and for many patches and many output
channels it is a product of matrices, one for each of the 36 pairs of points:

    M(ξ) = V(ξ) @ U(ξ)      V (patches, C_in), U (C_in, C_out), M (patches, C_out)

That is what the register tiles are good at. A kernel of P×3×3 taps is P kernels whose products
are summed in M, before the way back: V of one frame then serves P output frames.

A task takes some places, transforms their patches in all frames into V, which fits into the
cache, and for each panel of output channels multiplies, and transforms M back into y:

        V [point] [chunk of channels] [frame, place] [channel in its chunk]
        U [panel] [point] [tap in time] [input channel] [output channel in its panel]
        M [point] [frame, place] [output channel in its panel]

Rounding: the sums of the transforms cancel in part, so float32 loses more than one digit against
direct convolution; `tests/nn/test_winograd.py` bounds it.
"""

import functools
from typing import NamedTuple

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty, flat_view
from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, prefetch, store
from nn.kernels.turns import await_finished, finish, take
from nn.kernels.winograd_transforms import (
    CHUNK,
    POINTS,
    transform_kernel,
    transform_patch,
    transform_products,
)

AHEAD = 4096  # U is four times as large as w, and soon larger than the second-level cache
ROWS = 32  # frames × places of a task, at most: measured; twice as many where frames overlap


# ---- the compiled part ------------------------------------------------------------------


class Plan(NamedTuple):
    """How a convolution is divided: into places of 4×4 outputs, of which a task has some."""

    high: int  # places in a frame, along its height
    wide: int
    dilation_high: int
    dilation_wide: int
    parts_high: int  # kernels of 3×3 that the taps are divided into, see `shift`
    parts_wide: int
    at_once: int  # places in a task, each in all frames
    tall: bool  # which register tile


@kernel
def outputs_of(place, plan):
    """The clip of a place, and the row and column of the first of its 4×4 outputs.

    With dilation d a tap sees only every d-th pixel, so an image is d×d images, interleaved, and
    the outputs of a place are d pixels apart.
    """
    d, e = plan.dilation_high, plan.dilation_wide
    high, wide = plan.high * d, plan.wide * e
    row, column = place // wide % high, place % wide
    return place // (high * wide), row // d * 4 * d + row % d, column // e * 4 * e + column % e


@kernel
def count_places(clips, plan):
    """How many places of 4×4 outputs so many clips have."""
    return clips * plan.high * plan.dilation_high * plan.wide * plan.dilation_wide


@kernel
def shift(part, plan):
    """Rows and columns by which a part of the kernel stands apart from the first.

    A larger kernel is several kernels of 3×3 side by side, made up with zeros. Each sees the
    input shifted, so they are summed like channels: 5×5 taps of C channels are 3×3 taps of 4·C.
    """
    row, column = part // plan.parts_wide * 3, part % plan.parts_wide * 3
    return row * plan.dilation_high, column * plan.dilation_wide


@kernel
def count_parts(plan):
    """How many kernels of 3×3 the taps are divided into."""
    return plan.parts_high * plan.parts_wide


@kernel
def _transform_kernels(w, start, steps, taps_there, parts_wide, C, O, panel, U, to, step):
    """U = G g Gᵀ for one panel of output channels."""
    P, Q, R = taps_there
    parts = -(-Q // 3) * parts_wide
    L = lanes(U)
    first, width = panel * 2 * L, 2 * L if O - panel * 2 * L > L else L
    taps = aligned(np.zeros(9 * CHUNK + ALIGNMENT, w.dtype))
    half = aligned(np.empty(18 * CHUNK + ALIGNMENT, w.dtype))
    for v in range(0, width, L):
        for number in range(P * parts * C):  # as they are used: by tap in time, part and channel
            p, part, c = number // (parts * C), number // C % parts, number % C
            at = start + p * steps[0] + c * steps[3] + (first + v) * steps[4]
            q0, r0 = part // parts_wide * 3, part % parts_wide * 3
            for q in range(q0, q0 + 3):
                for r in range(r0, r0 + 3):
                    tap, to_tap = at + q * steps[1] + r * steps[2], ((q - q0) * 3 + r - r0) * L
                    if q >= Q or r >= R:
                        clear(taps, to_tap, L)
                    elif steps[4] == 1 and first + v + L <= O:
                        store(load(w, tap, 0, 1, 1), taps, to_tap, 0)
                    else:
                        for o in range(min(L, O - first - v)):
                            taps[to_tap + o] = w[tap + o * steps[4]]
            transform_kernel(taps, half, U, to + number * width + v, step)


@kernel
def transform_inputs(x, shape, before, frames, first, n_places, plan, part, channels, V, v0, step):
    """V of n_places places from `first` on, in the chunks from channels[0] to channels[1].

    part: the part of the kernel that they are for. It stands in V from v0 on.

    x is flat, and shape what it was. Frames outside x, like pixels, are zeros, and so is V where
    there are fewer than plan.at_once places.
    """
    N, T, H, W, C = shape
    patch = aligned(np.empty(36 * CHUNK + ALIGNMENT, x.dtype))
    half = aligned(np.empty(36 * CHUNK + ALIGNMENT, x.dtype))
    L = lanes(V)
    d, e = plan.dilation_high, plan.dilation_wide
    down, right = shift(part, plan)
    size = -(-(channels[1] - channels[0]) // CHUNK) * frames * plan.at_once * CHUNK
    if n_places < plan.at_once:
        for point in range(POINTS):
            clear(V, v0 + point * step, size)
    for s in range(n_places):
        n, j0, k0 = outputs_of(first + s, plan)
        j0, k0 = j0 + down - before[1], k0 + right - before[2]
        inside = j0 >= 0 and k0 >= 0 and j0 + 5 * d < H and k0 + 5 * e < W
        for frame in range(frames):
            i = frame - before[0]
            to = v0 + (frame * plan.at_once + s) * CHUNK
            for c in range(channels[0], channels[1], CHUNK):
                if not 0 <= i < T:
                    for point in range(POINTS):
                        clear(V, to + point * step, CHUNK)
                elif inside and c + CHUNK <= C:
                    at = (((n * T + i) * H + j0) * W + k0) * C + c
                    for v in range(0, CHUNK, L):
                        transform_patch(x, at + v, d * W * C, e * C, half, V, to + v, step)
                else:
                    clear(patch, 0, 36 * CHUNK)
                    for row in range(6):
                        for column in range(6):
                            j, k = j0 + row * d, k0 + column * e
                            if 0 <= j < H and 0 <= k < W:
                                at = (((n * T + i) * H + j) * W + k) * C + c
                                place = (row * 6 + column) * CHUNK
                                copy(patch, place, x, at, min(CHUNK, C - c))
                    for v in range(0, CHUNK, L):
                        transform_patch(patch, v, 6 * CHUNK, CHUNK, half, V, to + v, step)
                to += frames * plan.at_once * CHUNK


def _make_product(rows, vectors):
    @kernel
    def multiply(V, v_step, chunk_step, tap_step, U, to, u_step, terms, nothing, M, m_step, n_rows):
        """M = V @ U for all points, one panel of output channels, tile after tile."""
        apart()
        width = vectors * lanes(M)
        P, parts, C = terms
        for point in range(POINTS):
            for m in range(0, n_rows, rows):
                b = to + point * u_step
                tile = load(nothing, 0, 0, rows, vectors)
                for p in range(P):
                    a = point * v_step + p * tap_step + m * CHUNK
                    for _ in range(parts):
                        for c in range(0, C, CHUNK):
                            for i in range(a, a + min(CHUNK, C - c)):
                                prefetch(U, b + AHEAD)
                                prefetch(U, b + AHEAD + width // 2)
                                tile = add_outer(tile, V, i, CHUNK, U, b)
                                b += width
                            a += chunk_step
                store(tile, M, point * m_step + m * width, width)

    return multiply


_multiply_tall = _make_product(TALL, 2)
_multiply_short = _make_product(SHORT, 2)
_multiply_narrow = _make_product(TALL, 1)


@kernel
def _write_outputs(M, m_step, width, bias, panel, first, n_places, plan, y, shape):
    """The outputs of some places, all frames, one panel of channels."""
    N, T, H, W, C = shape
    L = lanes(M)
    half = aligned(np.empty(24 * CHUNK + ALIGNMENT, y.dtype))
    part = aligned(np.empty(16 * CHUNK + ALIGNMENT, y.dtype))
    d, e = plan.dilation_high, plan.dilation_wide
    for s in range(n_places):
        n, h, w = outputs_of(first + s, plan)
        whole = h + 3 * d < H and w + 3 * e < W
        for t in range(T):
            for v in range(0, width, L):
                o = panel * 2 * L + v
                at = (t * plan.at_once + s) * width + v
                to = (((n * T + t) * H + h) * W + w) * C + o
                if whole and o + L <= C:
                    transform_products(M, at, m_step, half, bias, o, y, to, d * W * C, e * C)
                else:
                    transform_products(M, at, m_step, half, bias, o, part, 0, 4 * L, L)
                    for row in range(4):
                        for column in range(4):
                            if h + row * d < H and w + column * e < W:
                                place = to + (row * d * W + column * e) * C
                                copy(y, place, part, (row * 4 + column) * L, min(L, C - o))


@kernel
def _convolve(turns, w, w_layout, x, x_shape, bias, before, plan, U, scratch, y, y_shape):
    start, steps, taps = w_layout
    v_step, m_step, u_step = scratch
    P, C, O = taps[0], x_shape[4], y_shape[4]
    panels = -(-O // (2 * lanes(U)))
    task = take(turns)
    while task < panels:
        _transform_kernels(
            w, start, steps, taps, plan.parts_wide, C, O, task, U, task * POINTS * u_step, u_step
        )  # fmt: skip
        finish(turns)
        task = take(turns)
    V = aligned(np.empty(v_step * POINTS + ALIGNMENT, x.dtype))
    M = aligned(np.empty(m_step * POINTS + ALIGNMENT, x.dtype))
    # The last tile of rows reads beyond V: zeros there, as arithmetic on what happens to lie
    # in fresh memory can be slow.
    used = -(-C // CHUNK) * (y_shape[1] + P - 1) * plan.at_once * CHUNK
    used *= count_parts(plan)
    for point in range(POINTS):
        clear(V, point * v_step + used, v_step - used)
    n_tasks = -(-count_places(x_shape[0], plan) // plan.at_once)
    await_finished(turns, panels)
    while task < panels + n_tasks:
        _convolve_places(
            x, x_shape, P, bias, before, plan, U, u_step, V, v_step, M, m_step,
            (task - panels) * plan.at_once, y, y_shape,
        )  # fmt: skip
        task = take(turns)


@kernel
def _convolve_places(
    x, x_shape, P, bias, before, plan, U, u_step, V, v_step, M, m_step, first, y, y_shape,
):  # fmt: skip
    C, T_out, O = x_shape[4], y_shape[1], y_shape[4]
    L = lanes(x)
    nothing = np.zeros(2 * L, x.dtype)
    frames = T_out + P - 1
    n_places = min(plan.at_once, count_places(x_shape[0], plan) - first)
    chunk_step, tap_step = frames * plan.at_once * CHUNK, plan.at_once * CHUNK
    for part in range(count_parts(plan)):
        v0 = part * -(-C // CHUNK) * chunk_step
        transform_inputs(
            x, x_shape, before, frames, first, n_places, plan, part, (0, C), V, v0, v_step
        )  # fmt: skip
    n_rows, terms = T_out * plan.at_once, (P, count_parts(plan), C)
    for panel in range(-(-O // (2 * L))):
        to, width = panel * POINTS * u_step, 2 * L
        if O - panel * 2 * L <= L:
            width = L
            _multiply_narrow(
                V, v_step, chunk_step, tap_step, U, to, u_step, terms, nothing, M, m_step, n_rows
            )  # fmt: skip
        elif plan.tall:
            _multiply_tall(
                V, v_step, chunk_step, tap_step, U, to, u_step, terms, nothing, M, m_step, n_rows
            )  # fmt: skip
        else:
            _multiply_short(
                V, v_step, chunk_step, tap_step, U, to, u_step, terms, nothing, M, m_step, n_rows
            )  # fmt: skip
        _write_outputs(M, m_step, width, bias, panel, first, n_places, plan, y, y_shape)


# ---- what is settled before it runs -----------------------------------------------------


def _ceil(a, b):
    return -(-a // b)


def off_4096(numbers, itemsize):
    """At least so many numbers, and no multiple of 4096 bytes apart: addresses that far apart
    compete for the same few lines of the first-level cache."""
    lines = _ceil(numbers * itemsize, 64) | 1
    return lines * 64 // itemsize


@functools.lru_cache
def make_plan(N, frames, kernel_size, H, W, dilation, rows=None):
    """rows: how many patches to transform before they are multiplied; None to choose."""
    P, Q, R = kernel_size
    high, wide = (_ceil(_ceil(n, d), 4) for n, d in zip((H, W), dilation, strict=True))
    places = N * high * wide * dilation[0] * dilation[1]
    most = max(1, (rows or (ROWS if P == 1 else 2 * ROWS)) // frames)

    def cost(choice):
        """Of all products, when tiles are computed whole, and so is the last task."""
        at_once, height, price = choice
        return _ceil(places, at_once) * _ceil(at_once * frames, height) * height * price

    sizes = range(min(most, places), min(most, places) // 2, -1)
    tiles = ((TALL, 1.0), (SHORT, 1.02))
    at_once, height, _ = min(((n, *tile) for n in sizes for tile in tiles), key=cost)
    return Plan(high, wide, *dilation, _ceil(Q, 3), _ceil(R, 3), at_once, height == TALL)


def convolve(x, w, b, before, dilation, y, rows=None):
    """y(o) = Σ_p x(o + p·dilation − before) @ w(p) + b.

    x (N, T, H, W, C), w (P, Q, R, C, C_out) with any strides, y (N, T_out, H_out, W_out, C_out).
    dilation: along height and width.
    """
    if y.size == 0:
        return
    P, Q, R, C, C_out = w.shape
    if P == 1 and before[0] == 0 and x.shape[1] == y.shape[1]:
        x, y = (a.reshape(-1, 1, *a.shape[2:]) for a in (x, y))
    L = VECTOR_BYTES // x.itemsize
    parts = _ceil(Q, 3) * _ceil(R, 3)
    u_step = off_4096(P * parts * C * 2 * L, x.itemsize)
    U = aligned_empty((_ceil(C_out, 2 * L) * POINTS * u_step,), x.dtype)
    bias = np.zeros(_ceil(C_out, L) * L, x.dtype)
    if b is not None:
        bias[:C_out] = b
    N, T_out, H, W, _ = y.shape
    plan = make_plan(N, T_out, (P, Q, R), H, W, dilation, rows)
    frames = T_out + P - 1
    v = parts * _ceil(C, CHUNK) * frames * plan.at_once * CHUNK + TALL * CHUNK
    m = (T_out * plan.at_once + TALL) * 2 * L
    scratch = (off_4096(v, x.itemsize), off_4096(m, x.itemsize), u_step)
    numbers, start, steps = flat_view(w)
    threads.run(
        _convolve, numbers, (start, steps, (P, Q, R)), x.reshape(-1), x.shape, bias, tuple(before),
        plan, U, scratch, y.reshape(-1), y.shape,
    )  # fmt: skip
