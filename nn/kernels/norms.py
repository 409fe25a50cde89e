"""Sums over the rows of an array, and norms made of them: each a single pass through memory.

A sum over all rows does one addition for each number it reads: what counts is to read once, in
order, from all cores. Everything here is such a pass over x (B, R, C), B clips of R rows of C
channels, of which it treats each clip and channel by itself (batch norm takes all for one clip):

    add_rows       Σ_r dy
    moments        mean and variance over r
    gradients      Σ_r dy  and  Σ_r dy (x − mean)
    scale          y  = (x − mean) · p + q
    unscale        dx = dy · p − q − (x − mean) · s

Layer norm takes each row by itself (`rows_forward`, `rows_backward`); a row fits into the cache.

- *Wide rows.* The rows of a clip lie end to end. So k of them are taken for one row of width
  k·C, in which a vector of the CPU is full even with three channels. Sums are kept for each
  place of the wide row, and folded to channels at the end; p, q, ... are repeated k times.
- *Shares.* A clip is cut into fixed shares, one task each with sums of its own, which are added
  in order afterwards: no bit depends on the number of threads.
- *Short runs.* A float32 sum of a million numbers is right to three or four digits. Here sixteen
  numbers are added up in the type of the array, then the sums go on in float64.
- A variance as mean(x²) − mean(x)² is lost to rounding when the mean is large. So the squares of
  a run are summed about its own first row f, and only these sums go into the long ones, about a
  fixed number K:

      Σ (x − K)  = n (f − K) + Σ (x − f)
      Σ (x − K)² = n (f − K)² + 2 (f − K) Σ (x − f) + Σ (x − f)²

  The last sum is at most 17 times the squares about the run's own mean, even if its first row is
  the one that is far off. So what is rounded is never large beside the variance.
- *Back to front.* What was read last is in the cache still. So the pass after a sum begins there.
"""

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_empty
from nn.kernels.jit import kernel
from nn.kernels.turns import take

WIDTH = 512  # numbers in a wide row, at least
RUN = 16  # wide rows that are summed in the type of the array
SHARES = 32  # of all clips together, about
SMALL = 1 << 17  # numbers: up to that, waking the threads takes longer than the work


# ---- one share, compiled ----------------------------------------------------------------


@kernel
def _flush(runs, sums):
    """Add the sums of a run to the long ones, and begin anew."""
    for j in range(len(sums)):
        for i in range(sums.shape[1]):
            sums[j, i] += runs[j, i]
            runs[j, i] = 0


@kernel
def _add_rows(dy, start, end, sums):
    width = sums.shape[1]
    runs = np.zeros((1, width), dy.dtype)
    run = runs[0]
    for first in range(start, end, RUN * width):
        for at in range(first, min(first + RUN * width, end), width):
            row = dy[at : min(at + width, end)]
            for i in range(len(row)):
                run[i] += row[i]
        _flush(runs, sums[:1])


@kernel
def _moments(x, start, end, pivot, sums):
    """Σ (x − K) and Σ (x − K)² with K the pivot, by way of the first row of each run."""
    width = sums.shape[1]
    runs = np.zeros((2, width), x.dtype)
    first_power, second_power = runs[0], runs[1]
    for first in range(start, end, RUN * width):
        last = min(first + RUN * width, end)
        whole = (last - first) // width  # wide rows; one more, in part, may follow
        rest = (last - first) % width
        begin = x[first : min(first + width, last)]
        for at in range(first + width, last, width):
            row = x[at : min(at + width, last)]
            for i in range(len(row)):
                d = row[i] - begin[i]
                first_power[i] += d
                second_power[i] += d * d
        for i in range(len(begin)):
            count = whole + (i < rest)
            shift = np.float64(begin[i]) - pivot[i]
            sums[0, i] += count * shift + first_power[i]
            sums[1, i] += (count * shift + 2 * first_power[i]) * shift + second_power[i]
        runs[:] = 0


@kernel
def _gradients(dy, x, start, end, mean, sums):
    width = sums.shape[1]
    runs = np.zeros((2, width), x.dtype)
    of_dy, of_product = runs[0], runs[1]
    for first in range(start, end, RUN * width):
        for at in range(first, min(first + RUN * width, end), width):
            x_row, dy_row = x[at : min(at + width, end)], dy[at : min(at + width, end)]
            for i in range(len(x_row)):
                of_dy[i] += dy_row[i]
                of_product[i] += dy_row[i] * (x_row[i] - mean[i])
        _flush(runs, sums)


@kernel
def _scale(x, start, end, mean, p, q, y):
    width = len(mean)
    for at in range(start, end, width):
        x_row, y_row = x[at : min(at + width, end)], y[at : min(at + width, end)]
        for i in range(len(x_row)):
            y_row[i] = (x_row[i] - mean[i]) * p[i] + q[i]


