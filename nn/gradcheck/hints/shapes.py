"""What may be done about a gradient whose shape is wrong."""

import itertools

from nn.gradcheck.hints.evidence import axes_text

UNPACK = "did you unpack it: (x,) = self.take()?"


def shape_hint(got, expected):
    """ ": ..." for a gradient of the wrong shape, or nothing."""
    if got == expected:
        return ""
    if got == (1, *expected):
        return f": {UNPACK} Or drop the axis of length 1 (keepdims)"
    if sorted(got) == sorted(expected):
        return ": transpose it"
    if [s for s in got if s != 1] == [s for s in expected if s != 1]:
        return ": drop or keep the axes of length 1 (keepdims)"
    for count in range(1, len(got) + 1):
        for axes in itertools.combinations(range(len(got)), count):
            left = tuple(s for axis, s in enumerate(got) if axis not in axes)
            if left == expected:
                return f": a sum over {axes_text(axes)} is missing"
    return ""
