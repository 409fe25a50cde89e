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
from nn.kernels.aligned import ALIGNMENT, aligned
from nn.kernels.cpu import SHORT, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, clear, copy, lanes, load, store
from nn.kernels.winograd import Plan, count_places, off_4096, outputs_of, transform_inputs
from nn.kernels.winograd_transforms import CHUNK, POINTS, transform_gradient, transform_sums

CHANNELS = 64  # of either kind in one task, at most
ROWS = 32  # frames × places whose V and E are made at a time
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
def _write_taps(dU, size, width, c0, o0, dw, C, O):
    """dg = Gᵀ dU G, written to dw (P, 3, 3, C, C_out)."""
    P, _, panels, C_task = size
    L = lanes(dU)
    half = aligned(np.empty(18 * CHUNK + ALIGNMENT, dw.dtype))
    part = aligned(np.empty(9 * CHUNK + ALIGNMENT, dw.dtype))
    step = P * panels * C_task * width
    for p in range(P):
        for panel in range(panels):
            for c in range(min(C_task, C - c0)):
                for v in range(0, width, L):
                    o = o0 + panel * width + v
                    if o >= O:
                        continue
                    at = ((p * panels + panel) * C_task + c) * width + v
                    transform_sums(dU, at, step, half, part)
                    for tap in range(9):
                        to = ((p * 9 + tap) * C + c0 + c) * O + o
                        if o + L <= O:
                            store(load(part, tap * L, 0, 1, 1), dw, to, 0)
                        else:
                            copy(dw, to, part, tap * L, O - o)


@kernel
def _add_share(
    x, x_shape, before, dy, dy_shape, P, plan, places, channels, outputs, width, scratch, V, E, dU,
    dw,
):  # fmt: skip
    """The gradient from the places from places[0] to places[1], for some channels."""
    T = dy_shape[1]
    c0, c1 = channels
    o0, o1 = outputs
    v_step, e_step = scratch
    panels = -(-(o1 - o0) // width)
    n_rows = T * plan.at_once
    size = (P, n_rows, panels, -(-(c1 - c0) // CHUNK) * CHUNK)
    clear(dU, 0, POINTS * P * panels * size[3] * width)
    frames = T + P - 1
    for first in range(places[0], places[1], plan.at_once):
        n_places = min(plan.at_once, places[1] - first)
        transform_inputs(x, x_shape, before, frames, first, n_places, plan, channels, V, v_step)
        for panel in range(panels):
            _transform_gradients(
                dy, dy_shape, first, n_places, plan, o0 + panel * width, width, E,
                panel * n_rows * width, e_step,
            )  # fmt: skip
        chunk_step, tap_step = frames * plan.at_once * CHUNK, plan.at_once * CHUNK
        if width == 2 * lanes(E):
            _add_products(V, v_step, chunk_step, tap_step, E, e_step, dU, size)
        else:
            _add_narrow(V, v_step, chunk_step, tap_step, E, e_step, dU, size)
    _write_taps(dU, size, width, c0, o0, dw, x_shape[4], dy_shape[4])


@kernel
def _backward_weight(
    thread, threads, x, x_shape, before, dy, dy_shape, P, plan, blocks, width, scratch, shares
):  # fmt: skip
    C, O = x_shape[4], dy_shape[4]
    c_task, o_task = blocks
    c_blocks, o_blocks, n_shares = -(-C // c_task), -(-O // o_task), len(shares)
    places = count_places(x_shape[0], plan)
    V = aligned(np.empty(scratch[0] * POINTS + ALIGNMENT, x.dtype))
    E = aligned(np.empty(scratch[1] * POINTS + ALIGNMENT, x.dtype))
    dU = aligned(np.empty(scratch[2] + ALIGNMENT, x.dtype))
    for task in range(thread, n_shares * c_blocks * o_blocks, threads):
        share = task // (c_blocks * o_blocks)
        c, o = task // o_blocks % c_blocks * c_task, task % o_blocks * o_task
        _add_share(
            x, x_shape, before, dy, dy_shape, P, plan,
            (share * places // n_shares, (share + 1) * places // n_shares),
            (c, min(C, c + c_task)), (o, min(O, o + o_task)), width, scratch[:2], V, E, dU,
            shares[share],
        )  # fmt: skip


# ---- what is settled before it runs -----------------------------------------------------


def backward_weight(dy, x, P, before, dilation, rows=ROWS, channels=CHANNELS, tasks=TASKS):
    """dw(p) = Σ_o x(o + p·dilation − before)ᵀ @ dy(o), for a kernel of P×3×3 taps.

    dy (N, T_out, H_out, W_out, C_out), x (N, T, H, W, C) → dw (P, 3, 3, C, C_out).
    """
    if P == 1 and before[0] == 0 and x.shape[1] == dy.shape[1]:
        x, dy = (a.reshape(-1, 1, *a.shape[2:]) for a in (x, dy))
    C, C_out = x.shape[4], dy.shape[4]
    if dy.size == 0:
        return np.zeros((P, 3, 3, C, C_out), x.dtype)
    N, T, H, W = dy.shape[:4]
    L = VECTOR_BYTES // x.itemsize
    width = L if C_out <= L else 2 * L
    c_task = _evenly(C, channels if P == 1 else max(CHUNK, channels // 2), CHUNK)
    o_task = _evenly(C_out, channels, width)
    high, wide = (math.ceil(math.ceil(n / d) / 4) for n, d in zip((H, W), dilation, strict=True))
    plan = Plan(high, wide, *dilation, 1, False)
    places = N * high * wide * dilation[0] * dilation[1]
    pairs = math.ceil(C / c_task) * math.ceil(C_out / o_task)
    at_once = max(1, min(places, rows // T))
    n_shares = max(1, min(math.ceil(tasks / pairs), places // at_once))
    plan = plan._replace(at_once=at_once)
    panels, chunks = math.ceil(o_task / width), math.ceil(c_task / CHUNK)
    scratch = (
        off_4096(chunks * (T + P - 1) * at_once * CHUNK, x.itemsize),
        off_4096(panels * T * at_once * width, x.itemsize),
        POINTS * P * panels * width * chunks * CHUNK,
    )
    shares = np.empty((n_shares, P * 9 * C * C_out), x.dtype)
    threads.run(
        _backward_weight, x.reshape(-1), x.shape, tuple(before), dy.reshape(-1), dy.shape, P, plan,
        (c_task, o_task), width, scratch, shares,
    )  # fmt: skip
    dw = shares[0] if n_shares == 1 else shares.sum(axis=0)
    return dw.reshape(P, 3, 3, C, C_out)


def _evenly(total, most, unit):
    """The size of equal parts of `total`, in whole units, none larger than `most`."""
    part = math.ceil(total / math.ceil(total / most))
    return math.ceil(part / unit) * unit
