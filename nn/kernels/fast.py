"""The fast kernels behind the signatures of `reference`: what is checked, lowered and chosen.

Compiled code does not test its indices: the shapes are tested here, once. One and two axes are
three axes of which the first have length one, so every kernel is compiled once for all three.
Then `conv_*` call the kernel that `choice` names: `depthwise`, `winograd` (with
`winograd_gradient`), `direct` (with `input_gradient` and `weight_gradient`) or `loops`.
"""

import numpy as np

from nn.kernels import (
    attention,
    choice,
    cross_entropy,
    current,
    dense,
    depthwise,
    direct,
    elementwise,
    input_gradient,
    loops,
    norms,
    pooling,
    product,
    reference,
    repeated,
    spread,
    threads,
    update,
    weight_gradient,
    winograd,
    winograd_gradient,
)
from nn.kernels.aligned import aligned_empty, flat_view
from nn.kernels.channels import narrowed, widened
from nn.kernels.cpu import VECTOR_BYTES
from nn.kernels.reference import output_size, winner_dtype

PLAIN = ["C", "ALIGNED", "WRITEABLE"]  # (Numba compiles anew for read-only arrays)
LOOP_SHARES = 32  # the sums into which `loops` and `depthwise` divide the weight gradient


def _prepared(*arrays):
    """The arrays in one dtype, float32 or float64, each in one plain block of memory."""
    dtype = np.result_type(*arrays)
    if dtype not in (np.float32, np.float64):
        raise TypeError(
            f"the fast kernels take float32 or float64, got {dtype}: "
            "convert the arrays first, for example with x.astype(np.float32)"
        )
    return [_plain(a, dtype) for a in arrays]


def _plain(a, dtype):
    """np.require(a, dtype, PLAIN), quicker where there is nothing to do."""
    return a if a.flags.carray and a.dtype == dtype else np.require(a, dtype, PLAIN)


def _expect_shape(name, array, shape):
    if array.shape != tuple(shape):
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {array.shape}")


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
    x, w = _prepared(x, w)
    N, *S, C_in = x.shape
    *K, C, C_out = w.shape
    _expect_shape("x", x, (N, *S, C * groups))
    b = np.zeros(C_out, x.dtype) if b is None else _plain(b, x.dtype)
    _expect_shape("b", b, (C_out,))
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
    dy, w = _prepared(dy, w)
    b = None if b is None else _plain(b, dy.dtype)
    *K, C, C_out = w.shape
    N, C_in = len(dy), C * groups
    S_out = output_size(input_size, K, stride, padding, dilation)
    _expect_shape("dy", dy, (N, *S_out, C_out))
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
    dy, x = _prepared(dy, x)
    N, *S, C_in = x.shape
    C, C_out = C_in // groups, dy.shape[-1]
    S_out = output_size(S, kernel_size, stride, padding, dilation)
    _expect_shape("dy", dy, (N, *S_out, C_out))
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
    (x,) = _prepared(x)
    return _pool_forward(x, kernel_size, stride, padding, winner_dtype(kernel_size), True)


def max_pool_backward(dy, winner, input_size, kernel_size, stride, padding):
    """See `reference.max_pool_backward`."""
    _expect_shape("winner", winner, dy.shape)
    winner = np.require(winner, winner_dtype(kernel_size), PLAIN)
    return _pool_backward(dy, winner, input_size, kernel_size, stride, padding, True)


def avg_pool_forward(x, kernel_size, stride, padding):
    """See `reference.avg_pool_forward`."""
    (x,) = _prepared(x)
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
    (dy,) = _prepared(dy)
    C = dy.shape[-1]
    shape = (len(dy), *input_size, C)
    _expect_shape("dy", dy, _pooled_shape(shape, kernel_size, stride, padding))
    dy, winner = widened(dy), widened(winner, dy.dtype) if is_max else winner
    dx = aligned_empty((*shape[:-1], dy.shape[-1]), dy.dtype)
    window = _3d_window(kernel_size, stride)
    threads.run(pooling.backward, _3d(dy), _3d(winner), *window, _before(padding), _3d(dx), is_max)
    return narrowed(dx, C)


def _pooled_shape(shape, kernel_size, stride, padding):
    N, *S, C = shape
    return (N, *output_size(S, kernel_size, stride, padding, (1,) * len(S)), C)


