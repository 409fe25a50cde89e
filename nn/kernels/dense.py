"""The three products of a dense layer on register tiles.

    y = x @ w          dw = xᵀ @ dy          dx = dy @ wᵀ

x (M, K), w (K, N), dy (M, N). NumPy's matrix product is as fast at its best. But a large dense
layer at a usual batch, say 32 × 16384 → 512, does little arithmetic for each weight it reads:
what counts is to read or write the weights once, in order, from all cores. And NumPy's library
has a thread pool of its own, which loses milliseconds whenever another program holds a core.
So layers with many weights run here, on the tiles and threads of the convolutions.

The weight gradient and the input gradient are tiles of their result, one after the other:

    dw[k, n] = Σ_m x[m, k] dy[m, n]        rows k, columns n, terms m
    dxᵀ[k, m] = Σ_n w[k, n] dyᵀ[n, m]      rows k, columns m, terms n

For y the terms k are many and the sums few, so the terms are shared out: each task adds the
terms of its share to sums of its own, and in the end the shares are added in order. Their number
does not depend on the number of threads, so neither does any bit of the result.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.cpu import SHORT, TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, clear, load, store
from nn.kernels.turns import take

LEAST_WEIGHTS = 1 << 18  # smaller layers are NumPy's: starting our threads costs more
MOST_ROWS = 64  # with more, each weight is used so often that NumPy's product is the faster one
SHARES = 16
TERMS = 32  # rows of w that are used while they are in the cache
ROWS_PER_TASK = 16 * TALL


def suits(M, K, N, dtype):
    """Are these sizes for the tiles? Whole vectors of outputs, a small batch, many weights."""
    columns = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    few_rows = SHORT <= M <= MOST_ROWS
    return N % columns == 0 and few_rows and K >= TALL and K * N >= LEAST_WEIGHTS


# ---- the compiled part ------------------------------------------------------------------


@kernel
def _add_terms(x, w, M, K, N, width, k0, k1, sums, at):
    """sums[at:] (M, N) += x[:, k0:k1] @ w[k0:k1, :]. M is a whole number of short tiles."""
    for n in range(0, N, width):
        for m in range(0, M, SHORT):
            tile = load(sums, at + m * N + n, N, SHORT, 2)
            for k in range(k0, k1):
                tile = add_outer(tile, x, m * K + k, K, w, k * N + n)
            store(tile, sums, at + m * N + n, N)


@kernel
def _forward_shares(turns, x, w, width, sums):
    shares, M, N = sums.shape
    K = w.shape[0]
    share = take(turns)
    while share < shares:
        first, last = K * share // shares, K * (share + 1) // shares
        clear(sums, share * M * N, M * N)
        for k in range(first, last, TERMS):
            _add_terms(x, w, M, K, N, width, k, min(k + TERMS, last), sums, share * M * N)
        share = take(turns)


@kernel
def _rows_of_product(turns, a, row_step, term_step, terms, b, zeros, y):
    """y[r, c] = Σ_t a[r·row_step + t·term_step] · b[t, c]; y has TALL rows at least."""
    rows, columns = y.shape
    tasks = max(1, rows // ROWS_PER_TASK)
    task = take(turns)
    while task < tasks:
        end = rows if task == tasks - 1 else (task + 1) * ROWS_PER_TASK
        for start in range(task * ROWS_PER_TASK, end, TALL):
            r = min(start, end - TALL)  # the last tile does some rows of its task once more
            for c in range(0, columns, len(zeros)):
                tile = load(zeros, 0, 0, TALL, 2)
                for t in range(terms):
                    i = r * row_step + t * term_step
                    tile = add_outer(tile, a, i, row_step, b, t * columns + c)
                store(tile, y, r * columns + c, columns)
        task = take(turns)


# ---- what Python calls ------------------------------------------------------------------


def _zeros(dtype):
    """A row of a tile, which is also as many columns as it works on."""
    return np.zeros(2 * VECTOR_BYTES // np.dtype(dtype).itemsize, dtype)


def _whole(a, multiple):
    """a with rows of zeros below, so that their number is a multiple of the given one."""
    missing = -len(a) % multiple
    return a if not missing else np.concatenate([a, np.zeros((missing, a.shape[1]), a.dtype)])


def forward(x, w):
    """x (M, K) @ w (K, N)."""
    M, N = len(x), w.shape[1]
    x = _whole(x, SHORT)
    sums = np.empty((SHARES, len(x), N), x.dtype)
    threads.run(_forward_shares, x, w, len(_zeros(x.dtype)), sums)
    return sums.sum(axis=0)[:M]


def backward_weight(x, dy):
    """x (M, K)ᵀ @ dy (M, N)."""
    (M, K), N = x.shape, dy.shape[1]
    dw = aligned_empty((K, N), x.dtype)
    threads.run(_rows_of_product, x, 1, K, M, dy, _zeros(x.dtype), dw)
    return dw


def backward_input(dy, w):
    """dy (M, N) @ w (K, N)ᵀ."""
    K, N = w.shape
    zeros = _zeros(dy.dtype)
    columns = np.ascontiguousarray(_whole(dy, len(zeros)).T)  # (N, M, made up to whole vectors)
    dx = np.empty((K, columns.shape[1]), dy.dtype)
    threads.run(_rows_of_product, w, N, 1, N, columns, zeros, dx)
    return np.ascontiguousarray(dx.T[: len(dy)])
