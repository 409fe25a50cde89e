"""Attention that never holds its T×T weights: tile by tile, in NumPy, as its equations.

    s_ij = c a_i · b_j      p_ij = e^s_ij / Σ_k e^s_ik      y_i = Σ_j p_ij v_j

Softmax needs the largest score of a row and the sum of its exponentials before it can give the
first weight. But both can be *running*: when a new tile of keys raises the maximum from m to m',
all exponentials summed so far are too large by the factor e^(m − m'), and so is the weighted sum
of values. Both are put right with one multiplication (Milakov and Gimelshein 2018,
arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135):

    m' = max(m, max_j s_ij)     c = e^(m − m')
    l' = c l + Σ_j e^(s_ij − m')
    y' = c y + Σ_j e^(s_ij − m') v_j            and at the end y / l

What is kept for backward is one number for each row, L = m + log l: with it any tile of the
weights is computed anew, p_ij = e^(s_ij − L_i), without a maximum or a sum. c is the scale of the
scores.

Shapes: a (N, H, T_q, D), b (N, H, T_k, D), v (N, H, T_k, D_v); visible is boolean and broadcasts
to (N, H, T_q, T_k), or is None; with `causal` query i sees the keys j <= i.
"""

import numpy as np

QUERIES, KEYS = 32, 64  # of one tile


def attention_forward(a, b, v, visible=None, causal=False, scale=1.0):
    """y (N, H, T_q, D_v) and L (N, H, T_q). A row that sees nothing gives zeros."""
    N, H, T_q, _ = a.shape
    y = np.empty((N, H, T_q, v.shape[-1]), a.dtype)
    log_sum = np.empty((N, H, T_q), a.dtype)
    for rows in _tiles(T_q, QUERIES):
        shape = (N, H, rows.stop - rows.start)
        largest = np.full(shape, -np.inf, a.dtype)  # m
        total = np.zeros(shape, a.dtype)  # l
        weighted = np.zeros((*shape, v.shape[-1]), a.dtype)
        for columns in _tiles(_keys(b, rows, causal), KEYS):
            s = _scores(a, b, scale, visible, causal, rows, columns)  # (N, H, rows, columns)
            new = np.maximum(largest, s.max(axis=-1))
            zero = np.where(np.isneginf(new), 0, new)  # nothing seen so far: all e^s are 0
            c = np.exp(largest - zero)
            e = np.exp(s - zero[..., None])
            total = c * total + e.sum(axis=-1)
            weighted = c[..., None] * weighted + e @ v[:, :, columns]
            largest = new
        nothing = total == 0
        total = np.where(nothing, 1, total)
        y[:, :, rows] = weighted / total[..., None]
        log_sum[:, :, rows] = np.where(nothing, 0, largest) + np.log(total)
    return y, log_sum


def attention_backward(dy, a, b, v, y, log_sum, visible=None, causal=False, scale=1.0, into=None):
    """da, db and dv, from weights computed anew; `into`: three arrays to write them to.

        dv_j = Σ_i p_ij dy_i        dp_ij = dy_i · v_j
        ds_ij = p_ij (dp_ij − Σ_k p_ik dp_ik) = p_ij (dp_ij − dy_i · y_i)
        da_i = c Σ_j ds_ij b_j      db_j = c Σ_i ds_ij a_i

    The sum over a row of weights is dy_i · y_i, since Σ_k p_ik v_k is y_i: no pass over the keys.
    """
    da, db, dv = into or [np.empty_like(array) for array in (a, b, v)]
    for gradient in (da, db, dv):
        gradient[...] = 0
    along = (dy * y).sum(axis=-1)  # (N, H, T_q)
    for rows in _tiles(a.shape[2], QUERIES):
        for columns in _tiles(_keys(b, rows, causal), KEYS):
            s = _scores(a, b, scale, visible, causal, rows, columns)
            p = np.exp(s - log_sum[:, :, rows, None])
            dv[:, :, columns] += p.swapaxes(-1, -2) @ dy[:, :, rows]
            dp = dy[:, :, rows] @ v[:, :, columns].swapaxes(-1, -2)
            ds = scale * p * (dp - along[:, :, rows, None])
            da[:, :, rows] += ds @ b[:, :, columns]
            db[:, :, columns] += ds.swapaxes(-1, -2) @ a[:, :, rows]
    return da, db, dv


def _tiles(T, size):
    return [slice(t, min(t + size, T)) for t in range(0, T, size)]


def _keys(b, rows, causal):
    """How many keys some of these rows may see."""
    return min(rows.stop, b.shape[2]) if causal else b.shape[2]


def _scores(a, b, scale, visible, causal, rows, columns):
    """One tile of c a bᵀ, −∞ where the key is not to be seen."""
    s = scale * (a[:, :, rows] @ b[:, :, columns].swapaxes(-1, -2))
    if visible is not None:
        i = rows if visible.shape[2] > 1 else slice(None)  # of length 1: the same for all
        j = columns if visible.shape[3] > 1 else slice(None)
        s = np.where(visible[:, :, i, j], s, -np.inf)
    if causal:
        i, j = np.ogrid[rows, columns]
        s = np.where(j <= i, s, -np.inf)
    return s
