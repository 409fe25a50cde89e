"""Every kernel as its equation, in NumPy, for any number of axes: the specification.

The fast kernels are tested against this file, and `nn.kernels.using("reference")` runs the
whole library on it. It is meant to be read first.

Arrays have their channels last. Letters: N clips, S the spatial sizes (of time, height and
width, as many as there are), K the kernel's sizes, C channels. A window is described by one
entry per axis: `stride`, `dilation`, and `padding` as pairs (before, after), so that one side
may have more than the other.

The trick that keeps everything short: do not loop over the outputs, loop over the *taps* of
the window. For one tap (p, q) the inputs that meet it, for all outputs at once, are one
strided slice of the padded input:

    x[:, p·dilation : … : stride, q·dilation : … : stride]        # (N, *S_out, C)
"""

import math

import numpy as np


def output_size(input_size, kernel_size, stride, padding, dilation):
    """How many positions a window finds on each axis.

    S_out = ⌊(S + before + after − dilation·(K − 1) − 1) / stride⌋ + 1
    """
    return tuple(
        (s + sum(p) - d * (k - 1) - 1) // step + 1
        for s, k, step, p, d in zip(input_size, kernel_size, stride, padding, dilation, strict=True)
    )


def taps(kernel_size, out_size, stride, dilation):
    """For each tap of the window, row-major: its index and the slice of inputs it meets."""
    for tap in np.ndindex(*kernel_size):
        first = [k * d for k, d in zip(tap, dilation, strict=True)]
        slices = tuple(
            slice(f, f + step * (n - 1) + 1, step)
            for f, step, n in zip(first, stride, out_size, strict=True)
        )
        yield tap, (slice(None), *slices)


def pad(x, padding, value=0.0):
    """Put `value` around x (N, *S, C) on the spatial axes."""
    if not any(map(any, padding)):
        return x
    return np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=value)


def unpad(x, padding):
    """Cut off what `pad` put on. (A slice 0:-0 would be empty, so count from the front.)"""
    inner = [slice(p[0], n - p[1]) for p, n in zip(padding, x.shape[1:-1], strict=True)]
    return x[(slice(None), *inner)]


# ---- convolution ------------------------------------------------------------------------


def conv_forward(x, w, b, stride, padding, dilation, groups):
    """Convolution (no flip, as in the article's §3.1.1, summed over input channels).

    y(i, j) = Σ_p Σ_q x(i·stride + p·dilation, j·stride + q·dilation) @ w(p, q) + b

    x (N, *S, C_in), w (*K, C_in // groups, C_out), b (C_out,) or None → y (N, *S_out, C_out).
    With groups, the g-th share of the input channels feeds the g-th share of the outputs.
    """
    if groups > 1:
        x_parts = np.split(x, groups, axis=-1)
        w_parts = np.split(w, groups, axis=-1)
        y = np.concatenate(
            [
                conv_forward(xg, wg, None, stride, padding, dilation, 1)
                for xg, wg in zip(x_parts, w_parts, strict=True)
            ],
            axis=-1,
        )
    else:
        kernel_size = w.shape[:-2]
        out_size = output_size(x.shape[1:-1], kernel_size, stride, padding, dilation)
        x = pad(x, padding)
        y = sum(
            x[window] @ w[tap]  # (N, *S_out, C_in) @ (C_in, C_out)
            for tap, window in taps(kernel_size, out_size, stride, dilation)
        )
    return y if b is None else y + b


def conv_backward_input(dy, w, input_size, stride, padding, dilation, groups, b=None):
    """The gradient for the input: every output hands its gradient back through each tap.

    dx(i·stride + p·dilation, …) += dy(i, …) @ w(p, …)ᵀ

    dy (N, *S_out, C_out), w (*K, C_in // groups, C_out) → dx (N, *input_size, C_in).

    b (C_in,) is added: as the forward pass of a transposed convolution this has a bias.
    """
    if b is not None:
        how = input_size, stride, padding, dilation, groups
        return conv_backward_input(dy, w, *how) + b
    if groups > 1:
        dy_parts = np.split(dy, groups, axis=-1)
        w_parts = np.split(w, groups, axis=-1)
        return np.concatenate(
            [
                conv_backward_input(dyg, wg, input_size, stride, padding, dilation, 1)
                for dyg, wg in zip(dy_parts, w_parts, strict=True)
            ],
            axis=-1,
        )
    N, *out_size, C_out = dy.shape
    *kernel_size, C_in, C_out = w.shape
    padded_size = [s + sum(p) for s, p in zip(input_size, padding, strict=True)]
    dx = np.zeros((N, *padded_size, C_in), dy.dtype)
    for tap, window in taps(kernel_size, out_size, stride, dilation):
        dx[window] += dy @ w[tap].T  # (N, *S_out, C_in)
    return unpad(dx, padding)


