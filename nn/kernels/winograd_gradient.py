"""The weight gradient of 3×3 and P×3×3 kernels by Winograd's way.

`winograd` computes y = Aᵀ [Σ_c V ⊙ U] A with V = Bᵀ d B and U = G g Gᵀ. Every step is linear, so
the gradient goes back through each by the transposed matrix:

    E = A dy Aᵀ                          the gradient of the products, at the 36 points
    dU(ξ) = V(ξ)ᵀ @ E(ξ)                 summed over all places: a product of matrices per point
    dg = Gᵀ dU G                         once, at the end

Again a quarter of the multiplications. A task has a share of all places, some input channels and
some output channels; its sums dU, like the V and E of the places it is at, fit into the cache:

        V  [point] [chunk of channels] [frame, place] [channel in its chunk]      as in `winograd`
        E  [point] [panel] [frame, place] [output channel in its panel]
        dU [point] [tap in time] [panel] [input channel] [output channel in its panel]

How many shares there are depends on the problem and not on the number of threads, and they are
added in order. So the number of threads changes no bit of the result.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.cpu import SHORT, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store
from nn.kernels.turns import await_finished, finish, take
from nn.kernels.winograd import (
    count_parts,
    count_places,
    make_plan,
    off_4096,
    outputs_of,
    transform_inputs,
)
from nn.kernels.winograd_transforms import CHUNK, POINTS, transform_gradient, transform_sums

CHANNELS = 64  # of either kind in one task, at most
ROWS = 32  # frames × places whose V and E are made at a time
PIECES = 8  # into which dw is divided when the shares are added up
TASKS = 8


@kernel
def _transform_gradients(dy, shape, first, n_places, plan, o0, width, E, to, step):
    """E of some places in all frames, for the panel of output channels that begins at o0.

    Where there are fewer than plan.at_once places, zeros stand for the others.
    """
    N, T, H, W, C = shape
    L = lanes(E)
    half = aligned(np.empty(24 * CHUNK + ALIGNMENT, dy.dtype))
    part = aligned(np.empty(16 * CHUNK + ALIGNMENT, dy.dtype))
    d, e = plan.dilation_high, plan.dilation_wide
    for s in range(n_places, plan.at_once):
        for t in range(T):
            for point in range(POINTS):
                clear(E, to + point * step + (t * plan.at_once + s) * width, width)
    for s in range(n_places):
        n, h, w = outputs_of(first + s, plan)
        whole = h + 3 * d < H and w + 3 * e < W
        for t in range(T):
            for v in range(0, width, L):
                at = (((n * T + t) * H + h) * W + w) * C + o0 + v
                to_e = to + (t * plan.at_once + s) * width + v
                if whole and o0 + v + L <= C:
                    transform_gradient(dy, at, d * W * C, e * C, half, E, to_e, step)
                else:
                    clear(part, 0, 16 * L)
                    channels = max(0, min(L, C - o0 - v))  # the panel may reach beyond the last
                    for row in range(4):
                        for column in range(4):
                            if h + row * d < H and w + column * e < W:
                                source = at + (row * d * W + column * e) * C
                                copy(part, (row * 4 + column) * L, dy, source, channels)
                    transform_gradient(part, 0, 4 * L, L, half, E, to_e, step)


def _make_product(rows, vectors):
    @kernel
    def add_products(V, v_step, chunk_step, tap_step, E, e_step, dU, size):
        """dU += Vᵀ @ E for all points, taps in time, panels and input channels of a task."""
        apart()
        P, n_rows, panels, C = size
        width = vectors * lanes(E)
        to = 0
        for point in range(POINTS):
            for p in range(P):
                for panel in range(panels):
                    for c in range(0, C, rows):
                        tile = load(dU, to, width, rows, vectors)
                        a = point * v_step + c // CHUNK * chunk_step + p * tap_step + c % CHUNK
                        b = point * e_step + panel * n_rows * width
                        for _ in range(n_rows):
                            tile = add_outer(tile, V, a, 1, E, b)
                            a += CHUNK
                            b += width
                        store(tile, dU, to, width)
                        to += rows * width

    return add_products


_add_products = _make_product(SHORT, 2)
_add_narrow = _make_product(2 * SHORT, 1)


@kernel
def _write_taps(dU, size, width, plan, chunk0, o0, dw, dw_shape):
    """dg = Gᵀ dU G, written to where the part of the kernel has taps."""
    P, _, panels, C_task = size
    _, Q, R, C, O = dw_shape
    L = lanes(dU)
    half = aligned(np.empty(18 * CHUNK + ALIGNMENT, dw.dtype))
    dg = aligned(np.empty(9 * CHUNK + ALIGNMENT, dw.dtype))
    step = P * panels * C_task * width
    for number in range(P * panels * C_task):
        p, panel, row = number // (panels * C_task), number // C_task % panels, number % C_task
        chunk = chunk0 + row // CHUNK
        part, c = chunk // -(-C // CHUNK), chunk % -(-C // CHUNK) * CHUNK + row % CHUNK
        if c >= C:
            continue
        q0, r0 = part // plan.parts_wide * 3, part % plan.parts_wide * 3
        for v in range(0, min(width, O - o0 - panel * width), L):
            o = o0 + panel * width + v
            transform_sums(dU, number * width + v, step, half, dg)
            for q in range(q0, min(q0 + 3, Q)):
                for r in range(r0, min(r0 + 3, R)):
                    tap = ((q - q0) * 3 + r - r0) * L
                    to = (((p * Q + q) * R + r) * C + c) * O + o
                    if o + L <= O:
                        store(load(dg, tap, 0, 1, 1), dw, to, 0)
                    else:
                        copy(dw, to, dg, tap, O - o)


@kernel
def _add_share(
    x, x_shape, before, dy, dy_shape, plan, places, chunks, outputs, width, scratch, V, E, dU,
    dw, dw_shape,
):  # fmt: skip
    """The gradient from the places from places[0] to places[1], for some channels."""
    T, P, C = dy_shape[1], dw_shape[0], x_shape[4]
    v_step, e_step = scratch
    panels = -(-(outputs[1] - outputs[0]) // width)
    n_rows, frames = T * plan.at_once, T + P - 1
    chunk_step, tap_step = frames * plan.at_once * CHUNK, plan.at_once * CHUNK
    size = (P, n_rows, panels, (chunks[1] - chunks[0]) * CHUNK)
    clear(dU, 0, POINTS * P * panels * size[3] * width)
    of_part = -(-C // CHUNK)  # chunks of one part of the kernel
    for first in range(places[0], places[1], plan.at_once):
        n_places = min(plan.at_once, places[1] - first)
        for part in range(chunks[0] // of_part, -(-chunks[1] // of_part)):
            chunk0, chunk1 = max(chunks[0], part * of_part), min(chunks[1], (part + 1) * of_part)
            channels = (
                (chunk0 - part * of_part) * CHUNK,
                min(C, (chunk1 - part * of_part) * CHUNK),
            )
            transform_inputs(
                x, x_shape, before, frames, first, n_places, plan, part, channels,
                V, (chunk0 - chunks[0]) * chunk_step, v_step,
            )  # fmt: skip
        for panel in range(panels):
            _transform_gradients(
                dy, dy_shape, first, n_places, plan, outputs[0] + panel * width, width, E,
                panel * n_rows * width, e_step,
            )  # fmt: skip
        if width == 2 * lanes(E):
            _add_products(V, v_step, chunk_step, tap_step, E, e_step, dU, size)
        else:
            _add_narrow(V, v_step, chunk_step, tap_step, E, e_step, dU, size)
    _write_taps(dU, size, width, plan, chunks[0], outputs[0], dw, dw_shape)


@kernel
def _add_up(shares, first, last, dw):
    """Some numbers of dw: the sum of all shares, in order."""
    dw[first:last] = shares[0, first:last]
    for share in range(1, len(shares)):
        for i in range(first, last):
            dw[i] += shares[share, i]


@kernel
def _backward_weight(
    turns, x, x_shape, before, dy, dy_shape, plan, blocks, width, scratch, shares,
    dw_shape, dw,
):  # fmt: skip
    O = dy_shape[4]
    c_task, o_task = blocks
    chunks = -(-x_shape[4] // CHUNK) * count_parts(plan)
    c_blocks, o_blocks, n_shares = -(-chunks // c_task), -(-O // o_task), len(shares)
    places = count_places(x_shape[0], plan)
    V = aligned(np.empty(scratch[0] * POINTS + ALIGNMENT, x.dtype))
    E = aligned(np.empty(scratch[1] * POINTS + ALIGNMENT, x.dtype))
    dU = aligned(np.empty(scratch[2] + ALIGNMENT, x.dtype))
    tasks = n_shares * c_blocks * o_blocks
    task = take(turns)
    while task < tasks:
        share = task // (c_blocks * o_blocks)
        c, o = task // o_blocks % c_blocks * c_task, task % o_blocks * o_task
        _add_share(
            x, x_shape, before, dy, dy_shape, plan,
            (share * places // n_shares, (share + 1) * places // n_shares),
            (c, min(chunks, c + c_task)), (o, min(O, o + o_task)), width, scratch[:2], V, E, dU,
            shares[share], dw_shape,
        )  # fmt: skip
        finish(turns)
        task = take(turns)
    await_finished(turns, tasks)
    pieces = PIECES if n_shares > 1 else 0  # (a single share is dw itself)
    while task < tasks + pieces:
        piece = task - tasks
        _add_up(shares, piece * len(dw) // pieces, (piece + 1) * len(dw) // pieces, dw)
        task = take(turns)


# ---- what is settled before it runs -----------------------------------------------------


def backward_weight(dy, x, kernel_size, before, dilation, rows=ROWS, channels=CHANNELS):
    """dw(p) = Σ_o x(o + p·dilation − before)ᵀ @ dy(o), for a kernel of P×Q×R taps.

    dy (N, T_out, H_out, W_out, C_out), x (N, T, H, W, C) → dw (P, Q, R, C, C_out).
    """
    P, Q, R = kernel_size
    if P == 1 and before[0] == 0 and x.shape[1] == dy.shape[1]:
        x, dy = (a.reshape(-1, 1, *a.shape[2:]) for a in (x, dy))
    C, C_out = x.shape[4], dy.shape[4]
    shape = (P, Q, R, C, C_out)
    if dy.size == 0:
        return np.zeros(shape, x.dtype)
    N, T, H, W = dy.shape[:4]
    L = VECTOR_BYTES // x.itemsize
    width = L if C_out <= L else 2 * L
    plan = make_plan(N, T, kernel_size, H, W, dilation, rows)
    places = N * plan.high * plan.wide * dilation[0] * dilation[1]
    at_once = max(1, min(places, rows // T))
    plan = plan._replace(at_once=at_once)
    chunks = math.ceil(C / CHUNK) * plan.parts_high * plan.parts_wide
    c_task = _evenly(chunks, max(1, channels // CHUNK // (1 if P == 1 else 2)), 1)
    o_task = _evenly(C_out, channels, width)
    tasks = math.ceil(chunks / c_task) * math.ceil(C_out / o_task)
    n_shares = max(1, min(math.ceil(TASKS / tasks), places // at_once))
    panels = math.ceil(o_task / width)
    scratch = (
        off_4096(c_task * (T + P - 1) * at_once * CHUNK, x.itemsize),
        off_4096(panels * T * at_once * width, x.itemsize),
        POINTS * P * panels * width * c_task * CHUNK,
    )
    dw = aligned_empty((math.prod(shape),), x.dtype)
    shares = dw[None] if n_shares == 1 else aligned_empty((n_shares, len(dw)), x.dtype)
    threads.run(
        _backward_weight, x.reshape(-1), x.shape, tuple(before), dy.reshape(-1), dy.shape, plan,
        (c_task, o_task), width, scratch, shares, shape, dw,
    )  # fmt: skip
    return dw.reshape(shape)


def _evenly(total, most, unit):
    """The size of equal parts of `total`, in whole units, none larger than `most`."""
    part = math.ceil(total / math.ceil(total / most))
    return math.ceil(part / unit) * unit