# ---- dense layers -----------------------------------------------------------------------
#
# Three ways: large layers at a small batch (`dense`), sizes for which NumPy would wake threads of
# its own (`product`), and NumPy's product for what is small.


def _product(a, b, bias=None):
    """a @ b + bias, a and b in any order of memory."""
    if product.suits(len(a), *b.shape, a.dtype):
        return product.product(a, b, bias)
    y = np.matmul(a, b, out=aligned_empty((len(a), b.shape[1]), a.dtype))
    if bias is not None:
        y += bias
    return y


def dense_forward(x, w, b=None):
    """See `reference.dense_forward`."""
    x, w = _prepared(x, w)
    if dense.suits(len(x), *w.shape, x.dtype):
        y = dense.forward(x, w)
        return y if b is None else np.add(y, b, out=y)
    return _product(x, w, b)


def dense_backward_input(dy, w):
    """See `reference.dense_backward_input`."""
    dy, w = _prepared(dy, w)
    tiles = dense.suits(len(dy), *w.shape, dy.dtype)
    return dense.backward_input(dy, w) if tiles else _product(dy, w.T)


def dense_backward_weight(dy, x):
    """See `reference.dense_backward_weight`."""
    dy, x = _prepared(dy, x)
    tiles = dense.suits(len(x), x.shape[1], dy.shape[1], x.dtype)
    return dense.backward_weight(x, dy) if tiles else _product(x.T, dy)


def repeated_product(w, times):
    """See `reference.repeated_product`. w must not change while the function is in use."""
    if not repeated.suits(*w.shape, times, w.dtype):
        return lambda x: x @ w
    panels = repeated.pack(w)

    def times_w(x):
        if len(x) < repeated.SHORT or x.dtype != w.dtype:
            return x @ w
        return repeated.product(np.require(x, None, PLAIN), panels)

    return times_w


# ---- sums over rows, and norms ----------------------------------------------------------


def add_rows(a):
    """See `reference.add_rows`."""
    (a,) = _prepared(a)
    return norms.add_rows(a.reshape(-1, a.shape[-1]))


def moments(x):
    """See `reference.moments`."""
    return norms.moments(*_prepared(x))


def gradient_sums(dy, x, mean, r):
    """See `reference.gradient_sums`."""
    dy, x = _prepared(dy, x)
    _expect_shape("dy", dy, x.shape)
    of_dy, of_product = norms.gradients(dy, x, mean)
    return of_dy, of_product * r


def normalize(x, mean, r, gain, shift):
    """See `reference.normalize`."""
    return norms.scale(*_prepared(x), mean, r * gain, shift)


def normalize_backward(dy, x, mean, r, gain, along_shift, along_stretch):
    """See `reference.normalize_backward`. The factor r is multiplied into its three terms."""
    dy, x = _prepared(dy, x)
    _expect_shape("dy", dy, x.shape)
    terms = r * gain, r * along_shift, r * r * along_stretch
    return norms.unscale(dy, x, mean, *terms)


def normalize_rows(x, gain, shift, eps):
    """See `reference.normalize_rows`."""
    return norms.rows_forward(*_prepared(x), gain, shift, eps)


def normalize_rows_backward(dy, x, mean, r, gain):
    """See `reference.normalize_rows_backward`."""
    dy, x = _prepared(dy, x)
    _expect_shape("dy", dy, x.shape)
    return norms.rows_backward(dy, x, mean, r, gain)


# ---- activations ------------------------------------------------------------------------


def activate(name, x, slope=0.0):
    """See `reference.activate`, which does all but float32 and float64."""
    if x.dtype not in (np.float32, np.float64):
        return reference.activate(name, x, slope)
    return elementwise.forward(name, *_prepared(x), slope)


def activate_backward(name, dy, saved, slope=0.0):
    """See `reference.activate_backward`, which does all but float32 and float64."""
    if np.result_type(dy, saved) not in (np.float32, np.float64):
        return reference.activate_backward(name, dy, saved, slope)
    dy, saved = _prepared(dy, saved)
    _expect_shape("dy", dy, saved.shape)
    return elementwise.backward(name, dy, saved, slope)


# ---- cross-entropy ----------------------------------------------------------------------


def cross_entropy_forward(z, labels, w, smoothing):
    """See `reference.cross_entropy_forward`, which does all but class ids."""
    if labels.ndim == 2 or z.dtype not in (np.float32, np.float64):
        return reference.cross_entropy_forward(z, labels, w, smoothing)
    return cross_entropy.forward(*_of_ids(z, labels, w), smoothing)


