"""Attention on register tiles, without the T×T weights: `lean_attention` compiled.

A task is one head of one clip. It takes as many queries at once as a tile has columns, W, one in
each lane, and the keys in chunks that stay in the nearest cache. So scores are held the other way
round, keys × queries, and everything softmax does to a row is done to W rows at once, lane by
lane: no sum ever runs across a vector.

    Sᵀ  = b · aᵀ         keys × W      terms: features of a key
    Pᵀ  = 2^(Sᵀ − m)                   with the running maximum m of each lane
    yᵀ += vᵀ · Pᵀ        D_v × W       terms: keys

and backward, with Pᵀ computed anew:

    dPᵀ = v · dyᵀ        keys × W      dSᵀ = Pᵀ (dPᵀ − Σ dy y)
    daᵀ += bᵀ · dSᵀ      D × W
    dv  += Pᵀ · dy       keys × D_v
    db  += dSᵀ · a       keys × D

Powers are of 2, so the queries are multiplied by log₂ e first. Here arrays are (N, T, H, D), as
a dense layer leaves them: heads are neighbours in memory.
"""

import math

import numpy as np

from nn.kernels.cpu import SHORT, TALL
from nn.kernels.jit import kernel
from nn.kernels.lane_math import exp2, maximum
from nn.kernels.tile import add_outer, apart, lanes, load, store
from nn.kernels.turns import take

KEYS = 8 * TALL  # in a chunk: its scores, KEYS × W numbers, stay in the first-level cache
LOG2E = 1 / math.log(2)
NOTHING = -1e30  # the maximum of no scores: finite, so that −∞ − NOTHING is −∞


# ---- products of tiles ------------------------------------------------------------------


@kernel
def _product(a, at, width, terms, b, rows, out):
    """out[r, :] = Σ_c a[c, at + r] · b[c, :] with a (terms, width), b (terms, W)."""
    apart()
    W = 2 * lanes(b)
    zeros = np.zeros(W, b.dtype)
    for r in range(0, rows, TALL):
        tile = load(zeros, 0, 0, TALL, 2)
        for c in range(terms):
            tile = add_outer(tile, a, c * width + at + r, 1, b, c * W)
        store(tile, out, r * W, W)


@kernel
def _add_over_keys(a, at, width, keys, p, rows, out):
    """out[d, :] += Σ_t a[at + t, d] · p[t, :] with a (T_k, width), p (keys, W)."""
    apart()
    W = 2 * lanes(p)
    for d in range(0, rows, SHORT):
        tile = load(out, d * W, W, SHORT, 2)
        for t in range(keys):
            tile = add_outer(tile, a, (at + t) * width + d, 1, p, t * W)
        store(tile, out, d * W, W)


@kernel
def _add_over_queries(p, keys, b, width, out, at):
    """out[at + t, :] += Σ_l p[t, l] · b[l, :] with p (keys, W), b (W, width)."""
    apart()
    W = 2 * lanes(p)
    for t in range(0, keys, TALL):
        for d in range(0, width, W):
            tile = load(out, (at + t) * width + d, width, TALL, 2)
            for i in range(W):
                tile = add_outer(tile, p, t * W + i, W, b, i * width + d)
            store(tile, out, (at + t) * width + d, width)


# ---- one head of one clip ---------------------------------------------------------------


@kernel
def _up(n, multiple):
    return (n + multiple - 1) // multiple * multiple


@kernel
def _rows_of(x, n, h, first, count, scale, out, width):
    """out (count, width) = scale · x[n, first:first + count, h]; zeros where x ends."""
    T, D = x.shape[1], x.shape[3]
    out[:] = 0
    for t in range(min(count, T - first)):
        for d in range(D):
            out[t * width + d] = x[n, first + t, h, d] * scale


@kernel
def _columns_of(x, n, h, first, count, scale, out, width):
    """out (D, width) = scale · x[n, first:first + count, h]ᵀ; zeros where x ends."""
    T, D = x.shape[1], x.shape[3]
    out[:] = 0
    for t in range(min(count, T - first)):
        for d in range(D):
            out[d * width + t] = x[n, first + t, h, d] * scale


