"""The fast kernels behind the signatures of `reference`: what is checked, lowered and chosen.

One and two axes are three axes of which the first have length one, so every kernel is compiled
once for all three. Compiled code does not test its indices; the shapes are tested here, once.
"""

import numpy as np

from nn.kernels import depthwise, loops, pooling
from nn.kernels.reference import output_size

# Into how many sums the weight gradient is divided. Fixed, so that the order of summation, and
# with it every bit of the result, is the same for any number of threads.
SHARES = 32


def _prepared(*arrays):
    """The arrays in one dtype, float32 or float64, each in one plain block of memory."""
    dtype = np.result_type(*arrays)
    if dtype not in (np.float32, np.float64):
        raise TypeError(
            f"the fast kernels take float32 or float64, got {dtype}: "
            "convert the arrays first, for example with x.astype(np.float32)"
        )
    return [np.require(a, dtype, ["C", "ALIGNED", "WRITEABLE"]) for a in arrays]


def _expect_shape(name, array, shape):
    if array.shape != tuple(shape):
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {array.shape}")


def _3d(array):
    """(N, *S, C) or (*S, C) with missing axes of length one put in front of S."""
    missing = 5 - array.ndim
    return array.reshape(array.shape[:1] + (1,) * missing + array.shape[1:])


def _3d_weight(w):
    return w.reshape((1,) * (5 - w.ndim) + w.shape)


def _3d_window(*settings):
    """One entry per axis, as three: 1 for the missing ones."""
    return [(1,) * (3 - len(s)) + tuple(int(v) for v in s) for s in settings]


def _before(padding):
    """The zeros in front of the first input. Those behind the last are known by the sizes."""
    return (0,) * (3 - len(padding)) + tuple(int(p[0]) for p in padding)


def _is_depthwise(C_group, groups):
    return C_group == 1 and groups > 1


# ---- convolution ------------------------------------------------------------------------


def conv_forward(x, w, b, stride, padding, dilation, groups):
    """See `reference.conv_forward`."""
    x, w = _prepared(x, w)
    N, *S, C_in = x.shape
    *K, C_group, C_out = w.shape
    _expect_shape("x", x, (N, *S, C_group * groups))
    S_out = output_size(S, K, stride, padding, dilation)
    before = _before(padding)
    stride, dilation = _3d_window(stride, dilation)
    y = np.zeros((N, *S_out, C_out), x.dtype)
    if b is not None:
        y += b
    if _is_depthwise(C_group, groups):
        x = _repeated(x, C_out // C_in)
        w = _3d_weight(w)[..., 0, :]  # (P, Q, R, C_out)
        depthwise.forward(_3d(x), w, stride, before, dilation, _3d(y))
    else:
        loops.conv_forward(_3d(x), _3d_weight(w), stride, before, dilation, groups, _3d(y))
    return y


def conv_backward_input(dy, w, input_size, stride, padding, dilation, groups):
    """See `reference.conv_backward_input`."""
    dy, w = _prepared(dy, w)
    *K, C_group, C_out = w.shape
    N, C_in = len(dy), C_group * groups
    S_out = output_size(input_size, K, stride, padding, dilation)
    _expect_shape("dy", dy, (N, *S_out, C_out))
    before = _before(padding)
    stride, dilation = _3d_window(stride, dilation)
    if _is_depthwise(C_group, groups):
        dx = np.zeros((N, *input_size, C_out), dy.dtype)
        w = _3d_weight(w)[..., 0, :]
        depthwise.backward_input(_3d(dy), w, stride, before, dilation, _3d(dx))
        return dx.reshape(N, *input_size, C_in, C_out // C_in).sum(axis=-1)
    dx = np.zeros((N, *input_size, C_in), dy.dtype)
    loops.conv_backward_input(_3d(dy), _3d_weight(w), stride, before, dilation, groups, _3d(dx))
    return dx


def conv_backward_weight(dy, x, kernel_size, stride, padding, dilation, groups):
    """See `reference.conv_backward_weight`."""
    dy, x = _prepared(dy, x)
    N, *S, C_in = x.shape
    C_out = dy.shape[-1]
    S_out = output_size(S, kernel_size, stride, padding, dilation)
    _expect_shape("dy", dy, (N, *S_out, C_out))
    before = _before(padding)
    K, stride, dilation = _3d_window(kernel_size, stride, dilation)
    C_group = C_in // groups
    if _is_depthwise(C_group, groups):
        shares = np.zeros((SHARES, *K, C_out), x.dtype)
        x = _repeated(x, C_out // C_in)
        depthwise.backward_weight(_3d(dy), _3d(x), stride, before, dilation, shares)
    else:
        shares = np.zeros((SHARES, *K, C_group, C_out), x.dtype)
        loops.conv_backward_weight(_3d(dy), _3d(x), stride, before, dilation, groups, shares)
    dw = shares.sum(axis=0)
    return dw.reshape(*kernel_size, C_group, C_out)


def _repeated(x, outputs):
    """Each channel as often as it has outputs."""
    return x if outputs == 1 else np.repeat(x, outputs, axis=-1)


# ---- pooling ----------------------------------------------------------------------------


def max_pool_forward(x, kernel_size, stride, padding):
    """See `reference.max_pool_forward`."""
    (x,) = _prepared(x)
    y = np.empty(_pooled_shape(x.shape, kernel_size, stride, padding), x.dtype)
    winner = np.empty(y.shape, np.int32)
    window = _3d_window(kernel_size, stride)
    pooling.max_forward(_3d(x), *window, _before(padding), _3d(y), _3d(winner))
    return y, winner


def max_pool_backward(dy, winner, input_size, kernel_size, stride, padding):
    """See `reference.max_pool_backward`."""
    _expect_shape("winner", winner, dy.shape)
    winner = np.require(winner, np.int32, ["C", "ALIGNED", "WRITEABLE"])
    return _pool_backward(dy, winner, input_size, kernel_size, stride, padding, True)


def avg_pool_forward(x, kernel_size, stride, padding):
    """See `reference.avg_pool_forward`."""
    (x,) = _prepared(x)
    y = np.zeros(_pooled_shape(x.shape, kernel_size, stride, padding), x.dtype)
    window = _3d_window(kernel_size, stride)
    pooling.average_forward(_3d(x), *window, _before(padding), _3d(y))
    return y


def avg_pool_backward(dy, input_size, kernel_size, stride, padding):
    """See `reference.avg_pool_backward`."""
    nobody = np.zeros((0,) * dy.ndim, np.int32)
    return _pool_backward(dy, nobody, input_size, kernel_size, stride, padding, False)


def _pool_backward(dy, winner, input_size, kernel_size, stride, padding, is_max):
    (dy,) = _prepared(dy)
    shape = (len(dy), *input_size, dy.shape[-1])
    _expect_shape("dy", dy, _pooled_shape(shape, kernel_size, stride, padding))
    dx = np.zeros(shape, dy.dtype)
    window = _3d_window(kernel_size, stride)
    pooling.backward(_3d(dy), _3d(winner), *window, _before(padding), _3d(dx), is_max)
    return dx


def _pooled_shape(shape, kernel_size, stride, padding):
    N, *S, C = shape
    return (N, *output_size(S, kernel_size, stride, padding, (1,) * len(S)), C)
