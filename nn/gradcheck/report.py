"""What a gradient check found, tensor by tensor."""

import re
import textwrap
from dataclasses import dataclass, field

import numpy as np

WIDTH = 95  # of a printed hint, which stands four columns in


@dataclass
class Row:
    """One tensor. `relative_error` is max|a − n| / (max|a| + max|n|) over all that was checked,
    a being what backward says and n the finite difference; 0 where both are rounding noise."""

    name: str
    shape: tuple
    size: int
    elements: int  # how many were checked one by one
    directions: int  # random directions through the whole tensor
    relative_error: float
    passed: bool
    kinks: int = 0  # met, and checked again close by
    excluded: int = 0  # of these, still on a kink there
    zero: bool = False  # is this gradient zero everywhere?
    worst: str = ""  # index or direction of the largest error, if that is too large
    analytic: float = 0.0
    numeric: float = 0.0
    hints: list = field(default_factory=list)  # what the pattern of a wrong gradient looks like
    claims: np.ndarray | None = None  # all of a, where every element was checked
    numerics: np.ndarray | None = None  # all of n there, NaN where a kink lies

    @property
    def checked(self):
        text = f"{self.elements} of {self.size}"
        return text + (f" + {self.directions} directions" if self.directions else "")

    def notes(self):
        """Lines below the table's row: kinks, and what is wrong."""
        if self.excluded:
            yield f"{self.excluded} left out: kinks wherever they were tried"
        elif self.kinks:
            yield f"{self.kinks} on a kink, checked close by"
        if self.zero and self.passed:
            yield "zero everywhere, by both: here this says little"
        if self.worst:
            yield (
                f"worst at {self.worst}: backward says {self.analytic:.10g}, "
                f"finite differences say {self.numeric:.10g}"
            )
        for hint in self.hints:
            yield from textwrap.wrap(
                f"hint: {hint}",
                WIDTH,
                subsequent_indent=" " * 6,
                break_long_words=False,
                break_on_hyphens=False,
            )
        if any(re.search(r"\bn\b", hint) for hint in self.hints):
            yield "      (a is what backward gives, n the numerical slope)"


@dataclass
class Report:
    """The result of `nn.check_gradients`; true if everything passed, a table when printed.

    - `rows`: one per float input and trainable parameter;
    - `problems`: broken promises of the backward (see `contract.py`), one line each;
    - `passed`, `max_relative_error`.
    """

    title: str
    seed: int
    tolerance: float
    rows: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    promises: int = 0  # how many of the contract's checks were made
    remarks: list = field(default_factory=list)  # no mistakes, but perhaps oversights
    error: BaseException | None = None  # what backward raised, if it did

    @property
    def passed(self):
        return not self.problems and all(row.passed for row in self.rows)

    @property
    def max_relative_error(self):
        """The largest of all tensors; infinite if the gradients could not be compared."""
        if not self.rows:
            return float("inf") if self.problems else 0.0
        return max(row.relative_error for row in self.rows)

    def __bool__(self):
        return self.passed

    def __str__(self):
        head = ("tensor", "shape", "checked", "relative error", "")
        cells = [
            (r.name, str(r.shape), r.checked, f"{r.relative_error:.1e}", _word(r.passed))
            for r in self.rows
        ]
        widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
        lines = [f"gradients of {self.title}: float64, seed {self.seed}"]
        if cells:
            lines.append(_line(head, widths))
        for row, cell in zip(self.rows, cells, strict=True):
            lines.append(_line(cell, widths))
            lines += [f"    {note}" for note in row.notes()]
        lines += [f"FAIL  {problem}" for problem in self.problems]
        lines += [f"note: {remark}" for remark in self.remarks]
        lines.append(self._summary())
        return "\n".join(lines)

    __repr__ = __str__

    def _summary(self):
        if not self.rows and self.problems:
            return "failed: the gradients could not be compared"
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"{verdict}: largest relative error {self.max_relative_error:.1e}, tolerance "
            f"{self.tolerance:.0e}; {self.promises - len(self.problems)} of {self.promises} "
            "other promises kept"
        )


def _word(passed):
    return "ok" if passed else "FAIL"


def _line(cells, widths):
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
