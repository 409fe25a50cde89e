"""Patterns: right numbers in wrong places, and right here but wrong there."""

import itertools

import numpy as np

from nn.gradcheck.hints.evidence import axes_text, same

SHORT = "a mask too strict, a slice too short, or a sum that leaves some out?"


def transposed(e):
    """Axes in another order, or the numbers of the transpose forced into the shape."""
    a, n = e.claim, e.numeric
    for order in itertools.permutations(range(n.ndim)):
        if order == tuple(range(n.ndim)):
            continue
        turned = n.transpose(order)
        axes = f"axes {order}"
        if turned.shape == n.shape and same(a, turned):
            yield f"transposed: a is n with its {axes}"
            return
        if same(a, turned.reshape(n.shape)):
            yield f"transposed and then reshaped: a holds the numbers of n with its {axes}"
            return
        if same(a, n.reshape(turned.shape).transpose(np.argsort(order))):
            yield f"reshaped where a transpose is meant ({axes}): the numbers of n, in other places"
            return


def flipped(e):
    """Reversed along some axes."""
    long = [axis for axis in range(e.numeric.ndim) if e.numeric.shape[axis] > 1]
    for count in range(1, len(long) + 1):
        for axes in itertools.combinations(long, count):
            if same(e.claim, np.flip(e.numeric, axes)):
                yield f"flipped along {axes_text(axes)}: the last comes first"
                return


def shifted(e):
    """Moved along one axis, with or without coming in again at the other end."""
    for axis, length in enumerate(e.numeric.shape):
        for k in range(1, length):
            if same(e.claim, np.roll(e.numeric, k, axis)):
                yield f"shifted by {min(k, length - k)} along axis {axis}, round the end"
                return
        for k in (1, 2):
            if length < k + 3:
                continue
            late = same(_cut(e.claim, axis, k, None), _cut(e.numeric, axis, 0, length - k))
            early = same(_cut(e.claim, axis, 0, length - k), _cut(e.numeric, axis, k, None))
            if late or early:
                yield (
                    f"shifted by {k} along axis {axis}, towards the {'end' if late else 'start'}: "
                    "off by one in a slice or in the padding?"
                )
                return


def _cut(array, axis, start, stop):
    return array[(slice(None),) * axis + (slice(start, stop),)]


def zeros(e):
    """0 where it should not be, or the other way round; right elsewhere."""
    wrong = e.wrong
    n = np.nan_to_num(e.numeric)
    right = ~wrong & (n != 0)
    if np.count_nonzero(wrong) < 2 or not right.any() or ((e.claim != 0) & (n != 0) & wrong).any():
        return
    lost, invented = wrong & (e.claim == 0), wrong & (n == 0)
    if lost.any() and invented.any():
        yield (
            "right where neither is 0, but the zeros are at other places: is this the mask that "
            "forward used?"
        )
    elif lost.any():
        count = f"{np.count_nonzero(lost)} of {wrong.size} entries"
        yield f"backward says 0 at {count} that do move the output; right elsewhere: {SHORT}"
    else:
        count = f"{np.count_nonzero(invented)} of {wrong.size} entries"
        yield (
            f"{count} do not move the output, yet get a gradient; right elsewhere: is a mask "
            "missing in backward?"
        )


def border(e):
    """Wrong at the border alone, one or two entries wide."""
    wrong = e.wrong
    for width in (1, 2):
        long = [axis for axis in e.places if wrong.shape[axis] > 2 * width]
        for count in range(1, len(long) + 1):
            for axes in itertools.combinations(long, count):
                middle = slice(width, -width)
                inside = tuple(middle if k in axes else slice(None) for k in range(wrong.ndim))
                rim = np.ones(wrong.shape, bool)
                rim[inside] = False
                at_rim = np.count_nonzero(wrong & rim)
                many = at_rim >= 2 and 4 * at_rim >= np.count_nonzero(rim)
                if many and not wrong[inside].any() and np.nan_to_num(e.numeric[inside]).any():
                    wide = "" if width == 1 else f" ({width} entries wide)"
                    yield (
                        f"right except at the border of {axes_text(axes)}{wide}: look at the "
                        "padding, and at the slice that cuts it off"
                    )
                    return


def slices(e):
    """Wrong at a few indices along one axis alone."""
    wrong = e.wrong
    for axis, length in enumerate(wrong.shape):
        along = np.moveaxis(wrong, axis, 0).reshape(length, -1)
        hit = along.any(axis=1)
        if not hit.any() or along.shape[1] < 3 or along[hit].mean() <= 0.5:
            continue
        rest = np.moveaxis(np.nan_to_num(e.numeric), axis, 0)[~hit]
        if 2 * np.count_nonzero(hit) <= length and rest.reshape(len(rest), -1).any(axis=1).all():
            which = ", ".join(map(str, np.flatnonzero(hit)))
            yield f"right except at index {which} of axis {axis}"
            return


def signs(e):
    """Right sizes, some signs wrong."""
    wrong = e.wrong
    if np.count_nonzero(wrong) >= 2 and same(np.abs(e.claim), np.abs(e.numeric)):
        yield (
            f"right up to sign, and {np.count_nonzero(wrong)} of {wrong.size} signs are wrong: is "
            "a sign(x) or an absolute value missing?"
        )
