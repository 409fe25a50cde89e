"""Every layer and loss of the library in several configurations, for checks of their gradients.

A case makes a module and inputs that fit. Sizes are odd and differ from axis to axis, so that a
mixed-up axis cannot go unseen; channels in and out differ for the same reason. Each option has
a case: a bug that only shows with a stride, with padding, with groups or with ties needs one.

    for case in CASES["Conv2d"]:
        module, inputs = case.build()

- `case.py`: what a case is;
- one file for each group of layers, with its part of `CASES`.

A test fails when a module that `nn` exports has no case here.
"""

from nn.gradcheck.cases import (
    activation,
    attention,
    convolution,
    dense,
    losses,
    normalization,
    pooling,
    recurrent,
    transposed_convolution,
    upsampling,
)
from nn.gradcheck.cases.case import Case, case, with_ids, with_probabilities, with_ties

CASES = {
    **convolution.CASES,
    **transposed_convolution.CASES,
    **pooling.CASES,
    **upsampling.CASES,
    **activation.CASES,
    **normalization.CASES,
    **dense.CASES,
    **attention.CASES,
    **recurrent.CASES,
    **losses.CASES,
}

__all__ = ["CASES", "Case", "case", "with_ids", "with_probabilities", "with_ties"]
