"""Activations: one pass over flat arrays, forward and backward.

    y[i] = f(x[i])          dx[i] = dy[i] · f'(...)

There is hardly any arithmetic to do, so what counts is how often memory is read and written.
NumPy works in steps, dy * (y > 0) is two passes and an array between them. Here everything is
done to a number while it is in a register, and the functions in `exponential` are compiled to
vectors like all the rest.

What to do is a number, so that there are two functions to compile and not twelve: one for what is
bent, in no time, and one for what is curved.
"""

import math

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.exponential import like, normal_below, normal_density, sigmoid, tanh
from nn.kernels.jit import kernel
from nn.kernels.turns import take

BLOCK = 1 << 13  # numbers one task works through
SMALL = 1 << 17  # numbers: up to that, waking the threads takes longer than the work
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu")
RELU, LEAKY_RELU, SIGMOID, TANH, SILU, GELU = range(6)


# ---- one block, compiled ----------------------------------------------------------------


@kernel
def _bent_forward(what, x, slope, y):
    if what == RELU:
        for i in range(len(x)):
            y[i] = 0 if x[i] < 0 else x[i]  # a NaN stays one
    else:
        for i in range(len(x)):
            y[i] = x[i] * (slope if x[i] < 0 else like(1.0, slope))


@kernel
def _bent_backward(what, dy, a, slope, dx):
    """`a` is what forward saved: y for ReLU, x for the other."""
    if what == RELU:
        for i in range(len(a)):
            dx[i] = dy[i] if a[i] > 0 else 0
    else:
        for i in range(len(a)):
            dx[i] = dy[i] * (like(1.0, slope) if a[i] > 0 else slope)


@kernel
def _curved_forward(what, x, y):
    if what == SIGMOID:
        for i in range(len(x)):
            y[i] = sigmoid(x[i])
    elif what == TANH and x.itemsize == 4:
        for i in range(len(x)):
            y[i] = tanh(x[i])
    elif what == TANH:
        for i in range(len(x)):
            y[i] = math.tanh(x[i])
    elif what == SILU:
        for i in range(len(x)):
            y[i] = x[i] * sigmoid(x[i])
    elif what == GELU and x.itemsize == 4:
        for i in range(len(x)):
            y[i] = x[i] * normal_below(x[i], normal_density(x[i]))
    else:
        for i in range(len(x)):
            y[i] = x[i] * (1 + math.erf(x[i] * math.sqrt(0.5))) / 2


@kernel
def _curved_backward(what, dy, a, one, dx):
    """`a` is what forward saved: y for sigmoid and tanh, x for the others."""
    if what == SIGMOID:
        for i in range(len(a)):
            dx[i] = dy[i] * a[i] * (one - a[i])
    elif what == TANH:
        for i in range(len(a)):
            dx[i] = dy[i] * (one - a[i] * a[i])
    elif what == SILU:
        for i in range(len(a)):
            s = sigmoid(a[i])
            dx[i] = dy[i] * (s + a[i] * s * (one - s))
    elif what == GELU and a.itemsize == 4:
        for i in range(len(a)):
            density = normal_density(a[i])
            dx[i] = dy[i] * (normal_below(a[i], density) + a[i] * density)
    else:
        for i in range(len(a)):
            below = (1 + math.erf(a[i] * math.sqrt(0.5))) / 2
            dx[i] = dy[i] * (below + a[i] * normal_density(a[i]))


@kernel
def _bent_blocks(turns, what, is_forward, dy, a, slope, out):
    block = take(turns) * BLOCK
    while block < len(a):
        i = slice(block, block + BLOCK)
        if is_forward:
            _bent_forward(what, a[i], slope, out[i])
        else:
            _bent_backward(what, dy[i], a[i], slope, out[i])
        block = take(turns) * BLOCK


@kernel
def _curved_blocks(turns, what, is_forward, dy, a, slope, out):
    block = take(turns) * BLOCK
    while block < len(a):
        i = slice(block, block + BLOCK)
        if is_forward:
            _curved_forward(what, a[i], out[i])
        else:
            _curved_backward(what, dy[i], a[i], like(1.0, slope), out[i])
        block = take(turns) * BLOCK


# ---- what Python calls ------------------------------------------------------------------


def _run(what, is_forward, dy, a, slope):
    out = aligned_empty(a.shape, a.dtype)
    flat = (array.reshape(-1) for array in (dy, a))
    blocks = _bent_blocks if what in ("relu", "leaky_relu") else _curved_blocks
    args = NAMES.index(what), is_forward, *flat, a.dtype.type(slope), out.reshape(-1)
    threads.run_if(a.size > SMALL, blocks, *args)
    return out


def forward(what, x, slope=0.0):
    """y = f(x) for the f of that name in NAMES."""
    return _run(what, True, x, x, slope)


def backward(what, dy, saved, slope=0.0):
    """dx = dy · f', from what forward saved: y for ReLU, sigmoid and tanh, x for the others."""
    return _run(what, False, dy, saved, slope)
