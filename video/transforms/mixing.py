"""Transforms of whole batches, which mix clips with one another; labels become probabilities.

They are given to the loader, `DataLoader(..., batch_transform=MixUp(num_classes))`, and called
as `transform(batch, rng)` on the tuple of stacked arrays: clips (N, T, H, W, C) first, then
labels, class ids (N,) or probabilities (N, K). `nn.CrossEntropyLoss` takes the probabilities
(N, K) that come out as it takes ids. Each clip i is mixed with a clip j(i) of the same batch,
j a random permutation, in a share of its own; one draw serves all frames of a clip.
"""

import numpy as np


class MixUp:
    """x_i <- λ_i x_i + (1 - λ_i) x_j,  y_i <- λ_i y_i + (1 - λ_i) y_j (Zhang et al. 2018).

    λ is drawn from Beta(alpha, alpha): near 0 or 1 for a small alpha, so that one of the clips
    dominates. For float clips, since mixtures of uint8 would be rounded; masks cannot be mixed.
    """

    def __init__(self, num_classes, alpha=0.2):
        self.num_classes, self.alpha = _check(self, num_classes, alpha)

    def __call__(self, batch, rng):
        clips, *between, labels = batch
        if clips.dtype.kind != "f":
            raise ValueError(f"MixUp: expected float clips, got {clips.dtype}; use ToFloat before")
        if between or labels.shape == clips.shape[:-1]:
            raise ValueError("MixUp: expected (clips, labels); masks cannot be mixed, use CutMix")
        y = probabilities(labels, self.num_classes)  # (N, K)
        j = rng.permutation(len(clips))
        share = rng.beta(self.alpha, self.alpha, len(clips))  # (N,), the λ
        return _blend(clips, clips[j], share), _blend(y, y[j], share)

    def __repr__(self):
        return f"MixUp({self.num_classes}, alpha={self.alpha})"


class CutMix:
    """A rectangle of clip i is replaced by what clip j shows there (Yun et al. 2019).

    The rectangle has the frame's proportions and 1 - λ of its area, λ from Beta(alpha, alpha),
    around a point drawn anywhere, so that part of it may lie outside. Labels are mixed as the
    pixels are: y_i <- λ' y_i + (1 - λ') y_j with λ' the share of pixels that clip i has kept.

    Further arrays of the batch must be masks (N, T, H, W), and are cut along; this may be the
    last one too, where the labels are masks.
    """

    def __init__(self, num_classes, alpha=1.0):
        self.num_classes, self.alpha = _check(self, num_classes, alpha)

    def __call__(self, batch, rng):
        clips, *others = batch
        N, H, W = len(clips), *clips.shape[-3:-1]
        j = rng.permutation(N)
        side = np.sqrt(1 - rng.beta(self.alpha, self.alpha, N))  # of the rectangle, (N,)
        middle = rng.random((N, 2))
        windows = [_window(middle[i], side[i], H, W) for i in range(N)]
        kept = 1 - np.array([_area(window) for window in windows]) / (H * W)  # (N,), the λ'

        mixed = [_paste(clips, j, windows, channels=True)]
        for k, other in enumerate(others):
            if other.shape == clips.shape[:-1]:
                mixed.append(_paste(other, j, windows))
            elif k == len(others) - 1:
                y = probabilities(other, self.num_classes)
                mixed.append(_blend(y, y[j], kept))
            else:
                raise ValueError(
                    f"CutMix: expected masks {clips.shape[:-1]} between clips and labels, got an "
                    f"array {other.shape}"
                )
        return tuple(mixed)

    def __repr__(self):
        return f"CutMix({self.num_classes}, alpha={self.alpha})"


def probabilities(labels, num_classes):
    """Class ids (N,) as rows with a single one, float32 (N, K); probabilities (N, K) stay."""
    if labels.ndim == 2 and labels.shape[1] == num_classes and labels.dtype.kind == "f":
        return labels
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: expected class ids (N,) or probabilities (N, {num_classes}), got "
            f"{labels.dtype} {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels: {labels.min()} to {labels.max()} for {num_classes} classes")
    return np.eye(num_classes, dtype=np.float32)[labels]


def _check(transform, num_classes, alpha):
    if num_classes < 1 or not alpha > 0:
        raise ValueError(
            f"{type(transform).__name__}: expected num_classes >= 1 and alpha > 0, got "
            f"num_classes={num_classes}, alpha={alpha}"
        )
    return num_classes, alpha


def _blend(x, other, share):
    """share_i x_i + (1 - share_i) other_i, in the type of x."""
    share = share.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * other


def _window(middle, side, H, W):
    """Rows and columns of the rectangle of side·H by side·W pixels, cut at the frame's edges."""
    spans = []
    for place, n in zip(middle, (H, W), strict=True):
        length, centre = side * n, place * n
        low, high = np.rint([centre - length / 2, centre + length / 2]).astype(int)
        spans.append(slice(max(int(low), 0), min(int(high), n)))
    return tuple(spans)


def _area(window):
    rows, columns = window
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _paste(x, j, windows, channels=False):
    """x with the window of each x_i taken from x_j(i)."""
    mixed = x.copy()
    for i, window in enumerate(windows):
        where = (..., *window, slice(None)) if channels else (..., *window)
        mixed[i][where] = x[j[i]][where]
    return mixed
