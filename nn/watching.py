"""Looking at what passes through a network, without a word about it in the layers.

While a module is looked at, its `forward` and `backward` are wrapped: on the instance, and for
the length of a `with` block. A module nobody looks at runs exactly its own code.

`wrapped` is the one way in. `watch` below, `trace` (for `summary` and `interop`) and the search
for inf and NaN in `finite.py` all stand on it.
"""

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from nn.embedding import Embedding
from nn.module import Module


@contextmanager
def wrapped(modules, forward=None, backward=None):
    """Inside this block, calls of the modules' forward and backward go through these functions.

    They are called as `forward(module, run, *inputs, **options)` and
    `backward(module, run, dy, **options)`; `run` is what would have run otherwise, and what they
    return is what the caller gets. Blocks may stand inside each other.
    """
    around = {"forward": forward, "backward": backward}
    around = {name: function for name, function in around.items() if function is not None}
    before = [(module, vars(module).copy()) for module in dict.fromkeys(modules)]
    try:
        for module, _ in before:
            for name, function in around.items():
                vars(module)[name] = _wrapper(function, module, getattr(module, name))
        yield
    finally:
        for module, attributes in before:
            for name in around:
                vars(module).pop(name, None)  # the method of the class shows again,
                if name in attributes:
                    vars(module)[name] = attributes[name]  # or the wrapper of an outer block


def _wrapper(function, module, run):
    @functools.wraps(run)  # keeps the signature: some callers ask for `need_input_grad`
    def call(*args, **options):
        return function(module, run, *args, **options)

    call.only_watches = True  # copies of the module leave it behind: see Module.__getstate__
    return call


@dataclass(eq=False)
class Seen:
    """What passed through one module last: None where nothing did.

    `inputs` (a tuple) and `output` of its forward, the gradient `grad` that reached its
    backward, and for attention the `weights` (N, heads, T_q, T_k) it gave.
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

    `seen` maps each module to a `Seen`, and stays readable after the block. Arrays are kept as
    they are, not copied. Of a module that is called several times the last of each is kept:
    the output of the last forward, and the gradient of the last backward, which belongs to the
    first forward, since backward takes them back in the opposite order.

    Raises ValueError if no module is named, TypeError for what is no module.
    """
    if not modules:
        raise ValueError("watch: expected the modules to look at, as in nn.watch(model.features)")
    for module in modules:
        if not isinstance(module, Module):
            raise TypeError(f"watch: expected modules, got a {type(module).__name__}: {module!r}")
    seen = {module: Seen() for module in modules}

    def forward(module, run, *inputs, **options):
        seen[module].inputs = inputs
        seen[module].output = run(*inputs, **options)
        return seen[module].output

    def backward(module, run, dy, *args, **options):
        seen[module].grad = dy
        return run(dy, *args, **options)

    before = {module: module.watched for module in seen}
    with wrapped(seen, forward, backward):
        try:
            for module, record in seen.items():
                module.watched = (*module.watched, record)  # where attention leaves its weights
            yield seen
        finally:
            for module, records in before.items():
                module.watched = records


@dataclass(eq=False)
class Call:
    """One call of a module during a forward pass: what went in and what came out."""

    module: Module
    inputs: tuple
    output: object


def trace(model, *inputs, **options):
    """Run `model(*inputs)` once and list the calls of all modules inside, as they finish."""
    calls = []

    def forward(module, run, *inputs, **options):
        output = run(*inputs, **options)
        calls.append(Call(module, inputs, output))
        return output

    with wrapped((module for _, module in model.named_modules()), forward):
        model(*inputs, **options)
    return calls


def trace_shape(model, input_shape):
    """`trace` for one input of zeros of `input_shape` (without N), run as in use (`eval()`).

    Afterwards each module is in the mode it was in. Ids are fed where the first layer is an
    Embedding. Raises ValueError if the model takes more than one input.
    """
    wanted = inspect.signature(model.forward).parameters.values()
    wanted = [p.name for p in wanted if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(wanted) != 1:
        raise ValueError(
            f"{model.describe()}: a shape stands for one input, but forward takes "
            f"{len(wanted)} ({', '.join(wanted)}); do it for the modules inside"
        )
    modules = [module for _, module in model.named_modules()]
    first = next(module for module in modules if not any(module.named_children()))
    dtype = next((parameter.data.dtype for parameter in model.parameters()), np.float32)
    modes = [(module, module.training) for module in modules]
    model.eval()
    try:
        zeros = np.zeros((1, *input_shape), int if isinstance(first, Embedding) else dtype)
        return trace(model, zeros)
    finally:
        for module, training in modes:
            module.training = training
