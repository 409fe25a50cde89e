"""PSNR and SSIM on pictures whose answer can be worked out."""

import math

import numpy as np
import pytest

from nn.metrics import psnr, ssim


def pictures(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random(shape)
    return x, np.clip(x + 0.2 * rng.standard_normal(shape), 0, 1)


def test_psnr_on_paper():
    """An error of a tenth of the range everywhere is 20 dB; half of it 6.02 dB more."""
    x = np.full((3, 4, 2), 0.5)
    assert psnr(x, x + 0.1, 1.0) == pytest.approx(20)
    assert psnr(x, x - 0.05, 1.0) == pytest.approx(20 + 20 * math.log10(2))
    one_wrong = x.copy()
    one_wrong[1, 2, 0] += 0.5  # mean square: 0.25 / 24
    assert psnr(one_wrong, x, 1.0) == pytest.approx(10 * math.log10(96))
    assert type(psnr(x, one_wrong, 1.0)) is float


def test_psnr_of_bytes_does_not_wrap_around():
    black, white = np.zeros((4, 4, 1), np.uint8), np.full((4, 4, 1), 255, np.uint8)
    assert psnr(black, white, 255) == 0
    assert psnr(black, black + np.uint8(51), 255) == pytest.approx(20 * math.log10(5))


def test_equal_pictures():
    x, _ = pictures((12, 13, 3))
    assert psnr(x, x, 1.0) == math.inf
    assert ssim(x, x, 1.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_one_answer_for_each_picture(metric):
    x, y = pictures((2, 3, 12, 14, 3))
    each = metric(x, y, 1.0)
    assert each.shape == (2, 3)
    assert each[1, 2] == pytest.approx(metric(x[1, 2], y[1, 2], 1.0))
    assert metric(x[0], y[0], 1.0) == pytest.approx(each[0])
    assert np.unique(each).size == 6


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_the_range_is_only_a_scale(metric):
    x, y = pictures((15, 13, 3))
    assert metric(255 * x, 255 * y, 255) == pytest.approx(metric(x, y, 1.0))
    assert metric(x, y, 2.0) > metric(x, y, 1.0) + 0.001


def test_ssim_of_flat_pictures():
    """Without variance only the means are compared: (2ab + c₁) / (a² + b² + c₁)."""
    a, b = np.full((11, 20, 3), 0.8), np.full((11, 20, 3), 0.4)
    expected = (2 * 0.8 * 0.4 + 1e-4) / (0.64 + 0.16 + 1e-4)
    assert ssim(a, b, 1.0) == pytest.approx(expected, abs=1e-12)


def test_ssim_turned_about_the_mean():
    """y = 1 − x under one window, with equal means: covariance −σ² gives a negative SSIM."""
    x = np.zeros((11, 11, 1))
    x[:, :5], x[:, 5], x[:, 6:] = 0.2, 0.5, 0.8
    w = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    variance = 0.09 * (1 - w[5] / w.sum())  # all but the middle column are 0.3 off the mean
    expected = (9e-4 - 2 * variance) / (9e-4 + 2 * variance)
    assert ssim(x, 1 - x, 1.0) == pytest.approx(expected, abs=1e-12)
    assert expected < -0.9


def test_ssim_window_by_window():
    """The definition in plain loops: one Gaussian of 11 × 11 for each place and channel."""
    x, y = pictures((13, 14, 2))
    distance = np.arange(-5, 6)
    w = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2 = 1e-4, 9e-4
    values = []
    for i in range(3):
        for j in range(4):
            for c in range(2):
                a, b = x[i : i + 11, j : j + 11, c], y[i : i + 11, j : j + 11, c]
                mean_a, mean_b = (w * a).sum(), (w * b).sum()
                var_a, var_b = (w * (a - mean_a) ** 2).sum(), (w * (b - mean_b) ** 2).sum()
                both = (w * (a - mean_a) * (b - mean_b)).sum()
                means = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
                values.append(means * (2 * both + c2) / (var_a + var_b + c2))
    assert ssim(x, y, 1.0) == pytest.approx(np.mean(values), abs=1e-12)


def test_ssim_sees_structure_where_psnr_does_not():
    """Of two errors of equal size, a shift of brightness harms the structure less than noise."""
    x, _ = pictures((20, 20, 1))
    x = x / 2 + 0.2
    noise = np.where(np.random.default_rng(1).random(x.shape) < 0.5, -0.1, 0.1)
    assert psnr(x + 0.1, x, 1.0) == pytest.approx(psnr(x + noise, x, 1.0))
    assert ssim(x + 0.1, x, 1.0) > ssim(x + noise, x, 1.0) + 0.05


def test_errors():
    x = np.zeros((12, 12, 3))
    for metric in (psnr, ssim):
        name = metric.__name__
        with pytest.raises(ValueError, match=rf"{name}: expected two arrays .* \(12, 12\)"):
            metric(x[..., 0], x[..., 0], 1.0)
        with pytest.raises(ValueError, match=rf"{name}: .* got \(12, 12, 3\) and \(11, 12, 3\)"):
            metric(x, x[1:], 1.0)
        with pytest.raises(ValueError, match=f"{name}: data_range must be above 0, got 0"):
            metric(x, x, 0)
    with pytest.raises(
        ValueError, match="ssim: pictures must have 11 pixels each way, got 10 × 12"
    ):
        ssim(x[2:], x[2:], 1.0)
