"""A scene says what there is to see; `render` makes the clip, and the truth about it.

A scene holds no pixels and no random generator, only numbers: rendered twice, it gives the
same clip. Lengths are in frame heights and places are (down, right) from the frame's centre,
so a scene does not depend on the number of pixels either.
"""

from dataclasses import dataclass

import numpy as np

from video.synthetic.camera import Light, Shake, brightness, sway
from video.synthetic.motion import Motion, path_length, pose, reverse
from video.synthetic.shapes import coverage
from video.synthetic.textures import Texture, paint


@dataclass(frozen=True)
class Object:
    """One thing in the scene.

    shape: a name in `shapes.SHAPES`. colour: a name in `textures.COLOURS`, the colour that its
    texture varies. radius: of the circle about it, in frame heights. angle: how far it is
    turned clockwise, in radians. Its texture moves, turns and grows with it.
    """

    shape: str
    colour: str
    texture: Texture
    motion: Motion
    radius: float
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """All that a clip shows.

    size: (H, W) in pixels. frames: T. fps: frames in a second. class_name: the label.
    objects: later ones lie over earlier ones. drift: (down, right), how fast the background
    moves, in frame heights a second. noise: standard deviation, in grey levels of 0 to 255.
    backwards: the clip is drawn as the rest says, then its frames are put in reverse order.
    """

    size: tuple[int, int]
    frames: int
    fps: float
    class_name: str
    objects: tuple[Object, ...]
    background: Texture
    drift: tuple[float, float] = (0.0, 0.0)
    shake: Shake = Shake()
    light: Light = Light()
    noise: float = 0.0
    noise_seed: int = 0
    backwards: bool = False

    @property
    def seconds(self):
        return self.frames / self.fps

    def labels(self):
        """What can be said of each object: shape, colour, motion, speed (frame heights / s)."""
        return [
            {
                "shape": thing.shape,
                "colour": thing.colour,
                "motion": (reverse(thing.motion) if self.backwards else thing.motion).name,
                "speed": path_length(thing.motion) / self.seconds,
            }
            for thing in self.objects
        ]


@dataclass(frozen=True)
class Clip:
    """A drawn scene.

    frames: uint8 (T, H, W, 3).
    masks: uint8 (T, H, W), 0 for background, k + 1 where object k is what is seen.
    positions: float64 (T, objects, 2), the centroid of each whole object in pixels
        (row, column), also where another object hides it.
    scene: what was drawn; `scene.class_name` and `scene.labels()` are the labels.
    """

    frames: np.ndarray
    masks: np.ndarray
    positions: np.ndarray
    scene: Scene


def render(scene):
    """Draw a scene: `Clip`.

    Each pixel is taken at its centre. An object of coverage a hides what is behind it:
    `image = (1 - a) image + a texture`. Light multiplies, noise adds, then 0 to 255 is cut.
    """
    (H, W), T = scene.size, scene.frames
    y = ((np.arange(H) - (H - 1) / 2) / H)[:, None]  # (H, 1), frame heights
    x = ((np.arange(W) - (W - 1) / 2) / H)[None, :]  # (1, W)
    progress = np.linspace(0.0, 1.0, T)
    times = np.arange(T) / scene.fps
    shaken = sway(scene.shake, times)  # (T, 2)
    grain = np.random.default_rng(scene.noise_seed)

    frames = np.empty((T, H, W, 3), np.uint8)
    masks = np.zeros((T, H, W), np.uint8)
    positions = np.empty((T, len(scene.objects), 2))
    for i, (t, s) in enumerate(zip(times, progress, strict=True)):
        seen_y, seen_x = y - shaken[i, 0], x - shaken[i, 1]  # where each pixel looks
        image = paint(
            scene.background, seen_y - scene.drift[0] * t, seen_x - scene.drift[1] * t
        )  # (H, W, 3)
        for k, thing in enumerate(scene.objects):
            down, right, scale = pose(thing.motion, s)
            middle = (
                (down + shaken[i, 0]) * H + (H - 1) / 2,
                (right + shaken[i, 1]) * H + (W - 1) / 2,
            )
            box = _around(middle, thing.radius * scale * H, (H, W))
            off_y, off_x = seen_y[box[0]] - down, seen_x[:, box[1]] - right
            cos, sin = np.cos(thing.angle) / scale, np.sin(thing.angle) / scale
            own_y = cos * off_y - sin * off_x  # the object's own axes
            own_x = sin * off_y + cos * off_x
            cover = coverage(
                thing.shape, own_y / thing.radius, own_x / thing.radius, thing.radius * scale * H
            )
            behind = image[box]
            behind += cover[..., None] * (paint(thing.texture, own_y, own_x) - behind)
            masks[i][box][cover >= 0.5] = k + 1
            positions[i, k] = middle
        image *= brightness(scene.light, t, y, x).astype(np.float32)[..., None]
        if scene.noise:
            image += np.float32(scene.noise) * grain.standard_normal(image.shape, np.float32)
        frames[i] = np.clip(np.rint(image, out=image), 0, 255, out=image)
    order = slice(None, None, -1 if scene.backwards else 1)
    return Clip(frames[order], masks[order], positions[order], scene)


def _around(middle, radius, size):
    """The part of the frame that holds a circle, as (rows, columns): nothing else need be drawn."""
    low = [max(int(m - radius) - 1, 0) for m in middle]
    high = [min(max(int(m + radius) + 3, 0), n) for m, n in zip(middle, size, strict=True)]
    return slice(low[0], high[0]), slice(low[1], high[1])
