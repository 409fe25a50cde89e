"""The norms by hand: values on paper, what they do not see, running statistics, errors."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn


def gain_and_shift(norm, gain, shift):
    norm.astype(np.float64)
    norm.weight.data[:], norm.bias.data[:] = gain, shift
    return norm


def test_batch_norm_on_paper():
    norm = gain_and_shift(nn.BatchNorm(2, eps=0.0), [1, 10], [0, 5])
    y = norm(np.array([[1.0, 0], [3, 8]]))  # means 2 and 4, deviations 1 and 4
    assert y.tolist() == [[-1, -5], [1, 15]]
    assert norm.running_mean == pytest.approx([0.2, 0.4])  # 0.9 · 0 + 0.1 · mean
    assert norm.running_var == pytest.approx([0.9 + 0.1 * 2, 0.9 + 0.1 * 32])  # unbiased: · 2/1
    norm.backward(np.array([[1.0, 2], [4, 3]]))
    assert norm.weight.grad.tolist() == [-1 + 4, -2 + 3]
    assert norm.bias.grad.tolist() == [5, 5]


def test_batch_norm_in_use_on_paper():
    norm = gain_and_shift(nn.BatchNorm(2, eps=0.0), [1, 10], [0, 5]).eval()
    norm.running_mean[:], norm.running_var[:] = [1, -2], [4, 0.25]
    assert norm(np.array([[5.0, 0]])).tolist() == [[2, 45]]
    assert norm.backward(np.array([[1.0, 1]])).tolist() == [[0.5, 20]]
    assert norm.running_mean.tolist() == [1, -2] and norm.running_var.tolist() == [4, 0.25]


@pytest.mark.parametrize("size", [(), (5,), (3, 4), (2, 3, 1)])
def test_batch_norm_gives_mean_0_and_variance_1(size):
    norm = nn.BatchNorm(3).astype(np.float64)
    y = norm(5 + 3 * normal(6, *size, 3))
    others = tuple(range(y.ndim - 1))
    np.testing.assert_allclose(y.mean(others), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(others), 1, rtol=1e-5)


def norms():
    return {"batch": nn.BatchNorm(6), "layer": nn.LayerNorm(6), "group": nn.GroupNorm(2, 6)}


@pytest.mark.parametrize("name", norms())
def test_a_norm_sees_neither_shift_nor_stretch(name):
    norm, x = norms()[name].astype(np.float64), normal(4, 5, 3, 6)
    np.testing.assert_allclose(norm(7 * x - 3), norm(x), atol=1e-4)  # as near as eps lets it


@pytest.mark.parametrize("name", norms())
def test_the_gradient_of_a_norm_is_orthogonal_to_shift_and_stretch(name):
    norm, x = norms()[name].astype(np.float64), normal(4, 5, 3, 6)
    norm.eps = 0.0
    norm.weight.data[:] = normal(6, seed=3)
    norm(x)
    dx = norm.backward(normal(*x.shape, seed=4))
    axes = {"batch": (0, 1, 2), "layer": 3}.get(name)
    if name == "group":
        x, dx, axes = (*(a.reshape(4, 15, 2, 3) for a in (x, dx)), (1, 3))
    np.testing.assert_allclose(dx.sum(axes), 0, atol=1e-12)
    np.testing.assert_allclose((dx * x).sum(axes), 0, atol=1e-12)


def test_batch_norm_in_use_with_the_batch_statistics_is_the_same():
    norm, x = nn.BatchNorm(3, momentum=1.0).astype(np.float64), 2 + normal(8, 5, 3)
    y = norm(x)  # momentum 1: the running averages are now those of this batch
    norm.running_var *= (40 - 1) / 40  # but unbiased
    np.testing.assert_allclose(norm.eval()(x), y, rtol=1e-12, atol=1e-12)


def test_running_averages_find_the_statistics_of_the_data():
    norm, rng = nn.BatchNorm(2), np.random.default_rng(0)
    with nn.inference():
        for _ in range(200):
            norm(rng.normal([3, -1], [2, 0.5], (64, 2)).astype(np.float32))
    assert norm.running_mean == pytest.approx([3, -1], abs=0.2)
    assert norm.running_var == pytest.approx([4, 0.25], rel=0.15)
    assert norm.running_mean.dtype == np.float32


def test_running_averages_are_saved_and_loaded(tmp_path):
    norm = nn.Sequential(nn.BatchNorm(3))
    norm(normal(9, 3).astype(np.float32))
    norm.forget()
    nn.save(norm, tmp_path / "norm.npz")
    other = nn.Sequential(nn.BatchNorm(3))
    nn.load(other, tmp_path / "norm.npz")
    x = normal(4, 3, seed=1).astype(np.float32)
    np.testing.assert_array_equal(norm.eval()(x), other.eval()(x))


def test_layer_norm_on_paper():
    norm = gain_and_shift(nn.LayerNorm(4, eps=0.0), [1, 1, 2, 0], [0, 1, 0, 7])
    y = norm(np.array([[1.0, 1, 5, 5], [0, 20, 0, 20]]))  # deviations 2 and 10
    assert y.tolist() == [[-1, 0, 2, 7], [-1, 2, -2, 7]]


def test_layer_and_group_norm_take_each_clip_by_itself():
    x = normal(5, 3, 4, 6)
    for norm in (nn.LayerNorm(6), nn.GroupNorm(3, 6)):
        norm.astype(np.float64)
        y = norm(x)
        for n in range(5):
            np.testing.assert_allclose(norm(x[n : n + 1])[0], y[n], rtol=1e-12)
        np.testing.assert_array_equal(norm.eval()(x), y)  # in use the same


def test_layer_norm_takes_each_place_by_itself():
    norm, x = nn.LayerNorm(6).astype(np.float64), normal(2, 3, 4, 6)
    np.testing.assert_allclose(norm(x)[:, 1, 2], norm(x[:, 1, 2]), rtol=1e-12)


def test_group_norm_between_its_extremes():
    x = 2 + normal(3, 4, 5, 6)
    one = nn.GroupNorm(1, 6).astype(np.float64)(x)  # everything of a clip together
    np.testing.assert_allclose(one.mean((1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(one.var((1, 2, 3)), 1, rtol=1e-4)
    each = nn.GroupNorm(6, 6).astype(np.float64)(x)  # instance norm: batch norm of one clip
    for n in range(3):
        alone = nn.BatchNorm(6).astype(np.float64)(x[n : n + 1])
        np.testing.assert_allclose(each[n : n + 1], alone, rtol=1e-12, atol=1e-12)
    flat = normal(4, 6)  # no places: one group is layer norm
    np.testing.assert_allclose(
        nn.GroupNorm(1, 6)(flat), nn.LayerNorm(6)(flat), rtol=1e-12, atol=1e-12
    )


def test_neighbours_form_a_group():
    norm = gain_and_shift(nn.GroupNorm(2, 4, eps=0.0), 1, 0)
    y = norm(np.array([[1.0, 3, 10, 30]]))
    assert y.tolist() == [[-1, 1, -1, 1]]


def test_a_constant_channel_becomes_the_shift():
    norm = gain_and_shift(nn.BatchNorm(2), 3, [0.5, -1])
    y = norm(np.full((4, 3, 2), 7.0))
    np.testing.assert_array_equal(y, np.broadcast_to([0.5, -1], y.shape))
    assert np.isfinite(norm.backward(normal(4, 3, 2))).all()


@pytest.mark.parametrize("chosen", ["reference", "fast"])
def test_norms_keep_float32(chosen):
    with nn.kernels.using(chosen):
        keep_float32()


def keep_float32():
    for norm in norms().values():
        y = norm(normal(4, 5, 6).astype(np.float32))
        assert y.dtype == np.float32
        assert norm.backward(y).dtype == np.float32
        assert norm.weight.grad.dtype == np.float32


def test_large_means_in_float32():
    """Computed as mean(x²) − mean(x)², the variance would be lost to rounding."""
    x = (1000 + normal(400, 3)).astype(np.float32)
    y = nn.BatchNorm(3)(x)
    exact = nn.BatchNorm(3).astype(np.float64)(x.astype(np.float64))
    np.testing.assert_allclose(y, exact, atol=2e-3)


def test_long_sums_in_float32():
    """Of the values of a channel, added up one by one in float32, the last would be rounded to
    what the sum can hold: a mean off by 1e-4, a variance off by 1e-3."""
    x = (5 + normal(1_000_000, 2)).astype(np.float32)
    norm = nn.BatchNorm(2, momentum=1.0)
    dy = norm(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(norm.running_mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(norm.running_var, exact.var(0), rtol=1e-5)
    norm.backward(dy)
    np.testing.assert_allclose(norm.weight.grad, len(x), rtol=1e-4)  # Σ x̂²
    np.testing.assert_allclose(norm.bias.grad, 0, atol=2)  # Σ x̂


def test_errors_of_norms():
    assert error_of(nn.BatchNorm(3), normal(4, 5)) == (
        "BatchNorm(3): expected 3 channels on the last axis, got (4, 5)"
    )
    assert "one value per channel in (1, 1, 3)" in error_of(nn.BatchNorm(3), normal(1, 1, 3))
    nn.BatchNorm(3).eval()(normal(1, 3))  # in use one is enough
    assert error_of(nn.LayerNorm(3), normal(3)) == (
        "LayerNorm(3): expected 3 channels on the last axis, got (3,)"
    )
    assert "6 channels do not fall into num_groups=4 equal groups" in error_of(nn.GroupNorm, 4, 6)
