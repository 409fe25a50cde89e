"""Convolution and pooling on the fast kernels: what is checked, lowered and chosen.

Compiled code does not test its indices: the shapes are tested here, once. One and two axes are
three axes of which the first have length one, so every kernel is compiled once for all three.
Then `conv_*` call the kernel that `choice` names: `depthwise`, `winograd` (with
`winograd_gradient`), `direct` (with `input_gradient` and `weight_gradient`) or `loops`.
"""

import numpy as np

from nn.kernels import (
    choice,
    current,
    depthwise,
    direct,
    input_gradient,
    loops,
    pooling,
    spread,
    threads,
    weight_gradient,
    winograd,
    winograd_gradient,
)
from nn.kernels.aligned import aligned_empty
from nn.kernels.channels import narrowed, widened
from nn.kernels.prepare import PLAIN, expect_shape, plain, prepared
from nn.kernels.reference import output_size, winner_dtype

LOOP_SHARES = 32  # the sums into which `loops` and `depthwise` divide the weight gradient


def _3d(array):
    """(N, *S, C) with the missing axes, of length one, put in front of S."""
    return array.reshape(array.shape[:1] + (1,) * (5 - array.ndim) + array.shape[1:])


def _3d_weight(w):
    return w.reshape((1,) * (5 - w.ndim) + w.shape)


def _3d_window(*settings):
    """One entry per axis, as three: 1 for the missing axes."""
    return [(1,) * (3 - len(s)) + tuple(int(v) for v in s) for s in settings]


def _before(padding):
    """The zeros in front of the first input. Those behind the last follow from the sizes."""
    return (0,) * (3 - len(padding)) + tuple(int(p[0]) for p in padding)


# ---- convolution ------------------------------------------------------------------------