def conv_backward_weight(dy, x, kernel_size, stride, padding, dilation, groups):
    """The gradient for the weight: each tap sums input times output gradient over all places.

    dw(p, …) = Σ_n Σ_i x(n, i·stride + p·dilation, …)ᵀ @ dy(n, i, …)

    dy (N, *S_out, C_out), x (N, *S, C_in) → dw (*kernel_size, C_in // groups, C_out).
    """
    if groups > 1:
        x_parts = np.split(x, groups, axis=-1)
        dy_parts = np.split(dy, groups, axis=-1)
        return np.concatenate(
            [
                conv_backward_weight(dyg, xg, kernel_size, stride, padding, dilation, 1)
                for dyg, xg in zip(dy_parts, x_parts, strict=True)
            ],
            axis=-1,
        )
    N, *out_size, C_out = dy.shape
    C_in = x.shape[-1]
    x = pad(x, padding)
    dw = np.empty((*kernel_size, C_in, C_out), dy.dtype)
    dy_rows = dy.reshape(-1, C_out)  # (N·S_out, C_out)
    for tap, window in taps(kernel_size, out_size, stride, dilation):
        dw[tap] = x[window].reshape(-1, C_in).T @ dy_rows  # (C_in, C_out)
    return dw


# ---- pooling ----------------------------------------------------------------------------


def winner_dtype(kernel_size):
    """The smallest integers that can number the taps of a window: one byte up to 256 of them."""
    return np.min_scalar_type(math.prod(kernel_size) - 1)


def max_pool_forward(x, kernel_size, stride, padding):
    """Max pooling (article §3.1.2): y(i, j) = max_p max_q x(i·stride + p, j·stride + q).

    x (N, *S, C) → y (N, *S_out, C) and `winner`, of the same shape: which tap of the window
    won, counted row-major (see `winner_dtype`). The first wins a tie, padding never wins, NaN
    always does.
    """
    dilation = (1,) * len(kernel_size)
    out_size = output_size(x.shape[1:-1], kernel_size, stride, padding, dilation)
    rank = np.maximum(x, np.finfo(x.dtype).min)  # a real −∞ still ranks above the padding
    x, rank = pad(x, padding), pad(rank, padding, value=-np.inf)
    windows = list(taps(kernel_size, out_size, stride, dilation))
    winner = np.stack([rank[window] for _, window in windows]).argmax(axis=0)  # (N, *S_out, C)
    values = np.stack([x[window] for _, window in windows])
    y = np.take_along_axis(values, winner[None], axis=0)[0]
    return y, winner.astype(winner_dtype(kernel_size))


def max_pool_backward(dy, winner, input_size, kernel_size, stride, padding):
    """The winner of each window gets that window's gradient; the others get nothing.

    dy, winner (N, *S_out, C) → dx (N, *input_size, C). Where windows overlap, gradients add up.
    """
    N, *out_size, C = dy.shape
    dilation = (1,) * len(kernel_size)
    padded_size = [s + sum(p) for s, p in zip(input_size, padding, strict=True)]
    dx = np.zeros((N, *padded_size, C), dy.dtype)
    for k, (_, window) in enumerate(taps(kernel_size, out_size, stride, dilation)):
        dx[window] += dy * (winner == k)
    return unpad(dx, padding)


def avg_pool_forward(x, kernel_size, stride, padding):
    """Average pooling (article §3.1.2): y(i, j) = 1/(P·Q) Σ_p Σ_q x(i·stride + p, j·stride + q).

    x (N, *S, C) → y (N, *S_out, C). Padding counts as zeros: the divisor is always P·Q.
    """
    dilation = (1,) * len(kernel_size)
    out_size = output_size(x.shape[1:-1], kernel_size, stride, padding, dilation)
    x = pad(x, padding)
    total = sum(x[window] for _, window in taps(kernel_size, out_size, stride, dilation))
    return total / np.asarray(np.prod(kernel_size), x.dtype)


def avg_pool_backward(dy, input_size, kernel_size, stride, padding):
    """Each input of a window gets an equal share, 1/(P·Q), of that window's gradient.

    dy (N, *S_out, C) → dx (N, *input_size, C).
    """
    N, *out_size, C = dy.shape
    dilation = (1,) * len(kernel_size)
    padded_size = [s + sum(p) for s, p in zip(input_size, padding, strict=True)]
    dx = np.zeros((N, *padded_size, C), dy.dtype)
    share = dy / np.asarray(np.prod(kernel_size), dy.dtype)
    for _, window in taps(kernel_size, out_size, stride, dilation):
        dx[window] += share
    return unpad(dx, padding)


