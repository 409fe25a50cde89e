"""Is a backward the derivative of its forward? Checked with nothing but the forward.

    report = nn.check_gradients(nn.Conv2d(3, 4, 3), x)
    assert report.passed, report

- `check.py`: the one function people call;
- `subject.py`: the module under test, as a function from its tensors to one number;
- `differences.py`: slopes by finite differences, and what to do where there is none;
- `contract.py`: the other promises of a backward (gradients add up, last in first out, ...);
- `report.py`: what comes out;
- `cases/`, `__main__.py`: `python -m nn.gradcheck`, every layer in several configurations;
- `bugs/`: a gallery of wrong backwards, all of which are caught.
"""

from nn.gradcheck.check import check_gradients
from nn.gradcheck.report import Report

__all__ = ["Report", "check_gradients"]