@kernel
def _hide(s, n, h, query, key, keys, seen, causal):
    """−∞ for the scores s (keys, W) of pairs that must not meet."""
    W = 2 * lanes(s)
    if seen.size:
        clips, heads, queries, all_keys = seen.shape
        mask = seen[n if clips > 1 else 0, h if heads > 1 else 0]
        for t in range(keys):
            j = key + t if all_keys > 1 else 0
            for i in range(W):
                # Lanes beyond the last query take the last one's; nobody looks at them.
                q = min(query + i, queries - 1) if queries > 1 else 0
                if not mask[q, j]:
                    s[t * W + i] = -np.inf
    if causal:
        for t in range(max(0, query - key), keys):
            for i in range(min(W, key + t - query)):
                s[t * W + i] = -np.inf


@kernel
def _run_softmax(s, keys, largest, total, y, rows):
    """Take a chunk of scores into the running softmax; s becomes e^(s − maximum).

    largest (W), total (W) and y (rows, W) are put right for the new maximum.
    """
    W = 2 * lanes(s)
    old = load(largest, 0, 0, 1, 2)
    new = old
    for t in range(keys):
        new = maximum(new, load(s, t * W, W, 1, 2))
    c = exp2(old - new)
    sums = load(total, 0, 0, 1, 2) * c
    for t in range(keys):
        e = exp2(load(s, t * W, W, 1, 2) - new)
        sums = sums + e
        store(e, s, t * W, W)
    for d in range(rows):
        store(load(y, d * W, W, 1, 2) * c, y, d * W, W)
    store(new, largest, 0, W)
    store(sums, total, 0, W)


@kernel
def _forward_head(a, b, v, seen, causal, n, h, y, log_sum):
    T_q, D = a.shape[1], a.shape[3]
    T_k, D_v = v.shape[1], v.shape[3]
    W = 2 * lanes(a)
    K, V = _up(T_k, TALL), _up(D_v, W)
    one = a.dtype.type(1)
    b_columns = np.empty(D * K, a.dtype)
    _columns_of(b, n, h, 0, T_k, one, b_columns, K)
    v_rows = np.empty(K * V, a.dtype)
    _rows_of(v, n, h, 0, T_k, one, v_rows, V)
    a_columns, s = np.empty(D * W, a.dtype), np.empty(KEYS * W, a.dtype)
    largest, total, out = np.empty(W, a.dtype), np.empty(W, a.dtype), np.empty(V * W, a.dtype)
    for query in range(0, T_q, W):
        _columns_of(a, n, h, query, W, a.dtype.type(LOG2E), a_columns, W)
        largest[:], total[:], out[:] = NOTHING, 0, 0
        last = min(T_k, query + W) if causal else T_k
        for key in range(0, last, KEYS):
            keys = min(KEYS, last - key)
            _product(b_columns, key, K, D, a_columns, keys, s)
            _hide(s, n, h, query, key, keys, seen, causal)
            _run_softmax(s, keys, largest, total, out, D_v)
            _add_over_keys(v_rows, key, V, keys, s, D_v, out)
        for i in range(min(W, T_q - query)):
            nothing = total[i] == 0
            share = one if nothing else one / total[i]
            for d in range(D_v):
                y[n, query + i, h, d] = out[d * W + i] * share
            log_sum[n, query + i, h] = 0 if nothing else largest[i] / LOG2E + math.log(total[i])


@kernel
def _weights(s, keys, log_sum, dp, along):
    """From s and dp: s becomes the weights p = e^(s − L), dp becomes ds = p (dp − Σ dy y)."""
    W = 2 * lanes(s)
    level, mean = load(log_sum, 0, 0, 1, 2), load(along, 0, 0, 1, 2)
    for t in range(keys):
        p = exp2(load(s, t * W, W, 1, 2) - level)
        store(p, s, t * W, W)
        store(p * (load(dp, t * W, W, 1, 2) - mean), dp, t * W, W)
    # The last tile of keys may reach beyond them, to keys that these queries do not see.
    end = _up(keys, TALL) * W
    s[keys * W : end] = 0
    dp[keys * W : end] = 0


