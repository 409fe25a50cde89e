"""First weights: drawn so that signals neither grow nor fade from layer to layer.

A unit that sums `fan_in` inputs of variance v with weights of variance s has variance
fan_in · s · v. Keeping it at v asks for s = 1 / fan_in; a ReLU in between throws half of it
away, so layers in front of a ReLU want twice that (He et al. 2015, arXiv:1502.01852).

Each function takes a shape, the fans, and an `np.random.Generator`, and gives float32.
"""

import numpy as np


def uniform(shape, variance, rng):
    """Uniform on ±√(3·variance), which has that variance."""
    bound = np.sqrt(3.0 * variance)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def he_uniform(shape, fan_in, rng):
    """Variance 2 / fan_in: for layers followed by a ReLU. The default of all layers here."""
    return uniform(shape, 2.0 / fan_in, rng)


def he_normal(shape, fan_in, rng):
    """Normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def xavier_uniform(shape, fan_in, fan_out, rng):
    """Variance 2 / (fan_in + fan_out): for tanh and sigmoid (Glorot and Bengio 2010)."""
    return uniform(shape, 2.0 / (fan_in + fan_out), rng)


def zeros(shape):
    """Zeros: what biases start with."""
    return np.zeros(shape, np.float32)
