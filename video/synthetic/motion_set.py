"""The motion set: clips whose class is the direction of time, and nothing else.

The classes come in pairs, each the other played backwards. A pair's clips are drawn from the
same scenes: scene j is drawn once forwards and once with its frames in reverse order. So within
a pair a frame, or a bag of all the frames of a clip, is as likely in the one class as in the
other, not only on average but clip for clip. Between pairs frames may tell something.

Three things would tell the direction all the same, if they were not seen to:

- Compression. A frame that is coded as a difference to earlier ones is blurred otherwise in the
  other direction, and a quality that adapts to the last frames is too. The files of this set are
  written with `intra_only`: each frame stands alone, with one quantiser for all.
- Sampling. `video.sampling.uniform` looks at frame floor((k + 1/2) T/n). Mirrored in time this is
  the same choice unless (k + 1/2) T/n is a whole number: of 32 frames it would take 1, 3, ... 31,
  and the last frame, but not the first, would always be seen. For odd T, (2k + 1) T is odd and
  2n does not divide it, so clips of this set have odd numbers of frames. For n > T the last
  frame is repeated, which tells the direction: at least as many frames as a network sees.
- Chance. Scenes that only one class of a pair had could be learnt by heart.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from video.synthetic.camera import draw_light, draw_shake
from video.synthetic.motion import Motion, draw_motion
from video.synthetic.scene import Object, Scene
from video.synthetic.shapes import SHAPES
from video.synthetic.textures import (
    COLOURS,
    SEEN,
    UNSEEN,
    draw_texture,
    mix,
    two_tones,
    unlike,
)

# The first of each pair is drawn, the second is it played backwards.
PAIRS = (
    ("right", "left"),
    ("down", "up"),
    ("clockwise", "anticlockwise"),
    ("growing", "shrinking"),
    ("meeting", "parting"),  # two objects that come together
    ("circle_then_cross", "cross_then_circle"),  # which hops first
)
_HOP_TIMES = (0.05, 0.55)  # when the first and the second hop begin
_LARGER, _LARGEST = 1.15, 1.7  # than other objects: those that hop, and those that grow
_GAP = 0.02  # between two objects that have met, in frame heights


@dataclass(frozen=True)
class MotionWorld:
    """What may be drawn. Pairs of numbers are (least, most); lengths are in frame heights.

    pairs: which of `PAIRS`. size: (H, W) in pixels. frames: numbers of frames, odd ones (see
    above); fps: frames in a second. diameter: of the circle about an object. The others are
    those of `World`: tilt, period, contrast, dim, drift, shake, swing, slope, noise.
    """

    pairs: tuple[tuple[str, str], ...] = PAIRS
    size: tuple[int, int] = (64, 64)
    frames: tuple[int, ...] = (17, 19, 21, 23, 25)
    fps: float = 15
    diameter: tuple[float, float] = (0.26, 0.38)
    tilt: float = 0.35
    period: tuple[float, float] = (0.1, 0.3)
    contrast: tuple[float, float] = (0.1, 0.35)
    dim: tuple[float, float] = (0.5, 0.8)
    drift: float = 0.1
    shake: tuple[float, float] = (0.003, 0.01)
    swing: float = 0.15
    slope: float = 0.3
    noise: tuple[float, float] = (2.0, 8.0)

    intra_only: ClassVar[bool] = True  # for `write_folder`

    def __post_init__(self):
        unknown = [pair for pair in self.pairs if pair not in PAIRS]
        if unknown or not self.pairs:
            raise ValueError(f"MotionWorld: pairs are some of {PAIRS}, got {self.pairs}")
        if any(T % 2 == 0 for T in self.frames):
            raise ValueError(f"MotionWorld: numbers of frames must be odd, got {self.frames}")

    @property
    def classes(self):
        """The class names, pair by pair. Clip `index` belongs to class `index % len(classes)`."""
        return tuple(name for pair in self.pairs for name in pair)

    @property
    def partners(self):
        """{class: the class that it is when played backwards}."""
        return dict(self.pairs) | {back: forward for forward, back in self.pairs}

    def scene(self, seed, index, unseen=False):
        """Scene number `index`: a function of (seed, index) alone.

        2j and 2j + 1 are the same scene, drawn forwards and backwards.
        unseen: take textures from `textures.UNSEEN` instead of `textures.SEEN`.
        """
        j, backwards = divmod(index, 2)
        rng = np.random.default_rng([seed, j])
        pair = self.pairs[j % len(self.pairs)]
        patterns = UNSEEN if unseen else SEEN
        H, W = self.size
        shake = draw_shake(rng, self.shake)
        colour = str(rng.choice(list(COLOURS)))
        ground = mix(
            COLOURS[str(rng.choice(unlike(colour)))], (0, 0, 0), float(rng.uniform(*self.dim))
        )
        half = tuple(side - shake.size for side in (0.5, W / H / 2))  # of what is surely in sight

        def radius():
            return float(rng.uniform(*self.diameter)) / 2 * min(1.0, W / H)

        cast = _cast(rng, pair[0], radius, half)
        background = draw_texture(rng, patterns, self.period, two_tones(rng, ground, self.contrast))
        speed, towards = self.drift * rng.uniform(), rng.uniform(0, 2 * np.pi)
        objects = tuple(
            Object(
                shape=shape,
                colour=colour,
                texture=draw_texture(
                    rng, patterns, self.period, two_tones(rng, COLOURS[colour], self.contrast)
                ),
                motion=motion,
                radius=size,
                angle=float(rng.uniform(-self.tilt, self.tilt)),
            )
            for shape, motion, size in cast
        )
        return Scene(
            size=(H, W),
            frames=int(rng.choice(self.frames)),
            fps=self.fps,
            class_name=pair[backwards],
            objects=objects,
            background=background,
            drift=(float(speed * np.sin(towards)), float(speed * np.cos(towards))),
            shake=shake,
            light=draw_light(rng, self.swing, self.slope),
            noise=float(rng.uniform(*self.noise)),
            noise_seed=int(rng.integers(2**31)),
            backwards=bool(backwards),
        )


def _cast(rng, name, radius, half):
    """The objects of a scene of class `name`, one or two, as [(shape, motion, radius)].

    radius: draws a radius. half: how far (down, right) of the centre the frame reaches.
    """
    shapes = [str(shape) for shape in rng.choice(list(SHAPES), 2)]
    if name == "meeting":
        radii = [radius(), radius()]
        return list(zip(shapes, _meeting(rng, radii, half), radii, strict=True))
    if name == "circle_then_cross":
        radii = [_LARGER * radius(), _LARGER * radius()]
        return list(zip(("circle", "cross"), _hops(rng, radii, half), radii, strict=True))
    if name == "growing":  # large in the end, so that much can come
        size = _LARGEST * radius()
        motion = draw_motion(rng, name, tuple(h - size for h in half))
        return [(shapes[0], replace(motion, extent=float(rng.uniform(0.5, 0.75))), size)]
    size = radius()
    return [(shapes[0], draw_motion(rng, name, tuple(h - size for h in half)), size)]


def _meeting(rng, radii, half):
    """Two objects on one line, across or upright, that move until they almost touch."""
    upright = int(rng.integers(2))
    axis, other = (0, 1) if upright else (1, 0)
    free = 2 * half[axis] - 2 * sum(radii) - _GAP  # what is left of the line when they have met
    ways = rng.uniform(0.4, 0.5, 2) * free
    before, after = 2 * np.array(radii) + ways + _GAP / 2  # what each needs on its side
    met = rng.uniform(before - half[axis], half[axis] - after)
    across = rng.uniform(-1, 1) * (half[other] - max(radii))
    names = ("down", "up") if upright else ("right", "left")
    motions = []
    for side, name, radius, way in zip((-1, 1), names, radii, ways, strict=True):
        along = met + side * (radius + _GAP / 2 + way / 2)  # the middle of its way
        centre = (along, across) if upright else (across, along)
        motions.append(Motion(name, tuple(map(float, centre)), float(way)))
    return motions


def _hops(rng, radii, half):
    """Two objects side by side, either on the left; the first hops, then the second."""
    side = int(rng.choice((-1, 1)))
    motions = []
    for sign, start, radius in zip((side, -side), _HOP_TIMES, radii, strict=True):
        right = sign * rng.uniform(radius + _GAP / 2, half[1] - radius)
        height = rng.uniform(0.6, 1) * 2 * (half[0] - radius)
        slack = half[0] - radius - height / 2
        centre = (float(rng.uniform(-1, 1) * slack), float(right))
        motions.append(Motion("hop", centre, float(height), start))
    return motions
