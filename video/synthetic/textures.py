"""Textures: patterns of two colours, given as functions of the place.

A pattern takes coordinates counted in its own periods, `v` down and `u` to the right, and gives
a number from 0 to 1: how much of the second colour is seen there. Being functions, not
pictures, textures can be moved, turned and scaled by fractions of a pixel.

`SEEN` and `UNSEEN` name two disjoint sets. A network that trains on clips with the first and is
tested on clips with the second cannot pass by remembering textures.
"""

from dataclasses import dataclass

import numpy as np

_LATTICE = 16  # random lattices repeat after this many periods


def _soft(signed):
    """A step from 0 to 1 around `signed` = 0, softened so that its edge does not flicker."""
    return np.clip(0.5 + 2.5 * signed, 0.0, 1.0)


def _to_nearest(u):
    """Distance to the nearest integer, 0 to 0.5."""
    return np.abs(u - np.rint(u))


def stripes(v, u, rng):
    """One light and one dark stripe per unit of u."""
    return _soft(np.sin(2 * np.pi * u)) + 0 * v


def checks(v, u, rng):
    """A chessboard with fields of one unit."""
    return _soft(np.sin(np.pi * u) * np.sin(np.pi * v))


def dots(v, u, rng):
    """A soft dot of radius 0.3 on every lattice point."""
    return _soft(2 * (0.3 - np.hypot(_to_nearest(u), _to_nearest(v))))


def ramps(v, u, rng):
    """Brightness rises and falls along u, once in two units."""
    return 2 * _to_nearest(u / 2) + 0 * v


def clouds(v, u, rng):
    """Value noise: random heights on a lattice, joined smoothly."""
    heights = rng.random((_LATTICE, _LATTICE))
    v, u = np.broadcast_arrays(v, u)
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    p, q = v - i, u - j
    p, q = p * p * (3 - 2 * p), q * q * (3 - 2 * q)  # flat at the lattice points: no visible grid
    i0, i1, j0, j1 = i % _LATTICE, (i + 1) % _LATTICE, j % _LATTICE, (j + 1) % _LATTICE
    top = heights[i0, j0] * (1 - q) + heights[i0, j1] * q
    bottom = heights[i1, j0] * (1 - q) + heights[i1, j1] * q
    return top * (1 - p) + bottom * p


def zigzag(v, u, rng):
    """Stripes whose phase swings to and fro along v."""
    return _soft(np.sin(2 * np.pi * (u + 1.2 * _to_nearest(v))))


def bricks(v, u, rng):
    """Rows of bricks half a unit high, every other row moved by half a brick."""
    row = np.floor(2 * v)
    joint = np.minimum(_to_nearest(2 * v) / 2, _to_nearest(u + row / 2))
    return _soft(4 * (joint - 0.06))


def ripples(v, u, rng):
    """Rings around a random centre."""
    v0, u0 = rng.uniform(-2, 2, 2)
    return _soft(np.sin(2 * np.pi * np.hypot(v - v0, u - u0)))


def plaid(v, u, rng):
    """Stripes along u and along v, added."""
    return (_soft(np.sin(2 * np.pi * u)) + _soft(np.sin(2 * np.pi * v))) / 2


def cells(v, u, rng):
    """One random point in each square of a lattice; brightness is the distance to the nearest."""
    points = rng.random((2, _LATTICE, _LATTICE))
    v, u = np.broadcast_arrays(v, u)
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    nearest = np.full(v.shape, np.inf)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            at = (i + di) % _LATTICE, (j + dj) % _LATTICE
            dv, du = v - (i + di + points[0][at]), u - (j + dj + points[1][at])
            np.minimum(nearest, dv * dv + du * du, out=nearest)
    return np.clip(np.sqrt(nearest), 0.0, 1.0)


SEEN = {f.__name__: f for f in (stripes, checks, dots, ramps, clouds)}
UNSEEN = {f.__name__: f for f in (zigzag, bricks, ripples, plaid, cells)}

COLOURS = {
    "red": (225, 60, 55),
    "orange": (240, 145, 50),
    "yellow": (240, 220, 80),
    "green": (70, 185, 85),
    "cyan": (80, 205, 215),
    "blue": (75, 115, 235),
    "purple": (175, 85, 215),
    "white": (240, 240, 235),
}


@dataclass(frozen=True)
class Texture:
    """One texture: which pattern, how large, how placed, which two colours.

    pattern: a name in `SEEN` or `UNSEEN`.
    period: length of one period, in frame heights.
    angle: how far the pattern is turned clockwise, in radians.
    shift: (down, right), in periods.
    colours: two (red, green, blue) triples, 0 to 255.
    seed: for patterns that draw (clouds, ripples, cells).
    """

    pattern: str
    period: float
    angle: float
    shift: tuple[float, float]
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    seed: int


def paint(texture, y, x):
    """The colours of `texture` at the places (y down, x right), in frame heights.

    y and x broadcast to (H, W); gives float32 (H, W, 3), 0 to 255.
    """
    cos, sin = np.cos(texture.angle) / texture.period, np.sin(texture.angle) / texture.period
    v = cos * y - sin * x + texture.shift[0]
    u = sin * y + cos * x + texture.shift[1]
    pattern = SEEN.get(texture.pattern) or UNSEEN[texture.pattern]
    share = pattern(v, u, np.random.default_rng(texture.seed)).astype(np.float32)  # (H, W)
    first, second = np.array(texture.colours, dtype=np.float32)
    image = share[..., None] * (second - first)
    image += first
    return image  # (H, W, 3)


def mix(colour, other, share):
    """`colour` moved towards `other` by `share` (0 to 1), as a triple."""
    return tuple((1 - share) * a + share * b for a, b in zip(colour, other, strict=True))


def two_tones(rng, colour, contrast):
    """A colour, and the same colour moved towards black or white; `contrast` is (least, most)."""
    end = ((0, 0, 0), (255, 255, 255))[rng.integers(2)]
    return colour, mix(colour, end, float(rng.uniform(*contrast)))


def unlike(name, distance=120.0):
    """The names of the colours that lie at least `distance` from colour `name` in RGB."""
    gap = {k: np.linalg.norm(np.subtract(c, COLOURS[name])) for k, c in COLOURS.items()}
    return [k for k in COLOURS if gap[k] >= distance]


def draw_texture(rng, patterns, period, colours):
    """A random texture: one of `patterns` (names), `period` a (least, most) pair."""
    return Texture(
        pattern=str(rng.choice(list(patterns))),
        period=float(rng.uniform(*period)),
        angle=float(rng.uniform(0, 2 * np.pi)),
        shift=(float(rng.uniform(0, 8)), float(rng.uniform(0, 8))),
        colours=colours,
        seed=int(rng.integers(2**31)),
    )
