"""The world of single objects: one textured shape that moves over a moving background.

One property of the object is the class; all others are drawn without looking at it, so they
tell nothing about it. With `label="shape"` a single frame is enough to know the class; with
`label="motion"` it is not.
"""

from dataclasses import dataclass

import numpy as np

from video.synthetic.camera import draw_light, draw_shake
from video.synthetic.motion import MOTIONS, draw_motion
from video.synthetic.scene import Clip, Object, Scene, render
from video.synthetic.shapes import SHAPES
from video.synthetic.textures import COLOURS, SEEN, UNSEEN, draw_texture, mix, two_tones, unlike

_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class World:
    """What may be drawn. Pairs are (least, most); lengths are in frame heights.

    label: which property is the class, "shape", "motion" or "colour".
    sizes: (H, W) in pixels. frame_rates: in 1/s. seconds: length of a clip.
    diameter: of the circle about the object, as a share of the frame's shorter side.
    tilt: largest turn, in radians.
    wander: how far the object's centre may go from the frame's, down and to the side.
    period: of the textures. contrast: how far a texture's second colour is from its first.
    dim: how far the background's colours are moved towards black.
    drift: largest speed of the background, 1/s. shake: of the camera. swing, slope: of the
    light (see `camera.Light`). noise: in grey levels.
    """

    label: str = "shape"
    shapes: tuple[str, ...] = tuple(SHAPES)
    colours: tuple[str, ...] = tuple(COLOURS)
    motions: tuple[str, ...] = MOTIONS
    sizes: tuple[tuple[int, int], ...] = ((96, 96), (96, 128), (128, 96), (112, 144))
    frame_rates: tuple[float, ...] = (12, 15, 25)
    seconds: tuple[float, float] = (1.0, 2.0)
    diameter: tuple[float, float] = (0.55, 0.7)
    tilt: float = 0.35
    wander: float = 0.1
    period: tuple[float, float] = (0.1, 0.3)
    contrast: tuple[float, float] = (0.1, 0.35)
    dim: tuple[float, float] = (0.5, 0.8)
    drift: float = 0.3
    shake: tuple[float, float] = (0.003, 0.015)
    swing: float = 0.15
    slope: float = 0.3
    noise: tuple[float, float] = (2.0, 8.0)

    @property
    def classes(self):
        """The class names. Clip `index` belongs to class `index % len(classes)`."""
        return {"shape": self.shapes, "motion": self.motions, "colour": self.colours}[self.label]

    def scene(self, seed, index, unseen=False):
        """Scene number `index` of this world: a function of (seed, index) alone.

        unseen: take textures from `textures.UNSEEN` instead of `textures.SEEN`.
        """
        rng = np.random.default_rng([seed, index])
        patterns = UNSEEN if unseen else SEEN
        H, W = self.sizes[rng.integers(len(self.sizes))]
        fps = self.frame_rates[rng.integers(len(self.frame_rates))]
        frames = int(np.rint(rng.uniform(*self.seconds) * fps))

        drawn = {
            "shape": str(rng.choice(self.shapes)),
            "colour": str(rng.choice(self.colours)),
            "motion": str(rng.choice(self.motions)),
        }
        drawn[self.label] = self.classes[index % len(self.classes)]
        first = COLOURS[drawn["colour"]]
        behind = COLOURS[str(rng.choice(unlike(drawn["colour"])))]
        behind = mix(behind, _BLACK, float(rng.uniform(*self.dim)))

        radius = float(rng.uniform(*self.diameter)) / 2 * min(1.0, W / H)
        angle = float(rng.uniform(-self.tilt, self.tilt))
        shake = draw_shake(rng, self.shake)
        margin = radius + shake.size  # nothing of the object ever leaves the frame
        room = tuple(min(max(half - margin, 0.0), self.wander) for half in (0.5, W / H / 2))
        thing = Object(
            shape=drawn["shape"],
            colour=drawn["colour"],
            texture=draw_texture(rng, patterns, self.period, two_tones(rng, first, self.contrast)),
            motion=draw_motion(rng, drawn["motion"], room),
            radius=radius,
            angle=angle,
        )
        background = draw_texture(rng, patterns, self.period, two_tones(rng, behind, self.contrast))
        speed, towards = self.drift * rng.uniform(), rng.uniform(0, 2 * np.pi)
        return Scene(
            size=(H, W),
            frames=frames,
            fps=fps,
            class_name=drawn[self.label],
            objects=(thing,),
            background=background,
            drift=(float(speed * np.sin(towards)), float(speed * np.cos(towards))),
            shake=shake,
            light=draw_light(rng, self.swing, self.slope),
            noise=float(rng.uniform(*self.noise)),
            noise_seed=int(rng.integers(2**31)),
        )


def draw(seed, index, world=None, unseen=False) -> Clip:
    """Clip number `index` of a world (`World()` unless told), with its labels and masks.

    It depends on (seed, index) alone, whoever draws it, when, and in which order.
    """
    return render((world or World()).scene(seed, index, unseen))
