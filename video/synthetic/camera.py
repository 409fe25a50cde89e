"""What lies between a scene and its frames: a hand that shakes, a light that changes, noise."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shake:
    """A camera that sways: on each axis the sum of two sines, one slow and one fast.

    size: the largest way off the centre, in frame heights.
    rates, phases: for (down, right), each (slow, fast), in hertz and radians.
    """

    size: float = 0.0
    rates: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    phases: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))


def sway(shake, t):
    """How far everything is moved in the picture at times t (T,), in seconds: (T, 2)."""
    rates, phases = np.array(shake.rates), np.array(shake.phases)  # (2, 2): axis, sine
    waves = np.sin(2 * np.pi * rates * t[:, None, None] + phases)  # (T, 2, 2)
    return shake.size * waves.mean(axis=2)


@dataclass(frozen=True)
class Light:
    """Light that brightens and dims, from a lamp that stands to one side.

    swing: largest change of brightness in time, as a share. rate in hertz, phase in radians.
    slope: (down, right), change of brightness for each frame height.
    """

    swing: float = 0.0
    rate: float = 0.0
    phase: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)


def brightness(light, t, y, x):
    """The factor on each pixel at time t (seconds), places in frame heights: (H, W)."""
    in_time = 1 + light.swing * np.sin(2 * np.pi * light.rate * t + light.phase)
    return in_time * (1 + light.slope[0] * y + light.slope[1] * x)


def draw_shake(rng, size):
    """A random shake; `size` is a (least, most) pair."""
    slow, fast = rng.uniform(0.3, 1.5, 2), rng.uniform(2, 5, 2)
    phases = rng.uniform(0, 2 * np.pi, (2, 2))
    return Shake(
        size=float(rng.uniform(*size)),
        rates=tuple(zip(slow.tolist(), fast.tolist(), strict=True)),
        phases=tuple(map(tuple, phases.tolist())),
    )


def draw_light(rng, swing, slope):
    """A random light; `swing` and `slope` are the largest."""
    rate, phase, towards = rng.uniform((0.2, 0, 0), (1.5, 2 * np.pi, 2 * np.pi)).tolist()
    swing, slope = (rng.uniform(0, 1, 2) * (swing, slope)).tolist()
    slope = (slope * float(np.sin(towards)), slope * float(np.cos(towards)))
    return Light(swing, rate, phase, slope)
