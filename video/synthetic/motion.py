"""Motions: where an object is, how far it is turned and how large it is, as functions of time.

Time is the progress s of the clip, 0 at the first frame and 1 at the last. Half of the motions
have a formula; the others are those played backwards, `pose(left, s) = pose(right, 1 - s)`, so
that such a pair differs in the direction of time and in nothing else.
"""

from dataclasses import dataclass, replace

import numpy as np

BACKWARDS = {
    "left": "right",
    "up": "down",
    "anticlockwise": "clockwise",
    "shrinking": "growing",
}
MOTIONS = ("still", "bounce", *(name for pair in BACKWARDS.items() for name in pair))

_HOPS = 2  # of a bouncing object in one clip
_HOP = 0.4  # how long a single hop takes, as a share of the clip


@dataclass(frozen=True)
class Motion:
    """One motion, lengths in frame heights, places (down, right) from the frame's centre.

    name: one of `MOTIONS`, or "hop": one hop at a time of the clip that `phase` says.
    centre: the middle of the path.
    extent: the length of a straight path, the diameter of a circle, the height of a hop;
        for growing and shrinking the part of the size that comes or goes, 0 to 1.
    phase: where a circle begins, in radians clockwise from its top; for a hop the progress s at
        which it begins, 0 to 0.6.
    """

    name: str
    centre: tuple[float, float]
    extent: float
    phase: float = 0.0


def pose(motion, s):
    """(down, right, scale) of the object at progress s, which may be an array."""
    if motion.name in BACKWARDS:
        return pose(replace(motion, name=BACKWARDS[motion.name]), 1 - s)
    down, right = motion.centre
    rest = 0.0 * s
    if motion.name == "right":
        return down + rest, right + motion.extent * (s - 0.5), 1.0 + rest
    if motion.name == "down":
        return down + motion.extent * (s - 0.5), right + rest, 1.0 + rest
    if motion.name == "clockwise":  # one whole turn; rows grow downwards
        angle = motion.phase + 2 * np.pi * s
        radius = motion.extent / 2
        return down - radius * np.cos(angle), right + radius * np.sin(angle), 1.0 + rest
    if motion.name == "bounce":
        height = np.abs(np.sin(_HOPS * np.pi * s))  # 0 on the ground
        return down + motion.extent * (0.5 - height), right + rest, 1.0 + rest
    if motion.name == "hop":
        height = np.sin(np.pi * np.clip((s - motion.phase) / _HOP, 0, 1))
        return down + motion.extent * (0.5 - height), right + rest, 1.0 + rest
    if motion.name == "growing":
        return down + rest, right + rest, 1.0 - motion.extent * (1 - s)
    if motion.name == "still":
        return down + rest, right + rest, 1.0 + rest
    raise ValueError(f"motion {motion.name!r} is not known; choose one of {', '.join(MOTIONS)}")


def path_length(motion):
    """How far the object's centre travels in the clip, in frame heights."""
    if motion.name in ("left", "right", "up", "down"):
        return motion.extent
    if motion.name in ("clockwise", "anticlockwise"):
        return np.pi * motion.extent
    if motion.name == "bounce":
        return 2 * _HOPS * motion.extent
    if motion.name == "hop":
        return 2 * motion.extent
    return 0.0


def reverse(motion):
    """The motion that is `motion` played backwards. Still and bounce are their own reversals."""
    if motion.name in ("still", "bounce"):
        return motion
    if motion.name == "hop":
        return replace(motion, phase=1 - _HOP - motion.phase)
    swap = BACKWARDS | {forward: back for back, forward in BACKWARDS.items()}
    return replace(motion, name=swap[motion.name])


def draw_motion(rng, name, room):
    """A random motion called `name` whose centre stays within ±room = (down, right).

    Whatever the name, the same number of random numbers is drawn: what else a scene draws
    afterwards does not depend on it.
    """
    share, down, right, phase = rng.uniform((0.6, -1, -1, 0), (1, 1, 1, 2 * np.pi))
    share, phase = float(share), float(phase)
    if name in ("left", "right"):
        reach = (0.0, share * room[1])  # how far the path goes from its middle
    elif name in ("up", "down", "bounce"):
        reach = (share * room[0], 0.0)
    elif name in ("clockwise", "anticlockwise"):
        reach = (share * min(room), share * min(room))
    else:
        reach = (0.0, 0.0)
    extent = 0.5 * share if name in ("growing", "shrinking") else 2 * max(reach)
    centre = (float(down * (room[0] - reach[0])), float(right * (room[1] - reach[1])))
    return Motion(name, centre, float(extent), phase)
