"""The world of the main job: what it is and which way it goes, both in the name of the class.

A class is a shape and a motion, such as ring_left. Classes of one motion differ by appearance and
a single frame may tell them apart. Classes of one shape come in pairs, each the other played
backwards, and within a pair frames tell nothing: a network that sees single frames, however well
it knows shapes, is right in half of the clips.
"""

from dataclasses import dataclass, replace

from video.synthetic.motion_set import MotionWorld
from video.synthetic.shapes import SHAPES


@dataclass(frozen=True)
class ShapeMotionWorld(MotionWorld):
    """The scenes of `MotionWorld`, with objects whose shape is a part of the class.

    shapes: which of `SHAPES`. pairs: which of `PAIRS`, of those with a single object. The other
    fields are those of `MotionWorld`; objects are larger and their textures fainter, so that their
    shape is seen.
    """

    pairs: tuple[tuple[str, str], ...] = (("right", "left"),)
    size: tuple[int, int] = (96, 128)
    diameter: tuple[float, float] = (0.5, 0.62)
    contrast: tuple[float, float] = (0.05, 0.2)
    shapes: tuple[str, ...] = ("circle", "ring", "cross", "triangle")

    def __post_init__(self):
        super().__post_init__()
        unknown = [shape for shape in self.shapes if shape not in SHAPES]
        if unknown or not self.shapes:
            raise ValueError(
                f"ShapeMotionWorld: shapes are some of {', '.join(SHAPES)}, got {self.shapes}"
            )
        two = [pair for pair in self.pairs if pair[0] in ("meeting", "circle_then_cross")]
        if two:
            raise ValueError(f"ShapeMotionWorld: {two} have two objects, and so no one shape")

    @property
    def classes(self):
        """The class names, shape by shape, pair by pair."""
        motions = [name for pair in self.pairs for name in pair]
        return tuple(f"{shape}_{motion}" for shape in self.shapes for motion in motions)

    @property
    def partners(self):
        """{class: the class that it is when played backwards}."""
        motions = super().partners
        return {
            f"{shape}_{motion}": f"{shape}_{other}"
            for shape in self.shapes
            for motion, other in motions.items()
        }

    def scene(self, seed, index, unseen=False):
        """Scene number `index`: a function of (seed, index) alone; see `MotionWorld.scene`."""
        scene = super().scene(seed, index, unseen)
        shape = self.shapes[index // (2 * len(self.pairs)) % len(self.shapes)]
        (thing,) = scene.objects
        return replace(
            scene,
            class_name=f"{shape}_{scene.class_name}",
            objects=(replace(thing, shape=shape),),
        )
