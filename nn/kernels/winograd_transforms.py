"""The transforms of Winograd's F(4×4, 3×3), for one vector of channels at a time.

`winograd_matrices` derives the matrices for any points. Here are those of the points 0, ±a, ±b, ∞
with a² = ½ and b² = 2, written out: what the two points of a pair share is computed once. Of a
polynomial c₀ + c₁x + c₂x² + … the even and the odd part are, at ±a,

    even = c₀ + c₂a² + …        odd = a (c₁ + c₃a² + …)        value = even ± odd

    G  (6, 3)   evaluates three taps at the points, scaled by 1 / N(a), see `winograd_matrices`
    A  (6, 4)   evaluates four outputs; Aᵀ and Gᵀ go back
    Bᵀ (6, 6)   its rows are the polynomials that are zero at all points but one:
                at ±a   x (x ± a)(x² − b²) = x⁴ − b²x² ± a (x³ − b²x)

In two dimensions a transform goes over the columns of its square first, into `half`, and then over
the rows of that. Every number here is a vector: the same place in so many channels.
"""

from nn.kernels.jit import kernel
from nn.kernels.tile import lanes, load, store

CHUNK = 16  # channels that lie side by side in V
POINTS = 36

# The points ±a and ±b. Any would do; these round best of those tried. a²b² = 1, which
# the transforms below use, and a² + b² = 5/2.
A, B = 0.5**0.5, 2**0.5
A2, B2 = 0.5, 2.0
SCALE_A, SCALE_B = 1 / (2 * A2 * (A2 - B2)), 1 / (2 * B2 * (B2 - A2))  # the 1 / N in G


# ---- the transforms in one dimension ----------------------------------------------------


@kernel
def _input_points(d0, d1, d2, d3, d4, d5):
    """Bᵀ d."""
    even_a, odd_a = d4 - d2 * B2, (d3 - d1 * B2) * A
    even_b, odd_b = d4 - d2 * A2, (d3 - d1 * A2) * B
    first, last = (d0 + d4) - d2 * (A2 + B2), (d1 + d5) - d3 * (A2 + B2)
    return first, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, last


@kernel
def _kernel_points(g0, g1, g2):
    """G g."""
    even_a, odd_a = (g0 + g2 * A2) * SCALE_A, g1 * (A * SCALE_A)
    even_b, odd_b = (g0 + g2 * B2) * SCALE_B, g1 * (B * SCALE_B)
    return g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2


@kernel
def _outputs(m0, m1, m2, m3, m4, m5):
    """Aᵀ m."""
    even_a, odd_a = m1 + m2, (m1 - m2) * A
    even_b, odd_b = m3 + m4, (m3 - m4) * B
    y2, y3 = even_a * A2 + even_b * B2, (odd_a * A2 + odd_b * B2) + m5
    return (m0 + even_a) + even_b, odd_a + odd_b, y2, y3


@kernel
def _gradient_points(y0, y1, y2, y3):
    """A y."""
    even_a, odd_a = y0 + y2 * A2, (y1 + y3 * A2) * A
    even_b, odd_b = y0 + y2 * B2, (y1 + y3 * B2) * B
    return y0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, y3


@kernel
def _taps(u0, u1, u2, u3, u4, u5):
    """Gᵀ u."""
    even_a, odd_a = (u1 + u2) * SCALE_A, (u1 - u2) * (A * SCALE_A)
    even_b, odd_b = (u3 + u4) * SCALE_B, (u3 - u4) * (B * SCALE_B)
    return (u0 + even_a) + even_b, odd_a + odd_b, (even_a * A2 + even_b * B2) + u5


# ---- in two dimensions ------------------------------------------------------------------


@kernel
def _load_3(array, at, step):
    return (
        load(array, at, 0, 1, 1),
        load(array, at + step, 0, 1, 1),
        load(array, at + 2 * step, 0, 1, 1),
    )


