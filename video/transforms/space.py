"""Transforms that move pixels; masks move along."""

import numpy as np

from video.transforms.base import Mirror, Transform


class Resize(Transform):
    """Scales to `size` = (height, width) pixels; an int stands for a square.

    Pixel o of a row of n_out looks at the place (o + 1/2) s - 1/2 of the n_in it is made from,
    s = n_in / n_out, and takes the pixels i around it with the weights of a triangle,

        w(o, i) = max(0, 1 - |i + 1/2 - (o + 1/2) s| / max(1, s)),  divided by their sum:

    bilinear when enlarging; when shrinking the triangle widens, so that every pixel of the input
    counts and nothing flickers. Masks take the nearest pixel, as class ids have no mean.
    uint8 is rounded to uint8; floats keep their type.

    Clips that come from files are better scaled while they are decoded: `VideoFolder(size=...)`.
    """

    def __init__(self, size):
        self.size = _size(size)

    def on_clip(self, clip, drawn):
        height, width = clip.shape[-3:-1]
        if (height, width) == self.size:
            return clip
        kind = clip.dtype if clip.dtype.kind == "f" else np.float32
        rows = _triangles(height, self.size[0]).astype(kind)  # (H_out, H)
        columns = _triangles(width, self.size[1]).astype(kind)  # (W_out, W)
        *lead, H, W, C = clip.shape
        y = rows @ clip.astype(kind).reshape(*lead, H, W * C)  # (.., H_out, W·C)
        y = columns @ y.reshape(*lead, self.size[0], W, C)  # (.., H_out, W_out, C)
        if clip.dtype.kind == "f":
            return y
        return np.rint(y).astype(clip.dtype)  # weights sum to one: no value leaves the range

    def on_mask(self, mask, drawn):
        height, width = mask.shape[-2:]
        i = (2 * np.arange(self.size[0]) + 1) * height // (2 * self.size[0])
        j = (2 * np.arange(self.size[1]) + 1) * width // (2 * self.size[1])
        return mask[..., i[:, None], j]


def _triangles(n_in, n_out):
    """The weights w(o, i) of `Resize` along one axis, (n_out, n_in)."""
    s = n_in / n_out
    o, i = np.arange(n_out)[:, None], np.arange(n_in)
    w = np.maximum(0, 1 - np.abs(i + 0.5 - (o + 0.5) * s) / max(1, s))
    return w / w.sum(axis=1, keepdims=True)


class _Crop(Transform):
    """Cuts out `size` = (height, width) pixels at the (top, left) that `draw` gives."""

    def __init__(self, size):
        self.size = _size(size)

    def _room(self, shape):
        """How many rows and columns are left over."""
        room = shape[-3] - self.size[0], shape[-2] - self.size[1]
        if min(room) < 0:
            raise ValueError(
                f"{self!r}: frames of {shape[-3]} x {shape[-2]} pixels (height x width) "
                "are smaller than the crop; put a Resize before"
            )
        return room

    def on_clip(self, clip, corner):
        return clip[(..., *self._window(corner), slice(None))]

    def on_mask(self, mask, corner):
        return mask[(..., *self._window(corner))]

    def _window(self, corner):
        (top, left), (height, width) = corner, self.size
        return slice(top, top + height), slice(left, left + width)


class RandomCrop(_Crop):
    """Cuts `size` = (height, width) pixels out of the clip, at one random place."""

    random = True

    def draw(self, rng, shape):
        rows, columns = self._room(shape)
        return rng.integers(rows + 1), rng.integers(columns + 1)


class CenterCrop(_Crop):
    """Cuts `size` = (height, width) pixels out of the middle."""

    def draw(self, rng, shape):
        rows, columns = self._room(shape)
        return rows // 2, columns // 2


