"""What one head of attention copies: its rows to whole tiles, and back.

x is flat, with `step` numbers from one time to the next and the features of a head side by side.
"""

from nn.kernels.jit import kernel
from nn.kernels.tile import lanes, load, load_square, store, transposed


@kernel
def up(n, multiple):
    return (n + multiple - 1) // multiple * multiple


@kernel
def head_at(steps, n, h):
    """Where head h of clip n begins."""
    return n * steps[0] + h * steps[2]


@kernel
def rows_of(x, at, step, count, D, out, width):
    """out (rows, width) = x[at + t·step:][:D] for t < count, and zeros all around."""
    L = lanes(out)
    whole = D - D % L
    for t in range(count):
        i, o = at + t * step, t * width
        for d in range(0, whole, L):
            store(load(x, i + d, 0, 1, 1), out, o + d, 0)
        for d in range(whole, D):
            out[o + d] = x[i + d]
        for d in range(D, width):
            out[o + d] = 0
    out[count * width :] = 0


@kernel
def columns_of(x, at, step, count, D, scale, out, width):
    """out (D, width) = scale · x[at + t·step:][:D], t along the width; zeros beyond t = count."""
    L = lanes(out)
    rows, columns = count - count % L, D - D % L
    for t in range(0, rows, L):
        for d in range(0, columns, L):
            square = transposed(load_square(x, at + t * step + d, step))
            store(square * scale, out, d * width + t, width)
    for t in range(count):
        for d in range(columns if t < rows else 0, D):
            out[d * width + t] = x[at + t * step + d] * scale
    if count < width:
        for d in range(D):
            out[d * width + count : (d + 1) * width] = 0


@kernel
def columns_back(out, width, count, D, x, at, step):
    """x[at + t·step:][:D] = out[:, t] for t < count: `columns_of` the other way."""
    L = lanes(out)
    rows, columns = count - count % L, D - D % L
    for t in range(0, rows, L):
        for d in range(0, columns, L):
            store(transposed(load_square(out, d * width + t, width)), x, at + t * step + d, step)
    for t in range(count):
        for d in range(columns if t < rows else 0, D):
            x[at + t * step + d] = out[d * width + t]


@kernel
def rows_back(rows, width, count, D, x, at, step):
    """x[at + t·step:][:D] = rows[t] for t < count."""
    L = lanes(rows)
    whole = D - D % L
    for t in range(count):
        for d in range(0, whole, L):
            store(load(rows, t * width + d, 0, 1, 1), x, at + t * step + d, 0)
        for d in range(whole, D):
            x[at + t * step + d] = rows[t * width + d]
