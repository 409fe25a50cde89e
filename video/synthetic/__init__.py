"""A small world that draws labelled clips: textured shapes that move over textured ground.

`draw(seed, index)` gives a clip with its labels, masks and positions; `write_folder(root)` a
folder of real video files. A world is an object with `classes` and `scene(seed, index, unseen)`;
new worlds are new files that put other objects, motions and cameras into a `Scene`.
"""

from video.synthetic.folders import write_folder
from video.synthetic.motion import BACKWARDS, MOTIONS, Motion, reverse
from video.synthetic.motion_set import PAIRS, MotionWorld
from video.synthetic.scene import Clip, Object, Scene, render
from video.synthetic.shape_motion import ShapeMotionWorld
from video.synthetic.shapes import SHAPES
from video.synthetic.textures import COLOURS, SEEN, UNSEEN, Texture
from video.synthetic.world import World, draw

__all__ = [
    "BACKWARDS",
    "COLOURS",
    "MOTIONS",
    "SEEN",
    "SHAPES",
    "UNSEEN",
    "Clip",
    "Motion",
    "MotionWorld",
    "PAIRS",
    "Object",
    "Scene",
    "ShapeMotionWorld",
    "Texture",
    "World",
    "draw",
    "render",
    "reverse",
    "write_folder",
]
