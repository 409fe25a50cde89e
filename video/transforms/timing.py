"""Transforms that change the order or the pace of frames; masks follow frame by frame."""

import numpy as np

from video.transforms.base import Mirror, Transform


def _check_clip(transform, shape):
    if len(shape) != 4:
        raise ValueError(f"{transform!r}: expected a clip (T, H, W, C), got shape {shape}")


class TimeReverse(Mirror):
    """Plays the whole clip backwards with probability p.

    swap: pairs of class names that change places with it, such as {"left": "right", "sit down":
    "stand up"}; one direction stands for both. Without it a reversed clip keeps its label, which
    is right only for what looks alike in both directions.
    """

    def draw(self, rng, shape):
        _check_clip(self, shape)
        return super().draw(rng, shape)

    def on_clip(self, clip, turned):
        return clip[::-1] if turned else clip

    def on_mask(self, mask, turned):
        return mask[::-1] if turned else mask


class Differences(Transform):
    """Appends to each frame its difference to the one before, as further channels.

    (T, H, W, C) -> (T, H, W, 2C): channels C.. of frame t hold x_t - x_(t-1), zero in the first
    frame. Where the camera stands still that is zero but for what moves, in any room and any
    light: a network need not find out by itself that motion is where frames differ. For floats;
    put it last, behind `Normalize` or `Standardize`.
    """

    def on_clip(self, clip, drawn):
        _check_clip(self, clip.shape)
        if clip.dtype.kind != "f":
            raise ValueError(f"Differences: expected floats, got {clip.dtype}; put ToFloat before")
        return np.concatenate([clip, np.diff(clip, axis=0, prepend=clip[:1])], axis=-1)


class TemporalJitter(Transform):
    """Shows a clip of T frames a little faster or slower, earlier or later, unevenly.

    Frame k of the result is the frame of the clip that is nearest to

        t_k = c + v (k - c) + d + e_k,    c = (T - 1)/2,  k = 0 .. T-1

    speed: v is drawn from [1/(1 + speed), 1 + speed], evenly in its logarithm.
    shift: d is drawn from [-shift, shift], in shares of T.
    jitter: each e_k is drawn from [-jitter, jitter], in frames.

    Frames never change their order, and T stays. Before the first frame and after the last one
    these are repeated. It works on the frames that the sampling chose, so it suits clips whose
    frames are dense in time; `sampling="random"` jitters already where they are not.
    """

    random = True

    def __init__(self, speed=0.2, shift=0.05, jitter=0.5):
        self.speed, self.shift, self.jitter = speed, shift, jitter
        if min(vars(self).values()) < 0:
            raise ValueError(f"{self!r}: expected numbers of at least 0")

    def draw(self, rng, shape):
        """The indices (T,) of the frames to show."""
        _check_clip(self, shape)
        T = shape[0]
        c, k = (T - 1) / 2, np.arange(T)
        v = np.exp(np.log1p(self.speed) * rng.uniform(-1, 1))
        d = self.shift * T * rng.uniform(-1, 1)
        e = self.jitter * rng.uniform(-1, 1, T)
        t = np.sort(c + v * (k - c) + d + e)
        return np.clip(np.rint(t), 0, T - 1).astype(np.int64)

    def on_clip(self, clip, frames):
        return clip[frames]

    def on_mask(self, mask, frames):
        return mask[frames]
