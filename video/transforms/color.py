"""Transforms that change values and leave pixels where they are."""

import numpy as np

from video.transforms.base import Transform

# How bright the eye sees red, green and blue (Rec. 601), and the two axes of colour that
# television sends beside it: YIQ = RGB @ TO_YIQ. Turning the plane (I, Q) turns the hue.
LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.column_stack([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)

# White that was resized is a mean of ones whose weights sum to 1 but for rounding: floats in
# 0..1 may leave it by that much.
ROUNDING = 1e-5


class ToFloat(Transform):
    """uint8 0..255 to float32 0..1; floats become float32 as they are."""

    def on_clip(self, clip, drawn):
        if clip.dtype == np.uint8:
            return clip.astype(np.float32) / np.float32(255)
        if clip.dtype.kind == "f":
            return clip.astype(np.float32)
        raise ValueError(f"ToFloat: expected uint8 or float, got {clip.dtype}")


class Normalize(Transform):
    """y = (x - mean) / std, for floats; `mean` and `std` are numbers, or one per channel.

    With the mean and deviation of the training clips, inputs have mean 0 and deviation 1, the
    scale that initial weights are made for.
    """

    def __init__(self, mean, std):
        self.mean = np.asarray(mean, dtype=np.float64).tolist()
        self.std = np.asarray(std, dtype=np.float64).tolist()
        if np.ndim(mean) > 1 or np.ndim(std) > 1 or not (np.asarray(std) > 0).all():
            raise ValueError(f"Normalize: expected std > 0, one or one per channel, got {std}")

    def on_clip(self, clip, drawn):
        if clip.dtype.kind != "f":
            raise ValueError(f"Normalize: expected floats, got {clip.dtype}; put ToFloat before")
        for name, value in (("mean", self.mean), ("std", self.std)):
            if np.ndim(value) == 1 and len(value) != clip.shape[-1]:
                raise ValueError(
                    f"Normalize: {len(value)} values of {name} for {clip.shape[-1]} channels"
                )
        return (clip - np.asarray(self.mean, clip.dtype)) / np.asarray(self.std, clip.dtype)


class Standardize(Transform):
    """y = (x - m) / (s + 0.05), each frame by its own numbers, for floats in 0..1.

    m is the mean of the frame over all pixels and channels, s its deviation about m. So how
    bright a recording is, and how strong its contrast, does not reach the network; colours stay
    different from one another. 0.05 keeps the noise of a blank frame small. Where recordings
    differ and clips are few, a network otherwise learns to tell the recordings apart.
    """

    def on_clip(self, clip, drawn):
        if clip.dtype.kind != "f":
            raise ValueError(f"Standardize: expected floats, got {clip.dtype}; put ToFloat before")
        centred = clip - clip.mean(axis=(-3, -2, -1), keepdims=True)
        deviation = np.sqrt(np.mean(centred * centred, axis=(-3, -2, -1), keepdims=True))
        return centred / (deviation + np.asarray(0.05, clip.dtype))


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, alike in all frames.

    brightness, contrast, saturation: a number v draws a factor from [max(0, 1 - v), 1 + v].
    hue: a number v <= 1/2 draws an angle from [-v, v], in turns of the colour circle.
    For RGB, uint8 or floats in 0..1 (so before `Normalize`), and for gray (C = 1), whose
    saturation and hue stay. With y the colour of a pixel, m the mean brightness of the clip and
    b, c, s, R what was drawn,

        y <- b y;   y <- m + c (y - m);   y <- gray(y) + s (y - gray(y));   y <- R y.

    Each step is linear, so all four are one 3 x 3 matrix A and one offset o: y <- y A + o,
    clipped to the range of values once at the end.
    """

    random = True

    def __init__(self, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0):
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue = saturation, hue
        if min(vars(self).values()) < 0 or hue > 0.5:
            raise ValueError(f"{self!r}: expected numbers of at least 0, and hue of at most 1/2")

    def draw(self, rng, shape):
        b, c, s = (
            rng.uniform(max(0.0, 1.0 - v), 1.0 + v)
            for v in (self.brightness, self.contrast, self.saturation)
        )
        return b, c, s, 2 * np.pi * rng.uniform(-self.hue, self.hue)

    def on_clip(self, clip, drawn):
        b, c, s, angle = drawn
        C = clip.shape[-1]
        if C not in (1, 3):
            raise ValueError(f"{self!r}: expected 1 or 3 channels, got {C}")
        if clip.dtype == np.uint8:
            kind, top = np.float32, 255.0
        elif clip.dtype.kind == "f":
            kind, top = clip.dtype, 1.0
            if clip.min() < -ROUNDING or clip.max() > 1 + ROUNDING:
                raise ValueError(
                    f"{self!r}: expected values in 0..1, got {clip.min():g} to {clip.max():g}; "
                    "put it before Normalize"
                )
        else:
            raise ValueError(f"{self!r}: expected uint8 or float, got {clip.dtype}")

        luma = LUMA if C == 3 else np.ones(1)
        m = b * clip.mean(axis=tuple(range(clip.ndim - 1)), dtype=np.float64) @ luma
        A, o = b * c * np.eye(C), (1 - c) * m  # brightness and contrast
        if C == 3:
            gray = np.outer(LUMA, np.ones(3))  # y @ gray: the brightness in each channel
            A = A @ (gray + s * (np.eye(3) - gray)) @ _turn_hue(angle)
        y = clip.astype(kind, copy=False) @ A.astype(kind) + np.asarray(o, kind)
        y = np.clip(y, 0, top)
        return y if clip.dtype.kind == "f" else np.rint(y).astype(np.uint8)


def _turn_hue(angle):
    """The matrix R, y @ R, that turns the hue by an angle and leaves the brightness."""
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return TO_YIQ @ turn @ FROM_YIQ
