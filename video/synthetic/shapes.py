"""Shapes, each given by how far a point lies from its edge.

A shape is a function `d(y, x)`, y down and x to the right: negative inside, positive outside,
zero on the edge, with slope 1 across the edge, so that near the edge it is the distance to it.
(Far away it may differ from the true distance: only the edge is drawn.) Half-planes join by
`max` (inside both) and shapes by `min` (inside either).

Every shape has its centroid at the origin and just fits into the circle of radius 1 about it.
So the radius says nothing about the shape, and an object's position is its mask's centroid.
"""

import numpy as np


def _disc(y, x, radius):
    return np.hypot(y, x) - radius


def _box(y, x, half_height, half_width):
    return np.maximum(np.abs(y) - half_height, np.abs(x) - half_width)


def circle(y, x):
    """All within distance 1 of the centre."""
    return _disc(y, x, 1.0)


def square(y, x):
    """Its corners lie on the circle of radius 1."""
    return _box(y, x, np.sqrt(0.5), np.sqrt(0.5))


def triangle(y, x):
    """Equilateral, one corner up: three half-planes at distance 1/2."""
    slanted = np.sqrt(0.75) * np.abs(x) - 0.5 * y
    return np.maximum(slanted, y) - 0.5


def star(y, x):
    """Five points. By symmetry one half-plane, from a tip to the notch beside it, does for all."""
    notch = 0.45  # radius of the inner corners
    sector = 2 * np.pi / 5
    angle = np.arctan2(x, -y)  # 0 at the top tip
    angle = np.abs(angle - sector * np.rint(angle / sector))
    radius = np.hypot(y, x)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    # The line through the tip (1, 0) and the notch, in these folded coordinates.
    edge = np.array([notch * np.cos(sector / 2) - 1, notch * np.sin(sector / 2)])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return normal[0] * (along - 1) + normal[1] * across


def cross(y, x):
    """Two bars across each other, their corners on the circle of radius 1."""
    arm, half_width = 0.945, 0.327  # their squares sum to 1
    return np.minimum(_box(y, x, arm, half_width), _box(y, x, half_width, arm))


def ring(y, x):
    """A circle of radius 0.78, drawn 0.44 wide."""
    return np.abs(_disc(y, x, 0.78)) - 0.22


def heart(y, x):
    """A square on its corner, with a half-disc on each of its two upper sides."""
    h = 0.5385  # half a side: the lower corner touches the circle of radius 1
    y = y - 0.4431 * h  # puts the centroid at the origin
    s = np.sqrt(0.5)
    tipped = _box(s * (y + x), s * (y - x), h, h)
    lobe = _disc(y + s * h, np.abs(x) - s * h, h)
    return np.minimum(tipped, lobe)


def crescent(y, x):
    """A disc with a smaller disc bitten out of its right side."""
    r = 0.7977
    x = x - 0.3120 * r  # puts the centroid at the origin
    return np.maximum(_disc(y, x, r), -_disc(y, x - 0.5 * r, 0.7 * r))


SHAPES = {f.__name__: f for f in (circle, square, triangle, star, cross, ring, heart, crescent)}


def coverage(shape, y, x, pixels):
    """How much of each pixel the shape covers, 0 to 1, over a soft edge one pixel wide.

    shape: a name in `SHAPES`. y, x: in radii of the object. pixels: pixels per radius.
    """
    return np.clip(0.5 - pixels * SHAPES[shape](y, x), 0.0, 1.0)