# ---- dense layers -----------------------------------------------------------------------


def dense_forward(x, w, b=None):
    """y = x @ w + b: x (M, D_in), w (D_in, D_out), b (D_out,) → y (M, D_out). Article §3.1.3."""
    return x @ w if b is None else x @ w + b


def dense_backward_input(dy, w):
    """dx = dy @ wᵀ: each input reached every output through its row of w. → (M, D_in)."""
    return dy @ w.T


def dense_backward_weight(dy, x):
    """dw = xᵀ @ dy: summed over the M rows. → (D_in, D_out)."""
    return x.T @ dy


def repeated_product(w, times):
    """The function x ↦ x @ w, made ready for so many calls with few rows each: (M, K) → (M, N)."""
    return lambda x: x @ w


# ---- sums over rows, and norms ----------------------------------------------------------


def add_rows(a):
    """Σ over all axes but the last: (..., C) → (C,)."""
    return a.reshape(-1, a.shape[-1]).sum(axis=0, dtype=np.float64).astype(a.dtype)


def moments(x):
    """Mean and variance of each clip and channel: x (B, R, C) → (B, C) each, float64.

    A float32 sum of a million values is right to three or four digits only, since each is
    rounded to what the sum so far can hold.
    """
    x = x.astype(np.float64)
    return x.mean(axis=1), x.var(axis=1)


def gradient_sums(dy, x, mean, r):
    """Σ_r dy and Σ_r dy x̂ with x̂ = (x − mean) · r: (B, C) each, float64."""
    x_hat = (x - mean[:, None]) * r[:, None]
    return dy.sum(axis=1, dtype=np.float64), (dy * x_hat).sum(axis=1, dtype=np.float64)


def normalize(x, mean, r, gain, shift):
    """y = γ x̂ + β with x̂ = (x − mean) · r: x (B, R, C), mean and r (B, C), γ and β (C,)."""
    return (x - mean[:, None]) * r[:, None] * gain + shift


def normalize_backward(dy, x, mean, r, gain, along_shift, along_stretch):
    """dx = r · (dx̂ − along_shift − x̂ · along_stretch) with dx̂ = γ dy.

    The last two are the means of dx̂ and of dx̂ x̂ over all that share a mean, (B, C): every x
    moves its own x̂, and through the mean and the variance all others a little.
    """
    r = r[:, None]
    x_hat = (x - mean[:, None]) * r
    along_shift, along_stretch = (a.astype(dy.dtype) for a in (along_shift, along_stretch))
    return r * (gain * dy - along_shift[:, None] - x_hat * along_stretch[:, None])


def normalize_rows(x, gain, shift, eps):
    """y = γ x̂ + β with x̂ = (x − mean) · r, each row of x (M, C) by itself → y, mean, r.

    mean and r = 1 / √(var + ε) are (M, 1).
    """
    mean = x.mean(axis=-1, keepdims=True, dtype=np.float64)
    r = 1 / np.sqrt(x.var(axis=-1, keepdims=True, dtype=np.float64) + eps)
    mean, r = mean.astype(x.dtype), r.astype(x.dtype)
    return (x - mean) * r * gain + shift, mean, r


def normalize_rows_backward(dy, x, mean, r, gain):
    """dx = r · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ x̂)) with dx̂ = γ dy, row by row; and dγ, dβ."""
    x_hat = (x - mean) * r
    dx_hat = dy * gain
    along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = r * (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat * along)
    return dx, add_rows(dy * x_hat), add_rows(dy)


# ---- activations ------------------------------------------------------------------------


def sigmoid(x):
    """1 / (1 + e^−x), in the form that never overflows: only e^−|x| is computed."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def normal_below(x):
    """Φ(x) = (1 + erf(x/√2)) / 2, the share of a standard normal below x."""
    erf = np.array([math.erf(v) for v in x.flat / np.sqrt(2.0)], x.dtype).reshape(x.shape)
    return (1 + erf) / 2


def normal_density(x):
    """φ(x) = e^(−x²/2) / √(2π)."""
    return np.exp(-x * x / 2) / np.asarray(np.sqrt(2 * np.pi), x.dtype)


def activate(name, x, slope=0.0):
    """y = f(x), element by element, for the f of that name. slope: of leaky_relu."""
    slope = np.asarray(slope, x.dtype)
    forward = {
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x > 0, x, x * slope),
        "sigmoid": lambda: sigmoid(x),
        "tanh": lambda: np.tanh(x),
        "silu": lambda: x * sigmoid(x),
        "gelu": lambda: x * normal_below(x),
    }
    return forward[name]()


def activate_backward(name, dy, saved, slope=0.0):
    """dx = dy · f'(x). `saved` is y for relu, sigmoid and tanh, x for the others."""
    x = y = saved
    slope = np.asarray(slope, x.dtype)
    backward = {
        "relu": lambda: np.where(y > 0, dy, 0),
        "leaky_relu": lambda: np.where(x > 0, dy, dy * slope),
        "sigmoid": lambda: dy * y * (1 - y),
        "tanh": lambda: dy * (1 - y * y),
        "silu": lambda: dy * sigmoid(x) * (1 + x * (1 - sigmoid(x))),
        "gelu": lambda: dy * (normal_below(x) + x * normal_density(x)),
    }
    return backward[name]()


