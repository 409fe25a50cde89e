"""What both sides of a row start from: its module with weights, as Backreel has it, and arrays.

All is drawn from fixed seeds, so two processes draw the same. PyTorch's side makes its own
module and takes the weights over by `nn.interop`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import nn
from nn.bench import backreel_networks
from nn.bench.backreel_networks import CLASSES


@dataclass
class Work:
    """Something to be timed: `run()` does it once, `read(what run returned)` gives its numbers.

    The numbers are {name: array} in Backreel's layout; they are compared, not timed.
    """

    run: Any
    read: Any


def drawn(row):
    """A layer whose weights are drawn, made for so many input channels."""
    return getattr(nn, row.kind)(row.shape[-1], **row.options, rng=0)


def norm(row):
    """A layer with gains and biases alone."""
    return getattr(nn, row.kind)(row.shape[-1])


def plain(row):
    """A layer without parameters."""
    return getattr(nn, row.kind)(**row.options)


def network(row):
    """The network of a training step."""
    make, _ = backreel_networks.NETWORKS[row.kind]
    return make(row.shape, **row.options)


def optimised(row):
    """The network whose parameters an optimiser changes."""
    make, _ = backreel_networks.NETWORKS[row.options["network"]]
    return make(row.shape)


MODULES = {
    **dict.fromkeys(["Conv1d", "Conv2d", "Conv3d"], drawn),
    **dict.fromkeys(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"], drawn),
    **dict.fromkeys(["Linear", "LSTM", "GRU", "MultiHeadAttention"], drawn),
    **dict.fromkeys(["LayerNorm", "BatchNorm"], norm),
    **dict.fromkeys(["MaxPool1d", "MaxPool2d", "MaxPool3d"], plain),
    **dict.fromkeys(["AvgPool1d", "AvgPool2d", "AvgPool3d"], plain),
    **dict.fromkeys(["GELU", "CrossEntropyLoss"], plain),
    **dict.fromkeys(backreel_networks.NETWORKS, network),
    "AdamW": optimised,
}


def module(row):
    """The row's layer or network in Backreel, with weights drawn."""
    made = MODULES[row.kind](row)
    rng = np.random.default_rng(1)
    for parameter in made.parameters():
        if parameter.data.ndim == 1:  # biases of zero and gains of one would hide mistakes
            parameter.data += 0.1 * rng.standard_normal(parameter.shape, parameter.data.dtype)
    return made.astype(row.dtype)


def inputs(row):
    """x (N, *S, C)."""
    return np.random.default_rng(2).standard_normal(row.shape, row.dtype)


def upstream(row, output_shape):
    """dy for outputs of that shape."""
    return np.random.default_rng(3).standard_normal(output_shape, row.dtype)


def labels(row, classes=CLASSES):
    """Class ids (N,)."""
    return np.random.default_rng(4).integers(0, classes, row.shape[0])


def gradients(row, seed):
    """A gradient for every parameter of the row's module, as a module like it that holds them."""
    made = module(row)
    rng = np.random.default_rng((5, seed))
    for parameter in made.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape, row.dtype)
    return made
