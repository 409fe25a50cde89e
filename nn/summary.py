"""What a network costs: shapes, parameters, multiply-adds, and the memory of saved arrays."""

import numpy as np

from nn.convolution import _Conv
from nn.linear import Linear
from nn.module import Parameter
from nn.transposed_convolution import _ConvTranspose
from nn.watching import trace

COLUMNS = "{:58} {:>20} {:>12} {:>10} {:>10}"


def summary(model, input_shape, dtype=np.float32):
    """A table of every module for one input of `input_shape` (without N), as a string.

    - output: the shape of what the module gives, without N;
    - parameters: its own, without those of modules inside;
    - mult-adds: of convolutions and dense layers; what activations, norms and pools do beside
      them is left out;
    - saved: what its forward keeps until backward, each array counted where it is kept first,
      parameters not counted.

    The model runs once, on zeros, as in use (`eval()`); afterwards it is as it was.
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        calls = {c.name: c for c in trace(model, np.zeros((1, *input_shape), dtype))}
        counted = {id(_base(parameter.data)) for parameter in model.parameters()}
        rows = [
            (name, module, calls.get(name), _saved_bytes(module, counted))
            for name, module in model.named_modules()
        ]
    finally:
        model.forget()
        for module, training in modes:
            module.training = training

    lines = [COLUMNS.format("module", "output", "parameters", "mult-adds", "saved")]
    lines.append("-" * len(lines[0]))
    total_work = total_saved = 0
    for name, module, call, saved in rows:
        work = multiply_adds(module, call) if call else 0
        total_work, total_saved = total_work + work, total_saved + saved
        own = sum(v.size for v in vars(module).values() if isinstance(v, Parameter))
        depth = name.count(".") + 1 if name else 0
        label = "  " * depth + (name.rpartition(".")[2] + ": " if name else "") + module.describe()
        shape = tuple(call.output.shape[1:]) if call else ""
        cells = [f"{own:,}" if own else "", short(work), short(saved, "B")]
        lines.append(COLUMNS.format(label[:58], str(shape), *cells))
    lines.append("-" * len(lines[0]))
    cells = [f"{model.num_parameters:,}", short(total_work), short(total_saved, "B")]
    lines.append(COLUMNS.format("in all, for one input", "", *cells))
    return "\n".join(line.rstrip() for line in lines)


def multiply_adds(module, call):
    """Every weight is used once at each place: of the output, or of the input if transposed."""
    if isinstance(module, _Conv | Linear):
        return call.output.size // call.output.shape[-1] * module.weight.size
    if isinstance(module, _ConvTranspose):
        return call.inputs[0].size // call.inputs[0].shape[-1] * module.weight.size
    return 0


def short(number, unit=""):
    """12345678 → "12.3 M"; nothing for zero."""
    if not number:
        return ""
    for prefix in ("", "k", "M", "G"):
        if number < 1000 or prefix == "G":
            break
        number /= 1000
    return f"{number:.3g} {prefix}{unit}".rstrip()


def _saved_bytes(module, counted):
    """Bytes of the arrays on the module's stack that are not in `counted`, which they join."""
    total = 0
    for values in module._saved:
        for value in values:
            if isinstance(value, np.ndarray) and id(_base(value)) not in counted:
                counted.add(id(_base(value)))
                total += value.nbytes
    return total


def _base(array):
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
