"""How near a picture is to another: for autoencoders, future frames, super-resolution.

Pictures are (H, W, C), or have more axes in front: (N, H, W, C), (N, T, H, W, C). There is one
answer for each picture: a float, or an array of the shape of the axes in front.
"""

import numpy as np

WINDOW, SIGMA = 11, 1.5  # as Wang et al. have them
K1, K2 = 0.01, 0.03


def psnr(images, references, data_range):
    """The peak signal-to-noise ratio in decibels: 10 log10(data_range² / mean (x − y)²).

    data_range: the distance of white from black, 255 for uint8, 1 for floats from 0 to 1. Twice
    the error costs 6 dB. Infinite where the pictures are equal.
    """
    x, y = _pair(images, references, data_range, "psnr")
    mse = ((x - y) ** 2).mean(axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return _bare(10 * np.log10(data_range**2 / mse))


def ssim(images, references, data_range):
    """The structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004): 1 for equal pictures.

        SSIM = (2 μx μy + c₁)(2 σxy + c₂) / ((μx² + μy² + c₁)(σx² + σy² + c₂))

    Means μ, variances σ² and covariance σxy are taken under a Gaussian window of 11 × 11 pixels
    with deviation 1.5, whose weights sum to 1: μx = Σ w x, σx² = Σ w x² − μx²,
    σxy = Σ w x y − μx μy. c₁ = (0.01 R)², c₂ = (0.03 R)², R = `data_range` (255 for uint8).
    The mean is over all places where the window fits into the picture, and over the channels.
    As in most libraries nothing is averaged down before.

    Raises ValueError for pictures smaller than the window.
    """
    x, y = _pair(images, references, data_range, "ssim")
    H, W = x.shape[-3:-1]
    if min(H, W) < WINDOW:
        raise ValueError(f"ssim: pictures must have {WINDOW} pixels each way, got {H} × {W}")
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    var_x = _local_mean(x * x) - mean_x**2
    var_y = _local_mean(y * y) - mean_y**2
    covariance = _local_mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return _bare(likeness.mean(axis=(-3, -2, -1)))


def _local_mean(x):
    """The mean under the window around each place where it fits: (..., H − 10, W − 10, C).

    A Gaussian of two axes is the product of one along each, so the axes come one by one.
    """
    distance = np.arange(WINDOW) - WINDOW // 2
    w = np.exp(-(distance**2) / (2 * SIGMA**2))
    w /= w.sum()
    H, W = x.shape[-3] - WINDOW + 1, x.shape[-2] - WINDOW + 1
    x = sum(w[p] * x[..., p : p + H, :, :] for p in range(WINDOW))
    return sum(w[q] * x[..., q : q + W, :] for q in range(WINDOW))


def _pair(images, references, data_range, name):
    x, y = np.asarray(images), np.asarray(references)
    if x.ndim < 3 or x.shape != y.shape:
        raise ValueError(
            f"{name}: expected two arrays (..., H, W, C) of one shape, got {x.shape} and {y.shape}"
        )
    if not data_range > 0:
        raise ValueError(f"{name}: data_range must be above 0, got {data_range}")
    return x.astype(np.float64), y.astype(np.float64)


def _bare(values):
    return float(values) if values.ndim == 0 else values
