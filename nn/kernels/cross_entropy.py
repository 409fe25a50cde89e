"""Softmax with cross-entropy on class ids: one pass over the logits forward, one backward.

    m = max_k z_k     S = Σ_k e^(z_k − m)     loss = Σ_k c_k (log S − (z_k − m))     row by row
    dz_k = e^(z_k − m) · (Σ_j c_j / S) − c_k                                         divided by Z

The coefficients c are w_k · (1 − ε) at the label and w_k · ε/K everywhere, so they are never
written down: there is no array (rows, K) but z and dz. From forward to backward only m and S are
kept. They are not put together to m + log S: beside a large m, S would lose its digits.

A row is first copied to where it can be made up to whole tiles, with −∞, whose power is zero.
Then maximum and powers are a few instructions for each vector, and no number is done by itself,
be K ten or a thousand.
"""

import math

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from nn.kernels.jit import kernel
from nn.kernels.lane_math import exp2, maximum
from nn.kernels.tile import clear, copy, fill, lanes, load, store
from nn.kernels.turns import take

VECTORS = 4  # in a tile: so many powers are under way at the same time
BLOCK = 1 << 13  # numbers one task works through, about
SMALL = 1 << 17  # numbers: up to that, waking the threads takes longer than the work
LOG2_E = 1 / math.log(2)


@kernel
def _row_of_tiles(z):
    """Memory for one row of z, made up to whole tiles."""
    width = VECTORS * lanes(z)
    K = -(-z.shape[1] // width) * width
    return aligned(np.empty(K + ALIGNMENT, z.dtype))[:K]


@kernel
def _maximum(row, few):
    """The largest number of whole tiles. `few` is room for one tile."""
    width = lanes(row)
    tile = load(row, 0, 0, 1, VECTORS)
    for k in range(VECTORS * width, len(row), VECTORS * width):
        tile = maximum(load(row, k, 0, 1, VECTORS), tile)
    store(tile, few, 0, 0)
    vector = load(few, 0, 0, 1, 1)
    for k in range(width, VECTORS * width, width):
        vector = maximum(load(few, k, 0, 1, 1), vector)
    store(vector, few, 0, 0)
    top = few[0]
    for k in range(1, width):
        top = few[k] if few[k] > top else top
    return top


@kernel
def _forward(turns, z, ids, w, smoothing, losses, tops, sums):
    M, K = z.shape
    one = z.dtype.type(1)
    width, row = VECTORS * lanes(z), _row_of_tiles(z)
    few, nothing = _row_of_tiles(z[:, :1]), fill(z, -np.inf, 1, VECTORS)
    block = max(1, BLOCK // K)
    first = take(turns) * block
    while first < M:
        for i in range(first, min(first + block, M)):
            if ids[i] < 0:
                losses[i], tops[i], sums[i] = 0, 0, 1
                continue
            store(nothing, row, len(row) - width, 0)
            copy(row, 0, z, i * K, K)
            top = _maximum(row, few)
            total = fill(z, 0.0, 1, VECTORS)
            shift = fill(z, top, 1, VECTORS)
            for k in range(0, len(row), width):
                below = load(row, k, 0, 1, VECTORS) - shift
                store(below, row, k, 0)
                total = total + exp2(below * z.dtype.type(LOG2_E))
            store(total, few, 0, 0)
            powers = z.dtype.type(0)
            for k in range(width):
                powers += few[k]
            tops[i], sums[i] = top, powers
            # From here on the row is z − m, from memory: with m still in sight, the compiler would
            # rearrange log S − (z − m), and S lose its digits to a large m after all.
            log_sum = math.log(powers)
            label = w[ids[i]] * (one - smoothing)
            loss = 0.0
            if label != 0:
                loss += label * (log_sum - row[ids[i]])
            if smoothing != 0:
                others, weights = z.dtype.type(0), z.dtype.type(0)
                for k in range(K):
                    others += w[k] * row[k] if w[k] != 0 else z.dtype.type(0)
                    weights += w[k]
                loss += smoothing / z.dtype.type(K) * (weights * log_sum - others)
            losses[i] = loss
        first = take(turns) * block


@kernel
def _backward(turns, z, ids, w, smoothing, tops, sums, divisor, dz):
    M, K = z.shape
    one = z.dtype.type(1)
    width, row = VECTORS * lanes(z), _row_of_tiles(z)
    nothing = fill(z, -np.inf, 1, VECTORS)
    weights = z.dtype.type(0)
    share = np.zeros(len(row), z.dtype)  # what smoothing gives to each class
    if smoothing != 0:
        for k in range(K):
            share[k] = w[k] * smoothing / z.dtype.type(K) / divisor
            weights += share[k]
    block = max(1, BLOCK // K)
    first = take(turns) * block
    while first < M:
        for i in range(first, min(first + block, M)):
            if ids[i] < 0:
                clear(dz, i * K, K)
                continue
            store(nothing, row, len(row) - width, 0)
            copy(row, 0, z, i * K, K)
            label = w[ids[i]] * (one - smoothing) / divisor
            shift = fill(z, tops[i], 1, VECTORS)
            factor = (label + weights) / sums[i]
            for k in range(0, len(row), width):
                powers = exp2((load(row, k, 0, 1, VECTORS) - shift) * z.dtype.type(LOG2_E))
                store(powers * factor - load(share, k, 0, 1, VECTORS), row, k, 0)
            row[ids[i]] -= label
            copy(dz, i * K, row, 0, K)
        first = take(turns) * block


# ---- what Python calls ------------------------------------------------------------------


def forward(z, ids, w, smoothing):
    """The loss of each row of z (M, K), float64, and m and S (M,). ids below 0 do not count."""
    M = len(z)
    losses, (tops, sums) = np.empty(M), np.empty((2, M), z.dtype)
    args = z, ids, w, z.dtype.type(smoothing), losses, tops, sums
    threads.run_if(z.size > SMALL, _forward, *args)
    return losses, tops, sums


def backward(z, ids, w, smoothing, tops, sums, total):
    """dz (M, K) of the losses' sum, divided by `total`."""
    dz = aligned_empty(z.shape, z.dtype)
    number = z.dtype.type
    args = z, ids, w, number(smoothing), tops, sums, number(total), dz
    threads.run_if(z.size > SMALL, _backward, *args)
    return dz
