"""Patterns: a number, or an array, to multiply with or to add."""

import numpy as np

from nn.gradcheck.hints.evidence import CLOSE, same


def nothing(e):
    """All zero, on one side."""
    if not e.claim.any():
        yield "backward says 0 everywhere: is this gradient computed, and handed on?"
    elif not np.nan_to_num(e.numeric).any():
        yield (
            "forward does not follow when this tensor moves a little (rounding, a comparison, or "
            "it is not used), so its gradient is 0"
        )


def factor(e):
    """a = c · n."""
    known = np.isfinite(e.numeric)
    a, n = e.claim[known], e.numeric[known]
    if not n.any():
        return
    c = float(a @ n / (n @ n))
    if c == 0 or abs(c - 1) < CLOSE or not same(e.claim, c * e.numeric):
        return
    if abs(c + 1) < CLOSE:
        yield "right up to sign: a = −n everywhere"
        return
    meaning = _meaning(abs(c), e.sizes, e.constants)
    telling = np.count_nonzero(np.abs(n) > 1e-3 * np.abs(n).max()) >= 3
    if meaning or telling:
        sign = ", and the sign is wrong" if c < 0 else ""
        text = meaning or "a constant factor is missing or one too many"
        yield f"off by a constant factor: a = {c:.6g} · n everywhere: {text}{sign}"


def _meaning(c, sizes, constants):
    """Where a factor may come from, or None."""
    found = [
        text
        for value, text in (
            (2, "added twice, or a 2 too many"),
            (1 / 2, "a 2 is missing (the one from a square?), or a half too many"),
            (np.pi, "π too many"),
            (np.sqrt(2), "√2 too many"),
            (1 / np.sqrt(2), "√2 is missing"),
        )
        if abs(c - value) < CLOSE * value
    ]
    for name, v in constants.items():
        values = {name: v, f"1/{name}": 1 / (v or 1), f"1 − {name}": 1 - v}
        values[f"1/(1 − {name})"] = 1 / ((1 - v) or 1)
        found += [f"{c:.6g} is {text}" for text, x in values.items() if abs(c - x) < CLOSE * c]
    number = round(c if c > 1 else 1 / c)
    if number > 1 and abs(max(c, 1 / c) - number) < CLOSE * number:
        counts = [count for count, size in sizes.items() if size == number]
        what = " or ".join(counts[:2]) or "the size of a window or of a group"
        if counts or not found:
            found.append(
                f"{number} is {what}: is a division by it missing?"
                if c > 1
                else f"{number} is {what}: divided by it where forward has no mean?"
            )
    return "; or ".join(found) or None


def product(e):
    """A factor that is another array."""
    for name, other in e.others.items():
        if np.count_nonzero(other) < 3:
            continue
        itself = name == e.itself[0]
        own = f"the {e.itself[1]}'s own value"
        if same(e.claim * other, e.numeric):
            rule = f"a · {name} = n"
            yield f"{rule}: {own} is missing" if itself else f"a factor {name} is missing: {rule}"
            return
        if same(e.claim, e.numeric * other):
            rule = f"a = n · {name}"
            yield f"{rule}: {own} is too many" if itself else f"a factor {name} too many: {rule}"
            return


def factor_along(e):
    """A factor for each index of one axis."""
    for axis, length in enumerate(e.numeric.shape):
        a, n = (np.moveaxis(array, axis, 0).reshape(length, -1) for array in (e.claim, e.numeric))
        n = np.where(np.isfinite(n), n, 0)
        a = np.where(n != 0, a, 0) if not np.isfinite(e.numeric).all() else a
        large = np.abs(n) > 1e-3 * np.abs(n).max()
        if length < 2 or not (np.count_nonzero(large, axis=1) >= 2).all():
            continue
        c = (a * n).sum(axis=1) / (n * n).sum(axis=1)  # (length,)
        if not c.all() or not same(a, c[:, None] * n):
            continue
        for name, vector in e.vectors.items():
            if vector.shape == c.shape and same(c * vector, np.ones(length)):
                yield f"a factor {name} is missing, one for each index of axis {axis}"
                return
            if vector.shape == c.shape and same(c, vector):
                yield f"a factor {name} too many, one for each index of axis {axis}"
                return
        values = ", ".join(f"{value:.4g}" for value in c[:4]) + (", …" if length > 4 else "")
        yield (
            f"off by a factor for each index of axis {axis} ({values}): a scale along that axis "
            "is missing or one too many"
        )
        return


def term(e):
    """A term is missing or one too many."""
    missed = e.claim - e.numeric
    known = np.isfinite(missed)
    for name, other in e.others.items():
        weight = float(missed[known] @ other[known] / (other[known] @ other[known] or 1.0))
        if np.count_nonzero(other) >= 3 and same(missed, weight * other):
            what = "too many" if weight > 0 else "missing"
            often = "" if abs(abs(weight) - 1) < CLOSE else f"{abs(weight):.6g} · "
            yield f"a term {often}{name} is {what}: right when it is {_mended(weight)}"
            return
    for axis, length in enumerate(missed.shape):
        mean = missed.mean(axis=axis, keepdims=True)
        if length > 2 and np.isfinite(mean).all() and same(missed, mean + 0 * missed):
            yield (
                f"a − n is the same all along axis {axis}: a term that sums or averages over "
                "that axis is missing, or one too many"
            )
            return


def _mended(weight):
    return "taken off" if weight > 0 else "added"
