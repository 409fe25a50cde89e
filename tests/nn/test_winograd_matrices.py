"""Winograd's matrices: the identity they stand for, exactly, and its two adjoints."""

from fractions import Fraction

import numpy as np
import pytest

from nn.kernels import reference
from nn.kernels.winograd_matrices import POINTS, matrices

CASES = [
    (2, 3, None),
    (4, 3, None),
    (4, 3, (0.0, 1.0, -1.0, 2.0, -2.0)),
    (6, 3, (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)),
    (3, 4, POINTS[4]),
    (2, 5, (0.0, 0.7, -1.3, 2.0, -0.4)),
    (1, 3, (0.5, -1.5)),
    (3, 1, (1.0, -1.0)),
]


def winograd(g, d, AT, G, BT):
    """Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A."""
    return AT @ ((G @ g @ G.T) * (BT @ d @ BT.T)) @ AT.T


def one_channel(x):
    return x[None, :, :, None]


@pytest.mark.parametrize("m, r, points", CASES)
def test_a_tile_is_the_convolution_and_its_adjoints_are_the_gradients(m, r, points):
    AT, G, BT = matrices(m, r, points)
    n = m + r - 1
    assert (AT.shape, G.shape, BT.shape) == ((m, n), (n, r), (n, n))
    assert {M.dtype for M in (AT, G, BT)} == {np.dtype(np.float64)}
    rng = np.random.default_rng(0)
    d, g, dy = (rng.standard_normal((size, size)) for size in (n, r, m))
    how = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    x, w, dy_ = one_channel(d), g[:, :, None, None], one_channel(dy)

    def assert_equal(ours, kernel, *args):
        np.testing.assert_allclose(ours, kernel(*args, *how).squeeze((0, -1)), atol=1e-12)

    assert_equal(winograd(g, d, AT, G, BT), reference.conv_forward, x, w, None)
    dM = AT.T @ dy @ AT
    dd = BT.T @ (dM * (G @ g @ G.T)) @ BT
    assert_equal(dd, reference.conv_backward_input, dy_, w, (n, n))
    dg = G.T @ (dM * (BT @ d @ BT.T)) @ G
    wanted = reference.conv_backward_weight(dy_, x, (r, r), *how)[:, :, 0, 0]
    np.testing.assert_allclose(dg, wanted, atol=1e-12)


@pytest.mark.parametrize("m, r, points", [(2, 3, "0 1 -1"), (4, 3, "0 1 -1 2 -2"), (3, 2, "2 3 5")])
def test_with_fractions_not_a_bit_is_lost(m, r, points):
    AT, G, BT = matrices(m, r, map(Fraction, points.split()))
    rng = np.random.default_rng(0)
    d = rng.integers(-9, 10, (m + r - 1, m + r - 1))
    g = rng.integers(-9, 10, (r, r))
    Y = winograd(g, d, AT, G, BT)
    for i, j in np.ndindex(m, m):
        assert Y[i, j] == (d[i : i + r, j : j + r] * g).sum()


def test_the_matrices_of_lavin_and_gray():
    AT, G, BT = matrices(4, 3, (0, 1, -1, 2, -2))
    assert BT.tolist() == [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    assert AT.tolist() == [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ]
    np.testing.assert_allclose(24 * G[:5, 0], [6, -4, -4, 1, 1])
    np.testing.assert_allclose(24 * G[4], [1, -2, 4])
    assert G[5].tolist() == [0, 0, 1]


def test_equal_points_and_too_few_are_refused():
    for points in [(0, 1, 1, 2, -2), (0, 1, -1, 2)]:
        with pytest.raises(ValueError, match=r"F\(4, 3\) needs 5 different finite points, got"):
            matrices(4, 3, points)