def cross_entropy_backward(z, labels, w, smoothing, top, total, divisor):
    """See `reference.cross_entropy_backward`, which does all but class ids."""
    if labels.ndim == 2 or z.dtype not in (np.float32, np.float64):
        return reference.cross_entropy_backward(z, labels, w, smoothing, top, total, divisor)
    return cross_entropy.backward(*_of_ids(z, labels, w), smoothing, top, total, divisor)


def _of_ids(z, ids, w):
    _expect_shape("ids", ids, z.shape[:1])
    _expect_shape("w", w, z.shape[1:])
    return _plain(z, z.dtype), _plain(ids, np.int64), _plain(w, z.dtype)


# ---- optimisers -------------------------------------------------------------------------
#
# They change arrays in place, so nothing may be copied on the way: what is not a plain block of
# memory, or of another type, is the reference's.


def sgd(theta, grad, velocity, *settings):
    """See `reference.sgd`."""
    rule = update.sgd if update.suits(theta, grad, velocity) else reference.sgd
    rule(theta, grad, velocity, *settings)


def rmsprop(theta, grad, square, mean, velocity, *settings):
    """See `reference.rmsprop`."""
    arrays = theta, grad, square, mean, velocity
    rule = update.rmsprop if update.suits(*arrays) else reference.rmsprop
    rule(*arrays, *settings)


def adam(theta, grad, mean, square, *settings):
    """See `reference.adam`."""
    arrays = theta, grad, mean, square
    rule = update.adam if update.suits(*arrays) else reference.adam
    rule(*arrays, *settings)


# ---- attention --------------------------------------------------------------------------

ALL_SEEN = np.zeros((0, 0, 0, 0), bool)


def attention_forward(a, b, v, visible=None, causal=False, scale=1.0):
    """See `lean_attention.attention_forward`."""
    a, b, v = _heads(a, b, v)
    (N, H, T_q, D), (*_, T_k, D_v) = a.shape, v.shape
    y = aligned_empty((N, T_q, H, D_v), a.dtype).swapaxes(1, 2)  # as a dense layer wants it
    log_sum = np.empty((N, T_q, H), a.dtype)
    forward, _ = attention.kernels_for(T_q, D, D_v, VECTOR_BYTES // a.itemsize)
    _attend(forward, (a, b, v, y), (T_q, T_k, D, D_v), scale, visible, causal, log_sum)
    return y, log_sum.swapaxes(1, 2)


def attention_backward(dy, a, b, v, y, log_sum, visible=None, causal=False, scale=1.0, into=None):
    """See `lean_attention.attention_backward`."""
    dy, a, b, v, y = _heads(dy, a, b, v, y)
    (*_, T_q, D), (*_, T_k, D_v) = a.shape, v.shape
    if into is None:
        into = tuple(np.empty_like(array) for array in (a, b, v))
    arrays = (dy, a, b, v, y, *into)
    log_sum = _plain(log_sum.swapaxes(1, 2), a.dtype)
    _, backward = attention.kernels_for(T_q, D, D_v, VECTOR_BYTES // a.itemsize)
    _attend(backward, arrays, (T_q, T_k, D, D_v), scale, visible, causal, log_sum)
    return into


def _heads(*arrays):
    """The arrays (N, H, T, D) in one type; the features of a head are neighbours in memory."""
    dtype = np.result_type(*arrays)
    if dtype not in (np.float32, np.float64):
        _prepared(*arrays)  # says so
    return [
        a if a.dtype == dtype and a.strides[-1] == a.itemsize and a.flags.writeable
        else np.require(a, dtype, PLAIN)
        for a in arrays
    ]  # fmt: skip


def _attend(kernel, arrays, sizes, scale, visible, causal, log_sum):
    flat = [flat_view(a) for a in arrays]
    steps = tuple([(s[0], s[2], s[1]) for _, _, s in flat])  # from clip, time and head to the next
    seen = ALL_SEEN if visible is None else np.require(visible, bool, PLAIN)
    scale = arrays[0].dtype.type(scale * attention.LOG2E)
    numbers = tuple([a for a, _, _ in flat])
    threads.run(kernel, numbers, steps, sizes, scale, seen, bool(causal), log_sum)