def conv_forward(x, w, b, stride, padding, dilation, groups):
    """See `reference.conv_forward`."""
    x, w = prepared(x, w)
    N, *S, C_in = x.shape
    *K, C, C_out = w.shape
    expect_shape("x", x, (N, *S, C * groups))
    b = np.zeros(C_out, x.dtype) if b is None else plain(b, x.dtype)
    expect_shape("b", b, (C_out,))
    S_out = output_size(S, K, stride, padding, dilation)
    y = aligned_empty((N, *S_out, C_out), x.dtype)
    before = _before(padding)
    x, y3, w = _3d(x), _3d(y), _3d_weight(w)
    stride, dilation = _3d_window(stride, dilation)
    kind = _choose(N, S_out, K, stride, dilation, C, C_out, groups)
    if kind == "depthwise":
        x, w, b = (widened(a) for a in (_repeated(x, C_out // C_in), w[..., 0, :], b))
        y3 = widened(y3)
        depthwise.convolve(x, w, b, stride, before, dilation, y3)
        return narrowed(y3, C_out).reshape(y.shape)
    elif kind == "winograd":
        winograd.convolve(x, w, b, before, dilation[1:], y3)
    elif kind == "loops":
        threads.run(loops.conv_forward, x, w, b, stride, before, dilation, groups, y3)
    else:
        x, stride = _thinned(x, w.shape, stride, before)
        x, y3 = _flattened(w.shape, stride, x, y3)
        direct.convolve(x, _grouped(w, groups), b, stride, before, dilation, y3)
    return y


def conv_backward_input(dy, w, input_size, stride, padding, dilation, groups, b=None):
    """See `reference.conv_backward_input`."""
    dy, w = prepared(dy, w)
    b = None if b is None else plain(b, dy.dtype)
    *K, C, C_out = w.shape
    N, C_in = len(dy), C * groups
    S_out = output_size(input_size, K, stride, padding, dilation)
    expect_shape("dy", dy, (N, *S_out, C_out))
    before = _before(padding)
    dy, w = _3d(dy), _3d_weight(w)
    stride, dilation = _3d_window(stride, dilation)
    kind = _choose(N, input_size, K, stride, dilation, C, C_out, groups)
    if kind == "depthwise":
        dy, w = widened(dy), widened(w[..., 0, :])
        dx = aligned_empty((N, *input_size, dy.shape[-1]), dy.dtype)
        depthwise.backward_input(dy, w, stride, before, dilation, _3d(dx))
        dx = narrowed(dx, C_out)
        dx = dx if C_in == C_out else dx.reshape(*dx.shape[:-1], C_in, -1).sum(axis=-1)
        return dx if b is None else dx + b
    dx = aligned_empty((N, *input_size, C_in), dy.dtype)
    if kind == "winograd":
        turned = w[::-1, ::-1, ::-1].swapaxes(-1, -2)
        before = _turned(before, w.shape, dilation)
        winograd.convolve(dy, turned, b, before, dilation[1:], _3d(dx))
    elif kind == "direct" and spread.suits(K, C, groups):
        spread.backward_input(dy, w, stride, before, dilation, _3d(dx))
        dx = dx if b is None else dx + b
    elif kind == "loops":
        threads.run(loops.conv_backward_input, dy, w, stride, before, dilation, groups, _3d(dx))
        dx = dx if b is None else dx + b
    else:
        dy, dx3 = _flattened(w.shape, stride, dy, _3d(dx))
        input_gradient.backward_input(dy, _grouped(w, groups), b, stride, before, dilation, dx3)
    return dx


def conv_backward_weight(dy, x, kernel_size, stride, padding, dilation, groups):
    """See `reference.conv_backward_weight`."""
    dy, x = prepared(dy, x)
    N, *S, C_in = x.shape
    C, C_out = C_in // groups, dy.shape[-1]
    S_out = output_size(S, kernel_size, stride, padding, dilation)
    expect_shape("dy", dy, (N, *S_out, C_out))
    before = _before(padding)
    x, dy = _3d(x), _3d(dy)
    K, stride, dilation = _3d_window(kernel_size, stride, dilation)
    kind = _choose(N, S_out, K, stride, dilation, C, C_out, groups)
    if kind == "depthwise":
        dy, x = widened(dy), widened(_repeated(x, C_out // C_in))
        shares = aligned_empty((LOOP_SHARES, *K, x.shape[-1]), x.dtype)
        threads.run(depthwise.backward_weight, dy, x, stride, before, dilation, shares)
        dw = narrowed(shares.sum(axis=0), C_out)
    elif kind == "winograd":
        dw = winograd_gradient.backward_weight(dy, x, K, before, dilation[1:])
    elif kind == "loops":
        shares = np.zeros((LOOP_SHARES, *K, C, C_out), x.dtype)
        threads.run(loops.conv_backward_weight, dy, x, stride, before, dilation, groups, shares)
        dw = shares.sum(axis=0)
    else:
        x, stride = _thinned(x, K, stride, before)
        x, dy = _flattened(K, stride, x, dy)
        dw = weight_gradient.backward_weight(dy, x, K, stride, before, dilation, groups)
    return dw.reshape(*kernel_size, C, C_out)


def _choose(N, size, K, stride, dilation, C, C_out, groups):
    size = (1,) * (3 - len(size)) + tuple(size)
    K, outputs = (1,) * (3 - len(K)) + tuple(K), C_out // groups
    return choice.choose(current(), N, size, K, stride, dilation, C, outputs, groups).name


def _turned(before, kernel_size, dilation):
    """The zeros in front of dy when the kernel is turned round."""
    window = zip(kernel_size[:3], before, dilation, strict=True)
    return tuple((k - 1) * d - b for k, b, d in window)


def _repeated(x, outputs):
    """Each channel as often as it has outputs."""
    return x if outputs == 1 else np.repeat(x, outputs, axis=-1)


def _grouped(w, groups):
    """The output channels of a weight as (groups, outputs of one group)."""
    return w.reshape(*w.shape[:-1], groups, w.shape[-1] // groups)


def _thinned(x, kernel_size, stride, before):
    """A kernel of one tap sees only every stride-th input: leave the others out."""
    steps = tuple(
        s if k == 1 and b == 0 else 1
        for k, s, b in zip(kernel_size[:3], stride, before, strict=True)
    )
    x = np.ascontiguousarray(x[:, :: steps[0], :: steps[1], :: steps[2]])
    return x, tuple(s // step for s, step in zip(stride, steps, strict=True))


def _flattened(kernel_size, stride, x, y):
    """Lay axes end to end along which outputs and inputs correspond one to one.

    A 1×1 convolution is a product of two matrices; the tiles fill best when its rows are one
    long axis. The same is true of height and width under a kernel along time alone.
    """
    one_to_one = [
        k == s == 1 and a == b
        for k, s, a, b in zip(kernel_size[:3], stride, x.shape[1:4], y.shape[1:4], strict=True)
    ]
    if all(one_to_one):
        return [a.reshape(1, 1, 1, -1, a.shape[-1]) for a in (x, y)]
    if all(one_to_one[1:]):
        return [a.reshape(*a.shape[:2], 1, -1, a.shape[-1]) for a in (x, y)]
    return x, y


# ---- pooling ----------------------------------------------------------------------------


def max_pool_forward(x, kernel_size, stride, padding):
    """See `reference.max_pool_forward`."""
    (x,) = prepared(x)
    return _pool_forward(x, kernel_size, stride, padding, winner_dtype(kernel_size), True)


def max_pool_backward(dy, winner, input_size, kernel_size, stride, padding):
    """See `reference.max_pool_backward`."""
    expect_shape("winner", winner, dy.shape)
    winner = np.require(winner, winner_dtype(kernel_size), PLAIN)
    return _pool_backward(dy, winner, input_size, kernel_size, stride, padding, True)


def avg_pool_forward(x, kernel_size, stride, padding):
    """See `reference.avg_pool_forward`."""
    (x,) = prepared(x)
    return _pool_forward(x, kernel_size, stride, padding, np.uint8, False)[0]


def avg_pool_backward(dy, input_size, kernel_size, stride, padding):
    """See `reference.avg_pool_backward`."""
    nobody = np.zeros((0,) * dy.ndim, np.uint8)
    return _pool_backward(dy, nobody, input_size, kernel_size, stride, padding, False)


def _pool_forward(x, kernel_size, stride, padding, winner_type, is_max):
    C = x.shape[-1]
    x = widened(x)
    y = aligned_empty(_pooled_shape(x.shape, kernel_size, stride, padding), x.dtype)
    winner = aligned_empty(y.shape if is_max else (0,) * y.ndim, winner_type)
    window = _3d_window(kernel_size, stride)
    threads.run(pooling.forward, _3d(x), *window, _before(padding), _3d(y), _3d(winner), is_max)
    return narrowed(y, C), narrowed(winner, C)


def _pool_backward(dy, winner, input_size, kernel_size, stride, padding, is_max):
    (dy,) = prepared(dy)
    C = dy.shape[-1]
    shape = (len(dy), *input_size, C)
    expect_shape("dy", dy, _pooled_shape(shape, kernel_size, stride, padding))
    dy, winner = widened(dy), widened(winner, dy.dtype) if is_max else winner
    dx = aligned_empty((*shape[:-1], dy.shape[-1]), dy.dtype)
    window = _3d_window(kernel_size, stride)
    threads.run(pooling.backward, _3d(dy), _3d(winner), *window, _before(padding), _3d(dx), is_max)
    return narrowed(dx, C)


def _pooled_shape(shape, kernel_size, stride, padding):
    N, *S, C = shape
    return (N, *output_size(S, kernel_size, stride, padding, (1,) * len(S)), C)