@kernel
def _unscale(dy, x, start, end, mean, p, q, s, dx):
    width = len(mean)
    for at in range(start, end, width):
        end_of_row = min(at + width, end)
        x_row, dy_row, dx_row = x[at:end_of_row], dy[at:end_of_row], dx[at:end_of_row]
        for i in range(len(x_row)):
            dx_row[i] = dy_row[i] * p[i] - q[i] - (x_row[i] - mean[i]) * s[i]


# ---- all shares, compiled ---------------------------------------------------------------
# x, dy and out (B, R·C), numbers (B, 4, width), sums (B, shares, sums of a share, width). Though
# alike, there is one kernel for each job: who needs only one of them compiles only one.


@kernel
def _find_share(task, x, sums):
    """The clip of a task, its share, the share's first number and the one behind its last."""
    _, shares, _, width = sums.shape
    b, share = task // shares, task % shares
    wide_rows = -(-x.shape[1] // width)
    start = wide_rows * share // shares * width
    return b, share, start, min(wide_rows * (share + 1) // shares * width, x.shape[1])


@kernel
def _add_all_rows(turns, x, dy, numbers, out, sums):
    tasks = sums.shape[0] * sums.shape[1]
    task = take(turns)
    while task < tasks:
        b, share, start, end = _find_share(task, x, sums)
        _add_rows(x[b], start, end, sums[b, share])
        task = take(turns)


@kernel
def _find_moments(turns, x, dy, numbers, out, sums):
    tasks = sums.shape[0] * sums.shape[1]
    task = take(turns)
    while task < tasks:
        b, share, start, end = _find_share(task, x, sums)
        _moments(x[b], start, end, numbers[b, 0], sums[b, share])
        task = take(turns)


@kernel
def _find_gradients(turns, x, dy, numbers, out, sums):
    tasks = sums.shape[0] * sums.shape[1]
    task = take(turns)
    while task < tasks:
        b, share, start, end = _find_share(task, x, sums)
        _gradients(dy[b], x[b], start, end, numbers[b, 0], sums[b, share])
        task = take(turns)


@kernel
def _scale_all(turns, x, dy, numbers, out, sums):
    tasks = sums.shape[0] * sums.shape[1]
    task = take(turns)
    while task < tasks:
        b, share, start, end = _find_share(tasks - 1 - task, x, sums)  # from the back
        mean, p, q = numbers[b, 0], numbers[b, 1], numbers[b, 2]
        _scale(x[b], start, end, mean, p, q, out[b])
        task = take(turns)


@kernel
def _unscale_all(turns, x, dy, numbers, out, sums):
    tasks = sums.shape[0] * sums.shape[1]
    task = take(turns)
    while task < tasks:
        b, share, start, end = _find_share(tasks - 1 - task, x, sums)  # from the back
        mean, p, q, s = numbers[b, 0], numbers[b, 1], numbers[b, 2], numbers[b, 3]
        _unscale(dy[b], x[b], start, end, mean, p, q, s, out[b])
        task = take(turns)


# ---- rows by themselves, compiled -------------------------------------------------------

# Here the compiler chooses the order of the sums along a row. Everything is inlined into the one
# kernel that Python calls: what is compiled by itself and once more inside a caller may be summed
# in two orders, and which of them runs would depend on whether it was loaded from disk.


@kernel(inline=True)
def _rows_forward(x, first, last, gain, shift, eps, stats, y):
    """y = (x − mean) · r · γ + β, row by row; stats (M, 2) takes mean and r."""
    C = x.dtype.type(x.shape[1])
    for m in range(first, last):
        row, out = x[m], y[m]
        total = x.dtype.type(0)
        for c in range(len(row)):
            total += row[c]
        mean = total / C
        rest, squares = x.dtype.type(0), x.dtype.type(0)  # about a mean that is nearly right
        for c in range(len(row)):
            d = row[c] - mean
            rest += d
            squares += d * d
        rest /= C
        r = x.dtype.type(1) / np.sqrt(max(squares / C - rest * rest, x.dtype.type(0)) + eps)
        mean += rest
        stats[m, 0], stats[m, 1] = mean, r
        for c in range(len(row)):
            out[c] = (row[c] - mean) * r * gain[c] + shift[c]


@kernel(inline=True)
def _rows_backward(dy, x, first, last, gain, stats, dx, sums):
    """dx = r · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂)), row by row; sums (2, C) takes dβ and dγ."""
    C = x.dtype.type(x.shape[1])
    runs = np.zeros((2, x.shape[1]), x.dtype)
    of_dy, of_product = runs[0], runs[1]
    for start in range(first, last, RUN):
        for m in range(start, min(start + RUN, last)):
            row, up, down = x[m], dy[m], dx[m]
            mean, r = stats[m, 0], stats[m, 1]
            shift, stretch = x.dtype.type(0), x.dtype.type(0)
            for c in range(len(row)):
                d = up[c] * gain[c]
                shift += d
                stretch += d * (row[c] - mean)
            shift /= C
            stretch *= r / C
            for c in range(len(row)):
                x_hat = (row[c] - mean) * r
                down[c] = r * (up[c] * gain[c] - shift - x_hat * stretch)
                of_dy[c] += up[c]
                of_product[c] += up[c] * x_hat
        _flush(runs, sums)


@kernel(inline=True)
def _do_rows(backward, x, dy, gain, shift, eps, stats, out, sums, share):
    shares, M = len(sums), len(x)
    first, last = M * share // shares, M * (share + 1) // shares
    if backward:
        _rows_backward(dy, x, first, last, gain, stats, out, sums[share])
    else:
        _rows_forward(x, first, last, gain, shift, eps, stats, out)


@kernel
def _do_all_rows(turns, backward, x, dy, gain, shift, eps, stats, out, sums):
    share = take(turns)
    while share < len(sums):
        _do_rows(backward, x, dy, gain, shift, eps, stats, out, sums, share)
        share = take(turns)


# ---- what Python calls ------------------------------------------------------------------


def _run(job, x, dy=None, numbers=(), out=None):
    """Do the job on all shares; without `out` returns sums (2, B, C). numbers: (B, C) or (C,)."""
    B, R, C = x.shape
    repeats = max(1, min(-(-WIDTH // C), R))  # rows in a wide row
    width = repeats * C
    shares = max(1, min(SHARES // max(1, B), R // (4 * repeats)))
    sums = np.zeros((B, shares, 2 if out is None else 0, width))
    wide = np.zeros((B, 4, repeats, C), x.dtype)
    for i, number in enumerate(numbers):
        wide[:, i] = np.reshape(number, (-1, 1, C))
    arrays = [x if a is None else a for a in (x, dy, out)]
    x, dy, out_flat = (a.reshape(B, R * C) for a in arrays)
    threads.run_if(x.size > SMALL, job, x, dy, wide.reshape(B, 4, width), out_flat, sums)
    if out is None:
        return sums.reshape(B, shares, 2, repeats, C).sum(axis=(1, 3)).swapaxes(0, 1)


def add_rows(x):
    """Σ over the rows of x (M, C) → (C,), in the type of x."""
    return _run(_add_all_rows, x[None])[0, 0].astype(x.dtype)


def moments(x):
    """Mean and variance of each clip and channel of x (B, R, C): (B, C) each, float64."""
    pivot = x[:, 0]
    first, second = _run(_find_moments, x, numbers=[pivot]) / x.shape[1]
    return pivot + first, np.maximum(second - first * first, 0)


def gradients(dy, x, mean):
    """Σ_r dy and Σ_r dy (x − mean): (B, C) each, float64."""
    return _run(_find_gradients, x, dy, [mean])


def scale(x, mean, p, q):
    """y = (x − mean) · p + q."""
    y = aligned_empty(x.shape, x.dtype)
    _run(_scale_all, x, None, [mean, p, q], y)
    return y


def unscale(dy, x, mean, p, q, s):
    """dx = dy · p − q − (x − mean) · s."""
    dx = aligned_empty(x.shape, x.dtype)
    _run(_unscale_all, x, dy, [mean, p, q, s], dx)
    return dx


def _run_rows(backward, x, dy, gain, shift, eps, stats, out):
    M, C = x.shape
    gain, shift = (np.require(a, x.dtype, "CW") for a in (gain, shift))
    sums = np.zeros((max(1, min(SHARES, M // RUN)), 2, C))
    args = backward, x, dy, gain, shift, x.dtype.type(eps), stats, out, sums
    threads.run_if(x.size > SMALL, _do_all_rows, *args)
    return sums.sum(axis=0).astype(x.dtype)


def rows_forward(x, gain, shift, eps):
    """y = (x − mean) · r · γ + β for each row of x (M, C) → y, mean (M, 1), r (M, 1)."""
    y, stats = aligned_empty(x.shape, x.dtype), np.empty((len(x), 2), x.dtype)
    _run_rows(False, x, x, gain, shift, eps, stats, y)
    return y, stats[:, :1], stats[:, 1:]


def rows_backward(dy, x, mean, r, gain):
    """dx (M, C), dγ (C,), dβ (C,)."""
    dx = aligned_empty(x.shape, x.dtype)
    dshift, dgain = _run_rows(True, x, dy, gain, gain, 0, np.hstack([mean, r]), dx)
    return dx, dgain, dshift
