"""What a wrong gradient looks like: patterns that name their cause.

Known are what backward claims, a, and what finite differences say, n, for every entry of one
tensor. Each pattern is a correction: a times a factor, transposed, without its border, ... A
hint is given only if the corrected a equals n to five digits, so that a gradient that is wrong
in no known way gets none: a wrong hint teaches worse than no hint.

- `evidence.py`: what is known;
- `factors.py`, `places.py`, `sums.py`: the patterns, generators of hints;
- `shapes.py`: for gradients that cannot be compared, since their shape is wrong.
"""

import numpy as np

from nn.gradcheck.hints import factors, places, sums
from nn.gradcheck.hints.evidence import Evidence, same
from nn.gradcheck.hints.shapes import UNPACK, shape_hint

__all__ = ["UNPACK", "Evidence", "find", "shape_hint"]

KNOWN = 0.5  # the share of entries whose slope must be known: the rest lies on kinks
MOST = 2  # so many hints for one tensor

# From the most telling down. The first group with a hint is the one that speaks.
GROUPS = (
    (factors.nothing, factors.factor),
    (places.transposed, places.flipped),
    (places.border,),
    (places.zeros, places.slices),
    (sums.one_of_a_sum, sums.overwritten),
    (places.signs,),
    (places.shifted,),
    (factors.product, factors.factor_along),
    (factors.term, sums.constant),
)


def find(evidence):
    """The hints that fit, the most telling first; none if the pattern is not known."""
    a, n = evidence.claim, evidence.numeric
    if a.size == 0 or np.isfinite(n).mean() < KNOWN or same(a, n):
        return []
    for group in GROUPS:
        hints = [hint for pattern in group for hint in pattern(evidence)]
        if hints:
            return hints[:MOST]
    return []
