"""The optimisers' steps, each in one pass over all numbers of a parameter.

A step reads the gradient and changes the weights and what is remembered of each. In NumPy that is
a dozen passes, one for each operation; here every number is read once, done with, and written
once. There is nothing to share between the numbers, so any cut into tasks gives the same bits.

The rules are those of `reference`. Settings come in the type of the weights, since a float64 among
float32 numbers would make all arithmetic float64.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.jit import kernel
from nn.kernels.turns import take

BLOCK = 1 << 13  # numbers one task works through
SMALL = 1 << 15  # numbers: up to that, waking the threads takes longer than the work


# ---- one block, compiled ----------------------------------------------------------------


@kernel
def _sgd(theta, grad, v, lr, momentum, weight_decay, ahead):
    if len(v) == 0:
        for i in range(len(theta)):
            theta[i] -= lr * (grad[i] + weight_decay * theta[i])
    elif ahead:
        for i in range(len(theta)):
            g = grad[i] + weight_decay * theta[i]
            v[i] = momentum * v[i] + g
            theta[i] -= lr * (g + momentum * v[i])
    else:
        for i in range(len(theta)):
            v[i] = momentum * v[i] + (grad[i] + weight_decay * theta[i])
            theta[i] -= lr * v[i]


@kernel
def _rmsprop(theta, grad, s, m, v, lr, alpha, rest, eps, weight_decay, momentum):
    zero = theta.dtype.type(0)
    for i in range(len(theta)):
        g = grad[i] + weight_decay * theta[i]
        s[i] = alpha * s[i] + rest * g * g
        size = s[i]
        if len(m) > 0:
            m[i] = alpha * m[i] + rest * g
            size = max(s[i] - m[i] * m[i], zero)
        d = g / (math.sqrt(size) + eps)
        if len(v) > 0:
            v[i] = momentum * v[i] + d
            d = v[i]
        theta[i] -= lr * d


@kernel
def _adam(theta, grad, m, v, rate, beta1, rest1, beta2, rest2, eps, decay, keep):
    for i in range(len(theta)):
        kept = theta[i] * keep
        g = grad[i] + decay * theta[i]
        m[i] = beta1 * m[i] + rest1 * g
        v[i] = beta2 * v[i] + rest2 * g * g
        theta[i] = kept - rate * m[i] / (math.sqrt(v[i]) + eps)


# ---- all blocks, compiled ---------------------------------------------------------------
# Alike, but each is compiled for those alone who use it. What a rule does not need is empty.


@kernel
def _sgd_blocks(turns, theta, grad, v, m, s, settings):
    lr, momentum, weight_decay, ahead = settings
    block = take(turns) * BLOCK
    while block < len(theta):
        i = slice(block, block + BLOCK)
        _sgd(theta[i], grad[i], v[i], lr, momentum, weight_decay, ahead != 0)
        block = take(turns) * BLOCK


@kernel
def _rmsprop_blocks(turns, theta, grad, s, m, v, settings):
    lr, alpha, rest, eps, weight_decay, momentum = settings
    block = take(turns) * BLOCK
    while block < len(theta):
        i = slice(block, block + BLOCK)
        _rmsprop(
            theta[i], grad[i], s[i], m[i], v[i], lr, alpha, rest, eps, weight_decay, momentum
        )  # fmt: skip
        block = take(turns) * BLOCK


@kernel
def _adam_blocks(turns, theta, grad, m, v, s, settings):
    rate, beta1, rest1, beta2, rest2, eps, decay, keep = settings
    block = take(turns) * BLOCK
    while block < len(theta):
        i = slice(block, block + BLOCK)
        _adam(
            theta[i], grad[i], m[i], v[i], rate, beta1, rest1, beta2, rest2, eps, decay, keep
        )  # fmt: skip
        block = take(turns) * BLOCK


# ---- what Python calls ------------------------------------------------------------------


def suits(*arrays):
    """Are these, but for None, float32 or float64 alike and each a plain block of memory?"""
    arrays = [a for a in arrays if a is not None]
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(
        a.dtype == dtype and a.flags.carray for a in arrays
    )


def _run(rule, theta, grad, memory, settings):
    absent = np.empty(0, theta.dtype)
    memory = (absent if array is None else array.reshape(-1) for array in memory)
    settings = tuple(map(theta.dtype.type, settings))
    threads.run_if(theta.size > SMALL, rule, theta.reshape(-1), grad.reshape(-1), *memory, settings)


def sgd(theta, grad, velocity, lr, momentum, weight_decay, nesterov):
    """See `reference.sgd`."""
    settings = [lr, momentum, weight_decay, nesterov]
    _run(_sgd_blocks, theta, grad, [velocity, None, None], settings)


def rmsprop(theta, grad, square, mean, velocity, lr, alpha, eps, weight_decay, momentum):
    """See `reference.rmsprop`."""
    settings = [lr, alpha, 1 - alpha, eps, weight_decay, momentum]
    _run(_rmsprop_blocks, theta, grad, [square, mean, velocity], settings)


def adam(theta, grad, mean, square, t, lr, betas, eps, weight_decay, decoupled):
    """See `reference.adam`."""
    beta1, beta2 = betas
    # The divisor √v / root + ε times root: one division less for each number, and these are slow.
    root = math.sqrt(1 - beta2**t)
    settings = [root * lr / (1 - beta1**t), beta1, 1 - beta1, beta2, 1 - beta2, root * eps]
    settings += [0, 1 - lr * weight_decay] if decoupled else [weight_decay, 1]
    _run(_adam_blocks, theta, grad, [mean, square, None], settings)
