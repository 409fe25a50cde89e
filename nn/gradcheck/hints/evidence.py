"""What is known of a wrong gradient, and when two arrays count as the same."""

from dataclasses import dataclass, field

import numpy as np

CLOSE = 1e-5  # what may be left after a correction, as a share of the largest entry


@dataclass
class Evidence:
    """All that is known of one tensor.

    claim, numeric: arrays of the tensor's shape; NaN in numeric where there is a kink.
    places: the axes of the tensor along which it lies in space or time, where borders are.
    sizes: {what it counts: number}, for factors.
    constants: {name: float}: settings of the module, for factors too.
    others: {name: array} of the tensor's shape that may be a factor or a term too many.
    itself: its own name among these, and "input" or "parameter".
    vectors: {name: 1-d array}: parameters.
    parts: (size, *shape of y): how much of each slope comes through each output; or None.
    """

    claim: np.ndarray
    numeric: np.ndarray
    places: tuple = ()
    sizes: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)
    itself: tuple = ("", "")
    vectors: dict = field(default_factory=dict)
    parts: np.ndarray | None = None

    @property
    def wrong(self):
        """Where a and n differ, as a boolean array; kinks count as right."""
        scale = max(np.abs(self.claim).max(), np.nanmax(np.abs(self.numeric)))
        return np.nan_to_num(np.abs(self.claim - self.numeric)) > CLOSE * scale


def same(a, n):
    """Are two arrays equal where both are known?"""
    known = np.isfinite(a) & np.isfinite(n)
    scale = max(np.abs(a[known]).max(initial=0.0), np.abs(n[known]).max(initial=0.0))
    return bool(scale > 0 and np.abs(a - n)[known].max(initial=0.0) <= CLOSE * scale)


def axes_text(axes):
    """As in "axis 1", or "axes 1, 2"."""
    return f"ax{'e' if len(axes) > 1 else 'i'}s {', '.join(map(str, axes))}"
