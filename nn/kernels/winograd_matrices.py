"""The three matrices of Winograd's convolution F(m, r), derived from points.

m outputs of a filter with r taps, yᵢ = Σ_k d₍ᵢ₊ₖ₎ gₖ, need n = m + r − 1 inputs. Done plainly they
cost m·r multiplications; here they cost n, one for each of n points, and some additions:

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]                    A (n, m), G (n, r), B (n, n)

Where the matrices come from. The coefficients of a product of two polynomials, s = g·u, are a
convolution of their coefficients. But a product of polynomials can also be had like this:
evaluate both at n points, multiply the n pairs of values, and find the one polynomial of degree
n − 1 that takes these values. With V_k for the matrix (n, k) of the powers 1, a, …, aᵏ⁻¹ of each
point a, for g with r coefficients and u with m:

    s = Vₙ⁻¹ [(V_r g) ⊙ (V_m u)]

For a fixed g this is a linear map of u to s, and s₍ᵢ₊ₖ₎ takes gₖ from uᵢ. Its transpose takes gₖ
from d₍ᵢ₊ₖ₎ to yᵢ, which is the filter:

    y = V_mᵀ [(V_r g) ⊙ (Vₙ⁻ᵀ d)]        so Aᵀ = V_mᵀ, G = V_r, Bᵀ = Vₙ⁻ᵀ

One point is ∞: the value there is the leading coefficient. Vₙ⁻¹ needs no solver. The polynomial
through the values at the others is Lagrange's sum of s(a) N_a(x) / N_a(a), where N_a is the product
of (x − b) over all finite points b but a. So the rows of Bᵀ are the coefficients of N_a / N_a(a),
and, for ∞, of M, the product over all of them: it is zero at every point, and its leading
coefficient is 1. A row of Bᵀ may be scaled if the row of G is divided by the same, and here the
N_a(a) stand in G: it is applied once to the weights, and Bᵀ, applied to every input, stays
simple.

In two dimensions every matrix acts on rows and columns: Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A.

Which points? The powers of large ones lose digits, those of close ones cancel. A. Lavin, S. Gray,
Fast Algorithms for Convolutional Neural Networks (2015), take 0, ±1, ±2, ∞ for F(4, 3). POINTS has
±√½, ±√2 instead: as their squares have the product 1 and the sum 5/2, Bᵀ is as simple, and
the error in float32 is about a third.
"""

import math

import numpy as np

POINTS = {  # for r = 3, by m; ∞ is always one more
    2: (0.0, 1.0, -1.0),
    4: (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2.0), -math.sqrt(2.0)),
}


def _product(roots):
    """The coefficients, lowest power first, of the product of (x − root)."""
    coefficients = [1]
    for root in roots:
        shifted, scaled = [0, *coefficients], [*(root * c for c in coefficients), 0]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def matrices(m, r, points=None):
    """Aᵀ (m, n), G (n, r), Bᵀ (n, n) of F(m, r), n = m + r − 1, from n − 1 finite points and ∞.

    points: different numbers; POINTS[m] if they are left out. Floats give float64 matrices;
    `fractions.Fraction`s are computed with exactly, and give arrays of them.
    """
    points = POINTS[m] if points is None else tuple(points)
    n = m + r - 1
    if len(set(points)) != n - 1 or len(points) != n - 1:
        raise ValueError(f"F({m}, {r}) needs {n - 1} different finite points, got {points}")
    powers = [[a**k for k in range(n)] for a in points]
    others = [[b for b in points if b != a] for a in points]
    at_itself = [math.prod(a - b for b in bs) for a, bs in zip(points, others, strict=True)]
    AT = [[p[i] for p in powers] + [int(i == m - 1)] for i in range(m)]
    G = [[v / scale for v in p[:r]] for p, scale in zip(powers, at_itself, strict=True)]
    G.append([0] * (r - 1) + [1])
    BT = [[*_product(bs), 0] for bs in others] + [_product(points)]
    return np.array(AT), np.array(G), np.array(BT)
