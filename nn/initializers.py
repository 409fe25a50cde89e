"""First weights: drawn so that signals neither grow nor fade from layer to layer.

A unit that sums `fan_in` inputs of variance v with weights of variance s has variance
fan_in · s · v. Keeping it at v asks for s = 1 / fan_in; a ReLU in between throws half of it
away, so layers in front of a ReLU want twice that (He et al. 2015, arXiv:1502.01852). Backward
the same sum runs over `fan_out`, and 2 / (fan_in + fan_out) is the middle (Glorot and Bengio 2010).

Each function takes a shape, what it asks of the fans, and an `np.random.Generator`, and gives
float32. Layers draw he_uniform; to start with others, write them into the weights:

    layer.weight.data[...] = nn.initializers.orthogonal(layer.weight.shape, rng)

The fans of a convolution are C_in // groups and C_out // groups, times the size of the kernel.
"""

import numpy as np


def uniform(shape, variance, rng):
    """Uniform on ±√(3·variance), which has that variance."""
    bound = np.sqrt(3.0 * variance)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def normal(shape, variance, rng):
    """Normal with that variance, about zero."""
    return (rng.standard_normal(shape) * np.sqrt(variance)).astype(np.float32)


def he_uniform(shape, fan_in, rng):
    """Variance 2 / fan_in: for layers followed by a ReLU. The default of all layers here."""
    return uniform(shape, 2.0 / fan_in, rng)


def he_normal(shape, fan_in, rng):
    """Normal with variance 2 / fan_in."""
    return normal(shape, 2.0 / fan_in, rng)


def xavier_uniform(shape, fan_in, fan_out, rng):
    """Variance 2 / (fan_in + fan_out): for tanh and sigmoid (Glorot and Bengio 2010)."""
    return uniform(shape, 2.0 / (fan_in + fan_out), rng)


def xavier_normal(shape, fan_in, fan_out, rng):
    """Normal with variance 2 / (fan_in + fan_out)."""
    return normal(shape, 2.0 / (fan_in + fan_out), rng)


def orthogonal(shape, rng, gain=1.0):
    """A random rotation, times `gain` (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120).

    shape (..., C_out), seen as a matrix W of D rows, all axes but the last, and C_out columns:
    WᵀW = gain² · 1 if there are at least as many rows as columns, else WWᵀ = gain² · 1. So no
    direction is stretched more than another, which lets signals through deep and recurrent
    networks. √2 is the usual gain in front of a ReLU.

    It is the Q of the QR decomposition of a normal matrix. Q is unique, and all rotations equally
    likely, once the diagonal of R is positive: the columns take its signs.
    """
    if len(shape) < 2:
        raise ValueError(f"orthogonal: expected a shape of at least two axes, got {tuple(shape)}")
    D, C = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(D, C), min(D, C))))
    q *= np.where(r.diagonal() < 0, -1.0, 1.0)
    w = q if D >= C else q.T  # (D, C)
    return (gain * w).reshape(shape).astype(np.float32)


def zeros(shape):
    """Zeros: what biases start with."""
    return np.zeros(shape, np.float32)
