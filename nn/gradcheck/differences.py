"""Slopes by finite differences, and what to do where a function has a kink.

For a step h along a direction v (one element, or random numbers for a whole tensor):

    n = Σ (y(θ + h·v) − y(θ − h·v)) · dy / 2h          error O(h²), and rounding O(ε/h)

Differences are taken output by output before they are summed: outputs that did not move cancel
exactly.

**Kinks.** At ReLU's 0, or at a tie in max pooling, there is no derivative, and n is the mean of
two different one-sided slopes. If a claim misses n, three things can be true, and the forward
alone tells them apart:

1. h was so large that a kink lay between θ − h and θ + h. A smaller step then agrees with a
   right claim. It never agrees with a wrong one: every step measures the same derivative.
2. θ lies on a kink: the one-sided slopes differ, and go on differing as h shrinks. (Of a smooth
   function they differ by h · L″, ten times less at a tenth of the step.)
3. The claim is wrong.

Whether a point is a kink is thus decided without looking at the claim, and no wrong backward
can make itself excused. It is asked wherever the one-sided slopes differ visibly, not only
after a miss: a wrong claim may happen to be their mean. An element on a kink is checked again
at a point near by, where it is smooth. And at the kink itself a single layer's claim must lie
between the one-sided slopes, output by output: ReLU may call its derivative at 0 anything from
0 to 1, not 5.
"""

from dataclasses import dataclass

import numpy as np

STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
EPS = np.finfo(np.float64).eps
ROUNDINGS = 32  # how many ε, of outputs and inputs, the error of an output may reach
VISIBLE = 1e-3  # one-sided slopes further apart than this share of a slope may mean a kink
LOUDEST = 1e-3  # a smaller step counts only while rounding stays below this share of the slope


class Element:
    """One entry of a tensor."""

    def __init__(self, index):
        self.index = index

    def length(self, array):
        return max(1.0, abs(array[self.index]))

    def move(self, array, h):
        array[self.index] += h * self.length(array)

    def slope(self, gradient):
        return float(gradient[self.index])

    def __str__(self):
        return f"[{', '.join(map(str, self.index))}]" if self.index else "its only value"


class Direction:
    """A whole tensor moved along `v`, which is made one long."""

    def __init__(self, v, name="a random direction"):
        self.v = v / np.linalg.norm(v)
        self.name = name

    def length(self, array):
        return max(1.0, np.sqrt(np.mean(array * array)))

    def move(self, array, h):
        array += h * self.length(array) * self.v

    def slope(self, gradient):
        return float((gradient * self.v).sum())

    def __str__(self):
        return self.name


def probes(array, rng, elements, is_input):
    """Along what a tensor is checked: all elements, or some and a few directions.

    Of inputs with equal values there are two directions more, along which equal values move
    together: ties stay ties, so max pooling has a slope there, and a backward that pays every
    winner of a tie is caught.
    """
    count = min(elements, array.size)
    flat = np.arange(array.size) if count == array.size else rng.permutation(array.size)[:count]
    chosen = [Element(_index(i, array.shape)) for i in np.sort(flat)]
    if count < array.size:
        chosen += [Direction(rng.standard_normal(array.shape)) for _ in range(3)]
    if is_input and 1 < array.size:
        values, which = np.unique(array, return_inverse=True)
        if len(values) < array.size:
            which = which.reshape(array.shape)
            together = "a direction that moves equal values together"
            chosen += [
                Direction(rng.standard_normal(len(values))[which], together) for _ in range(2)
            ]
    return chosen


def _index(i, shape):
    """The index of entry i; () in an array without axes, which `unravel_index` refuses."""
    return tuple(map(int, np.unravel_index(i, shape))) if shape else ()


@dataclass
class Slope:
    """One measurement: the central difference and its rounding error; the one-sided slopes,
    summed the smallest and the largest way, output by output, and how far apart they are."""

    central: float
    noise: float
    low: float
    high: float
    jump: float


def parts(subject, array, elements):
    """(len(elements), *shape of y): how much of each element's slope comes through each output."""
    shares = []
    for element in elements:
        above, below = _both_sides(subject, array, element, STEPS[0])
        shares.append((above - below) * subject.dy / (2 * STEPS[0] * element.length(array)))
    return np.array(shares)


def _both_sides(subject, array, probe, h):
    before = array.copy()
    probe.move(array, h)
    above = subject.value()
    array[...] = before
    probe.move(array, -h)
    below = subject.value()
    array[...] = before
    return above, below


def measure(subject, array, probe, h=STEPS[0]):
    """The slope of L along a probe, with step h."""
    step = h * probe.length(array)
    above, below = _both_sides(subject, array, probe, h)
    here, dy = subject.output, subject.dy
    right, left = (above - here) * dy / step, (here - below) * dy / step
    size = np.maximum(np.abs(above), np.abs(below)) + subject.largest_input()
    rounding = ROUNDINGS * EPS * size * np.abs(dy) * (above != below) / step  # of each output
    low, high = np.minimum(left, right).sum(), np.maximum(left, right).sum()
    return Slope(
        central=float(((above - below) * dy).sum()) / (2 * step),
        noise=float(np.sqrt((rounding * rounding).sum())),  # errors of many outputs cancel
        low=float(low),
        high=float(high),
        jump=max(0.0, float(high - low - rounding.sum())),  # but not in a sum of sizes
    )


@dataclass
class Verdict:
    """What is known of one claim: by how much it misses the slope, and whether there is one."""

    miss: float
    numeric: float
    kink: bool = False


def examine(subject, array, probe, claim, allowed, scale):
    """A claim missed the slope, or the slope may have a kink. Which is it?

    `allowed` is the largest miss that passes, `scale` the size of the tensor's slopes, against
    which rounding is judged.
    """
    slopes = [measure(subject, array, probe, h) for h in STEPS]
    wide, narrow = slopes[-2:]
    if narrow.jump > allowed and narrow.jump > 0.5 * wide.jump:
        beyond = max(narrow.low - claim, claim - narrow.high) - narrow.noise
        return Verdict(max(0.0, beyond), narrow.central, kink=True)
    clear = [slopes[0]] + [slope for slope in slopes[1:] if slope.noise <= LOUDEST * scale]
    misses = [max(0.0, abs(claim - slope.central) - slope.noise) for slope in clear]
    best = int(np.argmin(misses))
    return Verdict(misses[best], clear[best].central)