class RandomResizedCrop(Transform):
    """Cuts out a part of random size at a random place and scales it to `size`.

    So a thing is seen nearer or further away, elsewhere in the picture, a little wider or narrower.

    area: (least, most), share of the picture that is kept. aspect: (least, most), the factor by
        which the kept part is wider for its height than the picture, drawn evenly in its
        logarithm. Both are met up to whole pixels and what fits into the picture.
    """

    random = True

    def __init__(self, size, area=(0.6, 1.0), aspect=(0.8, 1.25)):
        self.size, self.area, self.aspect = _size(size), tuple(area), tuple(aspect)
        if not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
            raise ValueError(
                "RandomResizedCrop: expected 0 < area <= 1 and aspect > 0 as (least, most), got "
                f"area={area}, aspect={aspect}"
            )

    def draw(self, rng, shape):
        """(rows, columns) of the part that is kept, as slices."""
        H, W = shape[-3:-1]
        share = rng.uniform(*self.area)
        aspect = np.exp(rng.uniform(*np.log(self.aspect)))
        height = int(np.clip(np.rint(H * np.sqrt(share / aspect)), 1, H))
        width = int(np.clip(np.rint(W * np.sqrt(share * aspect)), 1, W))
        top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
        return slice(top, top + height), slice(left, left + width)

    def on_clip(self, clip, window):
        return Resize(self.size)(clip[(..., *window, slice(None))])

    def on_mask(self, mask, window):
        return Resize(self.size).on_mask(mask[(..., *window)], None)


class RandomHorizontalFlip(Mirror):
    """Exchanges left and right of the whole clip with probability p.

    swap: pairs of class names that change places with it, such as {"left": "right"}; one
    direction stands for both. Without it a flipped clip keeps its label.
    """

    def on_clip(self, clip, flipped):
        return clip[..., ::-1, :] if flipped else clip

    def on_mask(self, mask, flipped):
        return mask[..., ::-1] if flipped else mask


class RandomErasing(Transform):
    """Covers one rectangle of the picture, the same in all frames, with probability p.

    As if somebody stood before the camera: the network must not rely on one part of the picture
    (Zhong et al. 2020).

    area: (least, most), share of the picture that is covered. aspect: (least, most), height over
        width of the rectangle in pixels, drawn evenly in its logarithm. Both are met up to whole
        pixels and what fits into the picture.
    value: what is seen there, a number or one for each channel; "mean": the clip's mean colour.
    mask_value: what masks hold there: 0, as nothing of an object is seen any more, or the id that
        the loss is told to ignore.
    """

    random = True

    def __init__(self, p=0.5, area=(0.02, 0.25), aspect=(0.33, 3.0), value="mean", mask_value=0):
        least, most = area
        if not 0 <= p <= 1 or not 0 < least <= most <= 1 or not 0 < aspect[0] <= aspect[1]:
            raise ValueError(
                "RandomErasing: expected 0 <= p <= 1, 0 < area <= 1 and aspect > 0 as (least, "
                f"most), got p={p}, area={area}, aspect={aspect}"
            )
        if isinstance(value, str) and value != "mean":
            raise ValueError(f'RandomErasing: value is "mean" or numbers, got {value!r}')
        self.p, self.area, self.aspect = p, tuple(area), tuple(aspect)
        self.value, self.mask_value = value, mask_value

    def draw(self, rng, shape):
        """(rows, columns) of the rectangle, as slices; None if nothing is covered."""
        H, W = shape[-3:-1]
        covered = rng.random() < self.p
        pixels = rng.uniform(*self.area) * H * W
        aspect = np.exp(rng.uniform(*np.log(self.aspect)))
        height = int(np.clip(np.rint(np.sqrt(pixels * aspect)), 1, H))
        width = int(np.clip(np.rint(np.sqrt(pixels / aspect)), 1, W))
        top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
        return (slice(top, top + height), slice(left, left + width)) if covered else None

    def on_clip(self, clip, window):
        if window is None:
            return clip
        value = self.value
        if isinstance(value, str):
            value = clip.mean(axis=tuple(range(clip.ndim - 1)), dtype=np.float64)
        elif np.ndim(value) and np.shape(value) != clip.shape[-1:]:
            raise ValueError(f"{self!r}: value does not fit {clip.shape[-1]} channels")
        clip = clip.copy()
        clip[(..., *window, slice(None))] = value if clip.dtype.kind == "f" else np.rint(value)
        return clip

    def on_mask(self, mask, window):
        if window is None:
            return mask
        mask = mask.copy()
        mask[(..., *window)] = self.mask_value
        return mask


def _size(size):
    height, width = (size, size) if np.ndim(size) == 0 else size
    if int(height) != height or int(width) != width or min(height, width) < 1:
        raise ValueError(f"size: expected (height, width) in whole pixels, got {size!r}")
    return int(height), int(width)
