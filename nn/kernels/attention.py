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

Powers are of 2, so the queries are multiplied by log₂ e first, and by the scale of the scores.

There are two kinds of tiles. Wide ones have two vectors in a row. Where a head has few features,
or a clip few frames, half of those lanes would stay empty: then tiles are one vector wide.

The arrays of a layer may lie in memory in any order, but for the features of a head, which are
neighbours. Each comes flat, with the steps from clip to clip, from time to time and from head to
head. What a task reads it first copies, to rows that end with zeros where the tiles do: see
`attention_rows`.
"""

import math

import numpy as np

from nn.kernels.attention_rows import (
    columns_back,
    columns_of,
    head_at,
    rows_back,
    rows_of,
    up,
)
from nn.kernels.cpu import SHORT, TALL
from nn.kernels.jit import kernel
from nn.kernels.lane_math import exp2, maximum
from nn.kernels.tile import add_outer, apart, fill, lanes, load, store
from nn.kernels.turns import take

LOG2E = 1 / math.log(2)
NOTHING = -1e30  # the maximum of no scores: finite, so that −∞ − NOTHING is −∞


# ---- masks ------------------------------------------------------------------------------


@kernel
def _hide(s, width, n, h, query, key, keys, seen, causal):
    """−∞ for the scores s (keys, width) of pairs that must not meet."""
    if seen.size:
        clips, heads, queries, all_keys = seen.shape
        mask = seen[n if clips > 1 else 0, h if heads > 1 else 0]
        for t in range(keys):
            j = key + t if all_keys > 1 else 0
            for i in range(width):
                # Lanes beyond the last query take the last one's; nobody looks at them.
                q = min(query + i, queries - 1) if queries > 1 else 0
                if not mask[q, j]:
                    s[t * width + i] = -np.inf
    if causal:
        for t in range(max(0, query - key), keys):
            for i in range(min(width, key + t - query)):
                s[t * width + i] = -np.inf


# ---- both kinds of tiles ----------------------------------------------------------------


def _make_kernels(tall, short, vectors):
    """(forward, backward) on tiles of so many rows and vectors.

    tall: rows of a tile whose columns are read once for all of them; short: of one whose rows are
    features of a head, often 32 or 64.
    """
    # In a chunk, whose scores, keys × W, stay in the first-level cache: a whole number of tiles.
    most_keys = tall * (8 * TALL // tall)

    @kernel
    def scores(b, at, width, terms, a, keys, out):
        """out[t, :] = Σ_c b[at + t, c] · a[c, :] with b (T_k, width), a (terms, W)."""
        apart()
        W = vectors * lanes(a)
        for t in range(0, keys, tall):
            tile = fill(a, 0.0, tall, vectors)
            i = (at + t) * width
            for c in range(terms):
                tile = add_outer(tile, b, i + c, width, a, c * W)
            store(tile, out, t * W, W)

    @kernel
    def add_over_keys(b, at, width, keys, p, rows, out):
        """out[d, :] += Σ_t b[at + t, d] · p[t, :] with b (T_k, width), p (keys, W)."""
        apart()
        W = vectors * lanes(p)
        for d in range(0, rows, short):
            tile = load(out, d * W, W, short, vectors)
            for t in range(keys):
                tile = add_outer(tile, b, (at + t) * width + d, 1, p, t * W)
            store(tile, out, d * W, W)

    @kernel
    def add_over_queries(p, keys, a, queries, width, out, at):
        """out[at + t, :] += Σ_i p[t, i] · a[i, :] with p (keys, W), a (queries, width)."""
        apart()
        W = vectors * lanes(p)
        for t in range(0, keys, tall):
            for d in range(0, width, W):
                tile = load(out, (at + t) * width + d, width, tall, vectors)
                for i in range(queries):
                    tile = add_outer(tile, p, t * W + i, W, a, i * width + d)
                store(tile, out, (at + t) * width + d, width)

    @kernel
    def run_softmax(s, keys, largest, total, y, rows):
        """Take a chunk of scores into the running softmax; s becomes e^(s − maximum).

        largest (W), total (W) and y (rows, W) are put right for the new maximum.
        """
        W = vectors * lanes(s)
        old = load(largest, 0, 0, 1, vectors)
        new = old
        for t in range(keys):
            new = maximum(new, load(s, t * W, W, 1, vectors))
        c = exp2(old - new)
        sums = load(total, 0, 0, 1, vectors) * c
        for t in range(keys):
            e = exp2(load(s, t * W, W, 1, vectors) - new)
            sums = sums + e
            store(e, s, t * W, W)
        for d in range(rows):
            store(load(y, d * W, W, 1, vectors) * c, y, d * W, W)
        store(new, largest, 0, W)
        store(sums, total, 0, W)

    @kernel
    def weigh(s, keys, log_sum, dp, along):
        """From s and dp: s becomes the weights p = e^(s − L), dp becomes ds = p (dp − Σ dy y)."""
        W = vectors * lanes(s)
        level, mean = load(log_sum, 0, 0, 1, vectors), load(along, 0, 0, 1, vectors)
        for t in range(keys):
            p = exp2(load(s, t * W, W, 1, vectors) - level)
            store(p, s, t * W, W)
            store(p * (load(dp, t * W, W, 1, vectors) - mean), dp, t * W, W)
        # The last tile of keys may reach beyond them, to keys that these queries do not see.
        end = up(keys, tall) * W
        s[keys * W : end] = 0
        dp[keys * W : end] = 0

    @kernel
    def padded(T_k, D, D_v, W):
        """Keys, features and features of values, made up to whole tiles."""
        multiple = max(W, short)
        return up(T_k, tall), up(D, multiple), up(D_v, multiple)

    @kernel
    def forward_head(arrays, steps, sizes, scale, seen, causal, n, h, log_sum, scratch):
        a, b, v, y = arrays
        b_rows, v_rows, a_columns, s, largest, total, out = scratch
        T_q, T_k, D, D_v = sizes
        a_at, b_at, v_at, y_at = (
            head_at(steps[0], n, h), head_at(steps[1], n, h), head_at(steps[2], n, h),
            head_at(steps[3], n, h),
        )  # fmt: skip
        W = vectors * lanes(a)
        _, C, V = padded(T_k, D, D_v, W)
        rows_of(b, b_at, steps[1][1], T_k, D, b_rows, C)
        rows_of(v, v_at, steps[2][1], T_k, D_v, v_rows, V)
        for query in range(0, T_q, W):
            count = min(W, T_q - query)
            at = a_at + query * steps[0][1]
            columns_of(a, at, steps[0][1], count, D, scale, a_columns, W)
            largest[:], total[:], out[:] = NOTHING, 0, 0
            last = min(T_k, query + W) if causal else T_k
            for key in range(0, last, most_keys):
                keys = min(most_keys, last - key)
                scores(b_rows, key, C, D, a_columns, keys, s)
                _hide(s, W, n, h, query, key, keys, seen, causal)
                run_softmax(s, keys, largest, total, out, D_v)
                add_over_keys(v_rows, key, V, keys, s, D_v, out)
            for i in range(count):
                nothing = total[i] == 0
                level = 0 if nothing else largest[i] / LOG2E + math.log(total[i])
                log_sum[n, query + i, h] = level
                total[i] = 1 if nothing else 1 / total[i]
            total[count:] = 0
            share = load(total, 0, 0, 1, vectors)
            for d in range(D_v):
                store(load(out, d * W, W, 1, vectors) * share, out, d * W, W)
            columns_back(out, W, count, D_v, y, y_at + query * steps[3][1], steps[3][1])

    @kernel
    def backward_head(arrays, steps, sizes, scale, seen, causal, n, h, log_sum, scratch):
        dy, a, b, v, y, da, db, dv = arrays
        b_rows, v_rows, db_rows, dv_rows, a_columns, dy_columns, da_columns = scratch[:7]
        a_rows, dy_rows, s, dp, level, along = scratch[7:]
        T_q, T_k, D, D_v = sizes
        dy_at, a_at, b_at, v_at, y_at, da_at, db_at, dv_at = (
            head_at(steps[0], n, h), head_at(steps[1], n, h), head_at(steps[2], n, h),
            head_at(steps[3], n, h), head_at(steps[4], n, h), head_at(steps[5], n, h),
            head_at(steps[6], n, h), head_at(steps[7], n, h),
        )  # fmt: skip
        W = vectors * lanes(a)
        one = a.dtype.type(1)
        _, C, V = padded(T_k, D, D_v, W)
        rows_of(b, b_at, steps[2][1], T_k, D, b_rows, C)
        rows_of(v, v_at, steps[3][1], T_k, D_v, v_rows, V)
        db_rows[:], dv_rows[:] = 0, 0
        back = scale / a.dtype.type(LOG2E)  # of the scores' scale, without the powers of 2
        for query in range(0, T_q, W):
            count = min(W, T_q - query)
            a_from, dy_from = a_at + query * steps[1][1], dy_at + query * steps[0][1]
            columns_of(a, a_from, steps[1][1], count, D, scale, a_columns, W)
            rows_of(a, a_from, steps[1][1], count, D, a_rows, C)
            columns_of(dy, dy_from, steps[0][1], count, D_v, one, dy_columns, W)
            rows_of(dy, dy_from, steps[0][1], count, D_v, dy_rows, V)
            level[:], along[:], da_columns[:] = 0, 0, 0
            for i in range(count):
                level[i] = log_sum[n, query + i, h] * LOG2E
                y_from = y_at + (query + i) * steps[4][1]
                total = a.dtype.type(0)
                for d in range(D_v):
                    total += dy_rows[i * V + d] * y[y_from + d]
                along[i] = total
            last = min(T_k, query + W) if causal else T_k
            for key in range(0, last, most_keys):
                keys = min(most_keys, last - key)
                scores(b_rows, key, C, D, a_columns, keys, s)
                _hide(s, W, n, h, query, key, keys, seen, causal)
                scores(v_rows, key, V, D_v, dy_columns, keys, dp)
                weigh(s, keys, level, dp, along)
                add_over_queries(s, keys, dy_rows, count, V, dv_rows, key)
                add_over_queries(dp, keys, a_rows, count, C, db_rows, key)
                add_over_keys(b_rows, key, C, keys, dp, D, da_columns)
            for d in range(D):
                store(load(da_columns, d * W, W, 1, vectors) * back, da_columns, d * W, W)
            columns_back(da_columns, W, count, D, da, da_at + query * steps[5][1], steps[5][1])
        db_rows *= back
        rows_back(db_rows, C, T_k, D, db, db_at, steps[6][1])
        rows_back(dv_rows, V, T_k, D_v, dv, dv_at, steps[7][1])

    @kernel
    def forward(turns, arrays, steps, sizes, scale, seen, causal, log_sum):
        """Fill y and log_sum (N, T_q, H). seen is empty where all may be seen."""
        N, _, H = log_sum.shape
        _, T_k, D, D_v = sizes
        dtype = log_sum.dtype
        W = vectors * lanes(log_sum)
        K, C, V = padded(T_k, D, D_v, W)
        scratch = (
            np.empty(K * C, dtype),
            np.empty(K * V, dtype),
            np.empty(D * W, dtype),
            np.empty(most_keys * W, dtype),
            np.empty(W, dtype),
            np.empty(W, dtype),
            np.empty(V * W, dtype),
        )
        task = take(turns)
        while task < N * H:
            n, h = task // H, task % H
            forward_head(arrays, steps, sizes, scale, seen, causal, n, h, log_sum, scratch)
            task = take(turns)

    @kernel
    def backward(turns, arrays, steps, sizes, scale, seen, causal, log_sum):
        """Fill da, db and dv."""
        N, _, H = log_sum.shape
        _, T_k, D, D_v = sizes
        dtype = log_sum.dtype
        W = vectors * lanes(log_sum)
        K, C, V = padded(T_k, D, D_v, W)
        scratch = (
            np.empty(K * C, dtype),
            np.empty(K * V, dtype),
            np.empty(K * C, dtype),
            np.empty(K * V, dtype),
            np.empty(D * W, dtype),
            np.empty(D_v * W, dtype),
            np.empty(C * W, dtype),
            np.empty(W * C, dtype),
            np.empty(W * V, dtype),
            np.empty(most_keys * W, dtype),
            np.empty(most_keys * W, dtype),
            np.empty(W, dtype),
            np.empty(W, dtype),
        )
        task = take(turns)
        while task < N * H:
            n, h = task // H, task % H
            backward_head(arrays, steps, sizes, scale, seen, causal, n, h, log_sum, scratch)
            task = take(turns)

    return forward, backward


WIDE = _make_kernels(TALL, SHORT, 2)
NARROW = _make_kernels(2 * SHORT, 2 * SHORT, 1)


def kernels_for(T_q, D, D_v, lanes):
    """(forward, backward) on the tiles of which less is left empty."""
    return NARROW if T_q <= lanes or max(D, D_v) <= lanes else WIDE