@kernel
def _load_4(array, at, step):
    return (
        load(array, at, 0, 1, 1),
        load(array, at + step, 0, 1, 1),
        load(array, at + 2 * step, 0, 1, 1),
        load(array, at + 3 * step, 0, 1, 1),
    )


@kernel
def _store_6(vectors, array, at, step):
    store(vectors[0], array, at, 0)
    store(vectors[1], array, at + step, 0)
    store(vectors[2], array, at + 2 * step, 0)
    store(vectors[3], array, at + 3 * step, 0)
    store(vectors[4], array, at + 4 * step, 0)
    store(vectors[5], array, at + 5 * step, 0)


@kernel
def _load_6(array, at, step):
    return (
        load(array, at, 0, 1, 1),
        load(array, at + step, 0, 1, 1),
        load(array, at + 2 * step, 0, 1, 1),
        load(array, at + 3 * step, 0, 1, 1),
        load(array, at + 4 * step, 0, 1, 1),
        load(array, at + 5 * step, 0, 1, 1),
    )


@kernel
def _store_3(vectors, array, at, step):
    store(vectors[0], array, at, 0)
    store(vectors[1], array, at + step, 0)
    store(vectors[2], array, at + 2 * step, 0)


@kernel
def _store_4(vectors, array, at, step):
    store(vectors[0], array, at, 0)
    store(vectors[1], array, at + step, 0)
    store(vectors[2], array, at + 2 * step, 0)
    store(vectors[3], array, at + 3 * step, 0)


@kernel
def transform_patch(x, at, row_step, column_step, half, V, to, step):
    """V = Bᵀ d B: 6×6 inputs to the values at 36 points, `step` apart in V."""
    L = lanes(V)
    for j in range(6):
        d = _load_6(x, at + j * column_step, row_step)
        _store_6(_input_points(*d), half, j * L, 6 * L)
    for i in range(6):
        d = _load_6(half, i * 6 * L, L)
        _store_6(_input_points(*d), V, to + i * 6 * step, step)


@kernel
def transform_kernel(w, half, U, to, step):
    """U = G g Gᵀ: 3×3 taps, one after the other in w."""
    L = lanes(U)
    for j in range(3):
        _store_6(_kernel_points(*_load_3(w, j * L, 3 * L)), half, j * L, 3 * L)
    for i in range(6):
        _store_6(_kernel_points(*_load_3(half, i * 3 * L, L)), U, to + i * 6 * step, step)


@kernel
def transform_products(M, at, step, half, bias, o, y, to, row_step, column_step):
    """y = Aᵀ M A + b: the values at 36 points to 4×4 outputs."""
    L = lanes(M)
    for j in range(6):
        m = _load_6(M, at + j * step, 6 * step)
        _store_4(_outputs(*m), half, j * L, 6 * L)
    b = load(bias, o, 0, 1, 1)
    for i in range(4):
        y0, y1, y2, y3 = _outputs(*_load_6(half, i * 6 * L, L))
        _store_4((y0 + b, y1 + b, y2 + b, y3 + b), y, to + i * row_step, column_step)


@kernel
def transform_gradient(dy, at, row_step, column_step, half, E, to, step):
    """E = A dy Aᵀ: the gradients of 4×4 outputs to those of the 36 products."""
    L = lanes(E)
    for j in range(4):
        e = _load_4(dy, at + j * column_step, row_step)
        _store_6(_gradient_points(*e), half, j * L, 4 * L)
    for i in range(6):
        e = _load_4(half, i * 4 * L, L)
        _store_6(_gradient_points(*e), E, to + i * 6 * step, step)


@kernel
def transform_sums(dU, at, step, half, dg):
    """dg = Gᵀ dU G: the gradients at 36 points to those of 3×3 taps, one after the other in dg."""
    L = lanes(dU)
    for j in range(6):
        u = _load_6(dU, at + j * step, 6 * step)
        _store_3(_taps(*u), half, j * L, 6 * L)
    for i in range(3):
        _store_3(_taps(*_load_6(half, i * 6 * L, L)), dg, i * 3 * L, L)