# ---- cross-entropy ----------------------------------------------------------------------


def label_shares(labels, w, smoothing):
    """c_ik = w_k · ((1 − ε) · q_ik + ε/K), with q the labels: ids (M,) or probabilities (M, K).

    Of ids q is 1 at the label and 0 elsewhere. An id below 0 counts for nothing: c = 0.
    """
    K = len(w)
    q = labels if labels.ndim == 2 else labels[:, None] == np.arange(K)
    q = q.astype(w.dtype)
    c = w * (q if smoothing == 0 else (1 - smoothing) * q + smoothing / K)
    return c if labels.ndim == 2 else np.where(labels[:, None] < 0, 0, c)


def cross_entropy_forward(z, labels, w, smoothing):
    """−Σ_k c_ik log softmax(z_i)_k of each row of z (M, K) → losses, m, S.

    losses (M,) are float64. m = max_k z_k and S = Σ_k e^(z_k − m), (M,) each, are for backward:
    log softmax(z)_k = z_k − m − log S. Classes with c = 0 may have the logit −∞.
    """
    c = label_shares(labels, w, smoothing)
    top = z.max(axis=-1)
    below = z - top[:, None]
    total = np.exp(below).sum(axis=-1)
    log_p = below - np.log(total)[:, None]
    losses = -(c * np.where(c == 0, 0, log_p)).sum(axis=-1, dtype=np.float64)
    return losses, top, total


def cross_entropy_backward(z, labels, w, smoothing, top, total, divisor):
    """dz_ik = (p_ik · Σ_j c_ij − c_ik) / Z with p = e^(z − m) / S → (M, K). divisor: Z."""
    c = label_shares(labels, w, smoothing)
    p = np.exp(z - top[:, None]) / total[:, None]
    dz = (p * c.sum(axis=-1, keepdims=True) - c) / np.asarray(divisor, z.dtype)
    return dz if labels.ndim == 2 else np.where(labels[:, None] < 0, 0, dz)


# ---- optimisers -------------------------------------------------------------------------
#
# θ and what is remembered of it are changed in place.


def sgd(theta, grad, velocity, lr, momentum, weight_decay, nesterov):
    """g ← g + weight_decay · θ,  v ← momentum · v + g,  θ ← θ − lr · v; see `nn.optim.SGD`.

    velocity: None without momentum. nesterov: θ ← θ − lr · (g + momentum · v).
    """
    g = grad + weight_decay * theta
    if velocity is not None:
        velocity *= momentum
        velocity += g
        g = g + momentum * velocity if nesterov else velocity
    theta -= lr * g


def rmsprop(theta, grad, square, mean, velocity, lr, alpha, eps, weight_decay, momentum):
    """s ← α s + (1 − α) g²,  θ ← θ − lr · g / (√s + ε); see `nn.optim.RMSprop`.

    mean: of the gradients, None if not centered. velocity: None without momentum.
    """
    g = grad + weight_decay * theta
    square *= alpha
    square += (1 - alpha) * g * g
    size = square
    if mean is not None:
        mean *= alpha
        mean += (1 - alpha) * g
        size = np.maximum(square - mean * mean, 0)
    d = g / (np.sqrt(size) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += d
        d = velocity
    theta -= lr * d


def adam(theta, grad, mean, square, t, lr, betas, eps, weight_decay, decoupled):
    """m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  θ ← θ − lr · m̂ / (√v̂ + ε).

    See `nn.optim.Adam`. decoupled: θ shrinks by lr · weight_decay; else the decay is part of g.
    """
    beta1, beta2 = betas
    g = grad if decoupled else grad + weight_decay * theta
    if decoupled:
        theta *= 1 - lr * weight_decay
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    theta -= lr / (1 - beta1**t) * mean / (np.sqrt(square) / math.sqrt(1 - beta2**t) + eps)
