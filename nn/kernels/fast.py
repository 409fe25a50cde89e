"""The fast kernels behind the signatures of `reference`: what is checked, and handed on.

Convolution and pooling are in `fast_windows`, all else is here.
"""

import numpy as np

from nn.kernels import (
    attention,
    cross_entropy,
    dense,
    elementwise,
    norms,
    product,
    reference,
    repeated,
    threads,
    update,
)
from nn.kernels.aligned import aligned_empty, flat_view
from nn.kernels.cpu import VECTOR_BYTES
from nn.kernels.fast_windows import (  # noqa: F401
    avg_pool_backward,
    avg_pool_forward,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    max_pool_backward,
    max_pool_forward,
)
from nn.kernels.prepare import PLAIN, expect_shape, plain, prepared

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
    x, w = prepared(x, w)
    if dense.suits(len(x), *w.shape, x.dtype):
        y = dense.forward(x, w)
        return y if b is None else np.add(y, b, out=y)
    return _product(x, w, b)


def dense_backward_input(dy, w):
    """See `reference.dense_backward_input`."""
    dy, w = prepared(dy, w)
    tiles = dense.suits(len(dy), *w.shape, dy.dtype)
    return dense.backward_input(dy, w) if tiles else _product(dy, w.T)


def dense_backward_weight(dy, x):
    """See `reference.dense_backward_weight`."""
    dy, x = prepared(dy, x)
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
    (a,) = prepared(a)
    return norms.add_rows(a.reshape(-1, a.shape[-1]))


def moments(x):
    """See `reference.moments`."""
    return norms.moments(*prepared(x))


def gradient_sums(dy, x, mean, r):
    """See `reference.gradient_sums`."""
    dy, x = prepared(dy, x)
    expect_shape("dy", dy, x.shape)
    of_dy, of_product = norms.gradients(dy, x, mean)
    return of_dy, of_product * r


def normalize(x, mean, r, gain, shift):
    """See `reference.normalize`."""
    return norms.scale(*prepared(x), mean, r * gain, shift)


def normalize_backward(dy, x, mean, r, gain, along_shift, along_stretch):
    """See `reference.normalize_backward`. The factor r is multiplied into its three terms."""
    dy, x = prepared(dy, x)
    expect_shape("dy", dy, x.shape)
    terms = r * gain, r * along_shift, r * r * along_stretch
    return norms.unscale(dy, x, mean, *terms)


def normalize_rows(x, gain, shift, eps):
    """See `reference.normalize_rows`."""
    return norms.rows_forward(*prepared(x), gain, shift, eps)


def normalize_rows_backward(dy, x, mean, r, gain):
    """See `reference.normalize_rows_backward`."""
    dy, x = prepared(dy, x)
    expect_shape("dy", dy, x.shape)
    return norms.rows_backward(dy, x, mean, r, gain)


# ---- activations ------------------------------------------------------------------------


def activate(name, x, slope=0.0):
    """See `reference.activate`, which does all but float32 and float64."""
    if x.dtype not in (np.float32, np.float64):
        return reference.activate(name, x, slope)
    return elementwise.forward(name, *prepared(x), slope)


def activate_backward(name, dy, saved, slope=0.0):
    """See `reference.activate_backward`, which does all but float32 and float64."""
    if np.result_type(dy, saved) not in (np.float32, np.float64):
        return reference.activate_backward(name, dy, saved, slope)
    dy, saved = prepared(dy, saved)
    expect_shape("dy", dy, saved.shape)
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
    expect_shape("ids", ids, z.shape[:1])
    expect_shape("w", w, z.shape[1:])
    return plain(z, z.dtype), plain(ids, np.int64), plain(w, z.dtype)


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
    log_sum = plain(log_sum.swapaxes(1, 2), a.dtype)
    _, backward = attention.kernels_for(T_q, D, D_v, VECTOR_BYTES // a.itemsize)
    _attend(backward, arrays, (T_q, T_k, D, D_v), scale, visible, causal, log_sum)
    return into


def _heads(*arrays):
    """The arrays (N, H, T, D) in one type; the features of a head are neighbours in memory."""
    dtype = np.result_type(*arrays)
    if dtype not in (np.float32, np.float64):
        prepared(*arrays)  # says so
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
