"""First weights: their variance, their bounds, their rotations, and what they do to a signal."""

import numpy as np
import pytest

import nn
from nn import initializers as init

SHAPE = (60, 80)


def rng():
    return np.random.default_rng(0)


DRAWN = {
    "he_uniform": (lambda shape: init.he_uniform(shape, 60, rng()), 2 / 60),
    "he_normal": (lambda shape: init.he_normal(shape, 60, rng()), 2 / 60),
    "xavier_uniform": (lambda shape: init.xavier_uniform(shape, 60, 80, rng()), 2 / 140),
    "xavier_normal": (lambda shape: init.xavier_normal(shape, 60, 80, rng()), 2 / 140),
}


@pytest.mark.parametrize("name", DRAWN)
def test_variance_and_shape_of_the_distribution(name):
    draw, variance = DRAWN[name]
    w = draw(SHAPE)
    assert w.shape == SHAPE and w.dtype == np.float32
    assert w.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / w.size))
    assert w.var() == pytest.approx(variance, rel=0.08)
    largest = np.abs(w).max() / np.sqrt(variance)
    if "uniform" in name:
        assert 1.7 < largest <= np.sqrt(3) * (1 + 1e-6)  # ±√3 deviations, and all the way there
    else:
        assert largest > 3  # a normal one has no bound
    np.testing.assert_array_equal(w, draw(SHAPE))  # the generator decides, nothing else


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (3, 5, 2, 4), (2, 3, 10)])
@pytest.mark.parametrize("gain", [1.0, 2**0.5])
def test_orthogonal(shape, gain):
    w = init.orthogonal(shape, rng(), gain)
    assert w.shape == shape and w.dtype == np.float32
    matrix = w.reshape(-1, shape[-1]).astype(np.float64)
    D, C = matrix.shape
    square = matrix.T @ matrix if D >= C else matrix @ matrix.T
    np.testing.assert_allclose(square, gain**2 * np.eye(min(D, C)), atol=1e-6)


def test_no_rotation_is_likelier_than_another():
    """Without the signs of R, LAPACK's Q has its first entry always negative."""
    generator = rng()
    first = np.array([init.orthogonal((3, 3), generator)[0, 0] for _ in range(300)])
    assert abs((first > 0).mean() - 0.5) < 0.12
    assert first.var() == pytest.approx(1 / 3, rel=0.2)  # of a random unit vector in space


def test_a_deep_linear_network_of_rotations_keeps_every_length():
    x = rng().standard_normal((5, 16)).astype(np.float32)
    generator = rng()
    layers = [nn.Linear(16, 16, rng=generator) for _ in range(50)]
    for layer in layers:
        layer.weight.data[...] = init.orthogonal(layer.weight.shape, generator)
    with nn.inference():
        y = nn.Sequential(*layers)(x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-4)


def test_xavier_keeps_the_signal_through_tanh_near_zero():
    """Ten layers of equal fans: variance 1 / fan_in, so a small signal keeps its size."""
    generator = rng()
    x = 0.01 * generator.standard_normal((64, 200))
    y = x
    for _ in range(10):
        y = np.tanh(y @ init.xavier_normal((200, 200), 200, 200, generator))
    assert 0.6 < y.std() / x.std() < 1.5


def test_a_vector_cannot_be_orthogonal():
    with pytest.raises(
        ValueError, match=r"orthogonal: expected a shape of at least two axes.*\(5,"
    ):
        init.orthogonal((5,), rng())


def test_zeros():
    assert init.zeros((2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert init.zeros(4).dtype == np.float32
