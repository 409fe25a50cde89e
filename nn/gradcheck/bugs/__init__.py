"""A gallery of wrong backwards. Each runs, most would train, and each must be caught.

A bug is a few lines that replace a part of the right layer:

    from nn.gradcheck.bugs import BUGS, plant
    broken = plant(BUGS[0], nn.Linear(3, 4))       # the same layer, its backward spoilt
    print(nn.check_gradients(broken, x))

Many bugs hide: behind stride 1, behind no padding, behind values without ties. What a bug
needs to show is its `only_with`, a key of `CONDITIONS`. The tests hold every bug against every
case of `nn/gradcheck/cases/`: it must be caught there, and not where it hides.
"""

import importlib
import inspect
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bug:
    """One planted bug: what it breaks, the code that does it, and what it needs to show."""

    layers: tuple  # names of the layers that it is planted in
    code: type  # a class whose methods take the place of the layer's
    only_with: str | None  # a key of CONDITIONS; None if every input shows it

    @property
    def name(self):
        return self.code.__name__

    @property
    def about(self):
        """What is wrong, in one line."""
        return inspect.getdoc(self.code)

    @property
    def source(self):
        """The code, to be shown beside the right one."""
        return inspect.getsource(self.code)


BUGS = []

# Under which module and input a hidden bug shows.
CONDITIONS = {
    "a stride": lambda module, x: max(module.stride) > 1,
    "padding": lambda module, x: any(map(any, module.padding)),
    "dilation": lambda module, x: max(module.dilation) > 1,
    "groups": lambda module, x: module.groups > 1,
    "a wide kernel": lambda module, x: module.kernel_size[-1] > 1,
    "overlapping windows": lambda module, x: any(
        k > s for k, s in zip(module.kernel_size, module.stride, strict=True)
    ),
    "an oblong window": lambda module, x: len(set(module.kernel_size)) > 1,
    "several clips": lambda module, x: len(x) > 1,
    "a bias": lambda module, x: module.bias is not None,
    "axes between N and C": lambda module, x: x.ndim > 2,
    "equal inputs": lambda module, x: np.unique(x).size < x.size,
    "zeros": lambda module, x: not x.all(),
    "training": lambda module, x: module.training,
    "use": lambda module, x: not module.training,
    "places that no stamp reaches": lambda module, x: any(module.beyond),
    'mode "nearest"': lambda module, x: module.mode == "nearest",
    'mode "linear"': lambda module, x: module.mode == "linear",
    "repeated ids": lambda module, x: np.unique(x).size < x.size,
    "groups of several channels": lambda module, x: module.num_groups < module.num_features,
    "several groups of several channels": lambda module, x: (
        1 < module.num_groups < module.num_features
    ),
    "pre-norm": lambda module, x: module.norm_first,
    "post-norm": lambda module, x: not module.norm_first,
    "dropout": lambda module, x: module.dropout.p > 0,
    "a bias of the projections": lambda module, x: module.in_proj_bias is not None,
    "a table": lambda module, x: module.kind != "sinusoidal",
    "a table longer than the input": lambda module, x: any(
        n < most for n, most in zip(x.shape[1:-1], module.size, strict=False)
    ),
    "several frames of places": lambda module, x: module.kind == "space-time" and x.shape[1] > 1,
    "several steps": lambda module, x: x.shape[1] > 1,
    "both directions": lambda module, x: module.directions > 1,
    "padded steps": lambda module, x: not x.reshape(*x.shape[:2], -1).any(axis=-1).all(),
    "another f than tanh": lambda module, x: module.activation != "tanh",
    "an output layer": lambda module, x: module.V is not None,
    "another delta than 1": lambda module, x: module.delta != 1,
    "a weight of the yeses": lambda module, x: np.any(module.pos_weight != 1),
    "label smoothing": lambda module, x: module.label_smoothing > 0,
    "class weights or ignored labels": lambda module, x: (
        module.weight is not None or module.ignore_index is not None
    ),
}


def bug(*layers, only_with=None):
    """Enter a class into the gallery: `@bug("Linear")`."""
    if only_with is not None and only_with not in CONDITIONS:
        raise ValueError(f"no condition {only_with!r}; there are {', '.join(CONDITIONS)}")

    def enter(code):
        BUGS.append(Bug(layers, code, only_with))
        return code

    return enter


def plant(bug, module):
    """Put the bug into this very module, weights and all; returns the module."""
    right = type(module)
    module.__class__ = type(bug.name, (bug.code, right), {"__doc__": bug.about})
    return module


for _room in (
    "linear",
    "convolution",
    "transposed_convolution",
    "pooling",
    "upsampling",
    "activation",
    "normalization",
    "embedding",
    "attention",
    "positional",
    "transformer",
    "recurrent",
    "losses",
):
    importlib.import_module(f"nn.gradcheck.bugs.{_room}")