@kernel
def _backward_head(dy, a, b, v, y, log_sum, seen, causal, n, h, da, db, dv):
    T_q, D = a.shape[1], a.shape[3]
    T_k, D_v = v.shape[1], v.shape[3]
    W = 2 * lanes(a)
    K, C, V = _up(T_k, TALL), _up(D, W), _up(D_v, W)
    one = a.dtype.type(1)
    b_columns, b_rows = np.empty(D * K, a.dtype), np.empty(K * C, a.dtype)
    _columns_of(b, n, h, 0, T_k, one, b_columns, K)
    _rows_of(b, n, h, 0, T_k, one, b_rows, C)
    v_columns = np.empty(D_v * K, a.dtype)
    _columns_of(v, n, h, 0, T_k, one, v_columns, K)
    db_rows, dv_rows = np.zeros(K * C, a.dtype), np.zeros(K * V, a.dtype)
    a_columns, a_rows = np.empty(D * W, a.dtype), np.empty(W * C, a.dtype)
    dy_columns, dy_rows = np.empty(D_v * W, a.dtype), np.empty(W * V, a.dtype)
    s, dp, da_columns = (
        np.empty(KEYS * W, a.dtype),
        np.empty(KEYS * W, a.dtype),
        np.empty(C * W, a.dtype),
    )
    level, along = np.empty(W, a.dtype), np.empty(W, a.dtype)
    for query in range(0, T_q, W):
        _columns_of(a, n, h, query, W, a.dtype.type(LOG2E), a_columns, W)
        _rows_of(a, n, h, query, W, one, a_rows, C)
        _columns_of(dy, n, h, query, W, one, dy_columns, W)
        _rows_of(dy, n, h, query, W, one, dy_rows, V)
        level[:], along[:], da_columns[:] = 0, 0, 0
        for i in range(min(W, T_q - query)):
            level[i] = log_sum[n, query + i, h] * LOG2E
            for d in range(D_v):
                along[i] += dy[n, query + i, h, d] * y[n, query + i, h, d]
        last = min(T_k, query + W) if causal else T_k
        for key in range(0, last, KEYS):
            keys = min(KEYS, last - key)
            _product(b_columns, key, K, D, a_columns, keys, s)
            _hide(s, n, h, query, key, keys, seen, causal)
            _product(v_columns, key, K, D_v, dy_columns, keys, dp)
            _weights(s, keys, level, dp, along)
            _add_over_queries(s, keys, dy_rows, V, dv_rows, key)
            _add_over_queries(dp, keys, a_rows, C, db_rows, key)
            _add_over_keys(b_rows, key, C, keys, dp, D, da_columns)
        for i in range(min(W, T_q - query)):
            for d in range(D):
                da[n, query + i, h, d] = da_columns[d * W + i]
    for t in range(T_k):
        for d in range(D):
            db[n, t, h, d] = db_rows[t * C + d]
        for d in range(D_v):
            dv[n, t, h, d] = dv_rows[t * V + d]


# ---- all heads --------------------------------------------------------------------------


@kernel
def forward(turns, a, b, v, seen, causal, y, log_sum):
    """Fill y (N, T_q, H, D_v) and log_sum (N, T_q, H). seen is empty where all may be seen."""
    N, _, H, _ = a.shape
    tasks = N * H
    task = take(turns)
    while task < tasks:
        _forward_head(a, b, v, seen, causal, task // H, task % H, y, log_sum)
        task = take(turns)


@kernel
def backward(turns, dy, a, b, v, y, log_sum, seen, causal, da, db, dv):
    """Fill da, db and dv, shaped as a, b and v."""
    N, _, H, _ = a.shape
    tasks = N * H
    task = take(turns)
    while task < tasks:
        _backward_head(dy, a, b, v, y, log_sum, seen, causal, task // H, task % H, da, db, dv)
        task = take(turns)
