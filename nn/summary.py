"""What a network costs: shapes, parameters, multiply-adds, and the memory of saved arrays."""

import numpy as np

from nn.attention import Attention
from nn.convolution import _Conv
from nn.linear import Linear
from nn.module import Parameter
from nn.multihead_attention import MultiHeadAttention
from nn.recurrent_cells import Cell
from nn.recurrent_stack import _Recurrent
from nn.transposed_convolution import _ConvTranspose
from nn.watching import trace_shape

WIDTH = 58  # of the first column
COLUMNS = f"{{:{WIDTH}}} {{:>20}} {{:>12}} {{:>10}} {{:>10}}"


def summary(model, input_shape):
    """A table of every module for one input of `input_shape` (without N), as a string.

    - output: the shape of what the module gives, without N. In front of it stands how often, if
      frames were folded into the batch, as in `16 × (64, 64, 32)`; a module that is called
      several times shows its last call;
    - parameters: its own, without those of modules inside;
    - mult-adds: of convolutions, dense and recurrent layers and attention, over all calls; what
      activations, norms and pools do beside them is left out;
    - saved: what its forward keeps until backward; an array that several modules keep is counted
      in the first row, and parameters are not counted. Dropout is off here; in training it keeps
      as much as its input. Inside `nn.inference()` nothing is saved, so nothing is shown.

    The model runs once, on zeros, as in use (`eval()`); afterwards it is as it was. Raises
    ValueError if the model takes several inputs, or if the shape does not fit a layer.
    """
    saved_before = [(module, len(module._saved)) for _, module in model.named_modules()]
    calls, saved = {}, {}
    try:
        for call in trace_shape(model, input_shape):
            calls.setdefault(call.module, []).append(call)
        counted = {id(_owner(parameter.data)) for parameter in model.parameters()}
        for module, before in saved_before:
            saved[module] = sum(array.nbytes for array in _new(module._saved[before:], counted))
    finally:
        for module, before in saved_before:
            del module._saved[before:]

    header = COLUMNS.format("module", "output", "parameters", "mult-adds", "saved")
    lines = [header, "-" * len(header)]
    total_work = 0
    for depth, name, module in _tree(model):
        label = "  " * depth + (f"{name}: " if name else "") + module.describe()
        own = sum(v.size for v in vars(module).values() if isinstance(v, Parameter))
        work = sum(multiply_adds(call) for call in calls.get(module, ()))
        total_work += work
        shape = _shape(calls[module][-1].output) if module in calls else "not used"
        if isinstance(module, Cell):
            shape = ""  # it is used step by step, not called
        cells = [f"{own:,}" if own else "", short(work), short(saved[module], "B")]
        lines.append(COLUMNS.format(_cut(label), shape, *cells))
    cells = [f"{model.num_parameters:,}", short(total_work), short(sum(saved.values()), "B")]
    lines += [lines[1], COLUMNS.format("in all, for one input", "", *cells)]
    return "\n".join(line.rstrip() for line in lines)


def multiply_adds(call):
    """Every weight is used once at each place: of the output, or of the input if transposed."""
    module = call.module
    if isinstance(module, _Conv | Linear):
        return call.output.size // call.output.shape[-1] * module.weight.size
    if isinstance(module, _ConvTranspose):
        return call.inputs[0].size // call.inputs[0].shape[-1] * module.weight.size
    if isinstance(module, MultiHeadAttention):  # three projections; the fourth is a Linear inside
        query, key, value = _three(call.inputs)
        return (query.size + key.size + value.size) * module.dim
    if isinstance(module, Attention):  # every query meets every key, and then every value
        query, key, value = _three(call.inputs)
        return query.size * key.shape[-2] + query.size // query.shape[-1] * (
            value.shape[-2] * value.shape[-1]
        )
    if isinstance(module, _Recurrent):  # at each step, and place, all weights but the biases
        weights = sum(p.size for p in module.parameters() if p.data.ndim > 1)
        return call.inputs[0].size // call.inputs[0].shape[-1] * weights
    return 0


def _three(inputs):
    """query, key and value: of the first three arguments, what was left out is that before it."""
    query, key, value = (*inputs[:3], None, None)[:3]
    key = query if key is None else key
    return query, key, key if value is None else value


def short(number, unit=""):
    """12345678 → "12.3 M"; nothing for zero."""
    if not number:
        return ""
    prefixes = ["", "k", "M", "G", "T", "P"]
    while number >= 999.5 and prefixes[1:]:  # which would be rounded to 1000
        number /= 1000
        prefixes.pop(0)
    return f"{number:.3g} {prefixes[0]}{unit}".rstrip()


def _tree(module, name="", depth=0, seen=None):
    """(depth, name, module) for this module and all inside, each once."""
    seen = set() if seen is None else seen
    if module not in seen:
        seen.add(module)
        yield depth, name, module
        for child_name, child in module.named_children():
            yield from _tree(child, child_name, depth + 1, seen)


def _cut(label):
    return label if len(label) <= WIDTH else label[: WIDTH - 1] + "…"


def _shape(output):
    if not isinstance(output, np.ndarray):
        return ""
    N, *shape = output.shape
    return ("" if N == 1 else f"{N} × ") + str(tuple(shape))


def _new(values, counted):
    """The arrays in nested tuples of saved values that are not in `counted`, which they join."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _new(value, counted)
        elif isinstance(value, np.ndarray) and id(_owner(value)) not in counted:
            counted.add(id(_owner(value)))
            yield value


def _owner(array):
    """The array that owns the memory of this one, if not itself."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
