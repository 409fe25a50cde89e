"""Looking at what passes through a network, without a word about it in the layers.

While a module is watched its `forward` and `backward` are wrapped, on the instance and for the
length of the `with` block. A module nobody watches runs exactly its own code.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Seen:
    """What passed through one module last: None where nothing did.

    `inputs` and `output` of its forward, the gradient `grad` that reached its backward, and for
    attention the `weights` (N, heads, T_q, T_k) it gave.
    """

    inputs: tuple = None
    output: np.ndarray = None
    grad: np.ndarray = None
    weights: np.ndarray = None


@contextmanager
def watch(*modules):
    """Keep each module's last output and the last gradient that reached it.

        with nn.watch(model.features, model.classifier) as seen:
            loss(model(x), labels)
            model.backward(loss.backward())
        seen[model.features].output, seen[model.features].grad

    `seen` maps each module to a `Seen`. Arrays are kept as they are, not copied.
    """
    seen = {module: Seen() for module in modules}
    for module, record in seen.items():
        _wrap(module, record)
    try:
        yield seen
    finally:
        for module in seen:
            for name in ("forward", "backward", "watched"):
                module.__dict__.pop(name, None)


def _wrap(module, record):
    forward, backward = module.forward, module.backward

    def watched_forward(*inputs, **options):
        record.inputs = inputs
        record.output = forward(*inputs, **options)
        return record.output

    def watched_backward(dy, *args, **options):
        record.grad = dy
        return backward(dy, *args, **options)

    module.forward, module.backward = watched_forward, watched_backward
    module.watched = record  # where attention leaves its weights


@dataclass
class Call:
    """One call of a module during a forward pass: its dotted name, and what went in and out."""

    name: str
    module: object
    inputs: tuple = field(repr=False)
    output: object = field(repr=False)


def trace(model, *inputs, **options):
    """Run `model(*inputs)` once and list the calls of all modules inside, as they finish."""
    calls = []

    def wrap(name, module):
        forward = module.forward

        def traced(*args, **kwargs):
            output = forward(*args, **kwargs)
            calls.append(Call(name, module, args, output))
            return output

        module.forward = traced

    modules = list(model.named_modules())
    for name, module in modules:
        wrap(name, module)
    try:
        model(*inputs, **options)
    finally:
        for _, module in modules:
            module.__dict__.pop("forward", None)
    return calls
