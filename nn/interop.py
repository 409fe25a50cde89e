"""Weights to and from PyTorch's names and layouts. PyTorch itself is not needed.

PyTorch has its channels first and its outputs before its inputs; Backreel has channels last and
inputs before outputs. The numbers are the same, so each array only changes the order of its axes:

| layer | here | PyTorch |
|---|---|---|
| convolution | (*K, C_in // groups, C_out) | (C_out, C_in // groups, *K) |
| transposed convolution | (*K, C_out // groups, C_in) | (C_in, C_out // groups, *K) |
| dense | (D_in, D_out) | (D_out, D_in) |
| attention, `in_proj_weight` | (D, 3D) | (3D, D) |
| recurrent | U (D, G·H), W (H, G·H) | weight_ih (G·H, D), weight_hh (G·H, H) |
| all others | as it is | as it is |

One thing is no property of a layer: the order in which `Flatten` reads an image, (H, W, C) here
and (C, H, W) there. The rows of a dense layer behind it change places accordingly, for which
the shape of that image must be known: `input_shape`, channels last, without N. How it is found
is in `flattening.py`.

Names are the dotted names of `named_parameters`, which are PyTorch's where the modules inside
are called and ordered alike. A module that stands in two places has two names, as in PyTorch.

RNN, LSTM and GRU are called otherwise there: the U of `cells.2` of a bidirectional layer is
`weight_ih_l1`, that of `cells.3` is `weight_ih_l1_reverse`. And PyTorch has two biases, which it
adds: RNN and LSTM take their sum as b, and hand on b and zeros. GRU has both as well. V and c of
the output layer, and ConvLSTM2d, keep their names: PyTorch has no such thing.
"""

from dataclasses import dataclass

import numpy as np

from nn.convolution import _Conv
from nn.flattening import feature_orders
from nn.linear import Linear
from nn.module import Parameter
from nn.multihead_attention import MultiHeadAttention
from nn.normalization import BatchNorm
from nn.recurrent import _OnVectors
from nn.transposed_convolution import _ConvTranspose


def torch_state(module, input_shape=None):
    """{PyTorch's name: array in PyTorch's layout}: what its `load_state_dict` expects.

    `{name: torch.from_numpy(array) for name, array in torch_state(model, ...).items()}` loads
    into the same network there. The arrays are copies. PyTorch counts the batches a BatchNorm
    has seen, Backreel does not: `num_batches_tracked` goes out as 0.

    Raises ValueError if there is a Flatten and `input_shape` was not given, or if there is no
    such network in PyTorch (see `flattening.py`).
    """
    state = {}
    for place in _places(module, input_shape):
        state[place.name] = place.to_torch()
        if isinstance(place.layer, BatchNorm) and place.name.endswith("running_var"):
            state[_batch_count(place)] = np.array(0, np.int64)
    return state


def load_torch_state(module, state, input_shape=None):
    """Write arrays with PyTorch's names and layouts into `module`, in place.

    `state` is `{name: tensor.numpy() for name, tensor in torch_model.state_dict().items()}`.
    Raises ValueError, and changes nothing, when a name is missing or unknown, a shape differs
    (both shapes are then given as PyTorch has them), or two names of one shared array differ.
    """
    places = list(_places(module, input_shape))
    expected = {place.name for place in places}
    counts = {_batch_count(place) for place in places if isinstance(place.layer, BatchNorm)}
    found = {place.key for place in places if place.name in state}

    problems = [f"{p.name} is missing" for p in places if p.key not in found]
    problems += [f"{name} is unknown" for name in state if name not in expected | counts]
    new = {}  # the first place, and the values, for each array
    for place in places:
        if place.name not in state:
            continue
        given = np.asarray(state[place.name])
        if given.shape != place.shape:
            problems.append(f"{place.name} has shape {given.shape}, expected {place.shape}")
            continue
        values = place.from_torch(given)
        known, first = new.setdefault(place.key, (place, values))
        if not np.array_equal(first, values, equal_nan=True):
            problems.append(f"{place.name} differs from {known.name}, which is the same array here")
    if problems:
        shown = "; ".join(problems[:6])
        more = f" (and {len(problems) - 6} more)" if len(problems) > 6 else ""
        raise ValueError(
            f"interop: these weights do not fit {type(module).__name__}: {shown}{more}"
        )
    for place, values in new.values():  # a second bias stands behind the first
        place.array[...] = place.array + values if place.second else values


@dataclass
class _Place:
    """One array of one layer, under one name, and how PyTorch has it.

    axes: for each axis there, which one it is here. orders: {axis here: for each entry there,
    which one it is here}, where a flattened image has another order. second: is it the second of
    two biases, which PyTorch adds, while the array here is their sum?
    """

    name: str
    layer: object
    array: np.ndarray
    axes: tuple
    orders: dict
    second: bool = False

    @property
    def key(self):
        """The same for all names of one array."""
        return id(self.array), self.second

    @property
    def shape(self):
        """As PyTorch has it."""
        return tuple(self.array.shape[axis] for axis in self.axes)

    def to_torch(self):
        if self.second:
            return np.zeros_like(self.array)  # the first has brought the sum
        array = self.array
        for axis, order in self.orders.items():
            array = array.take(order, axis)
        return array.transpose(self.axes).copy()

    def from_torch(self, array):
        array = array.transpose(np.argsort(self.axes))
        for axis, order in self.orders.items():
            array = array.take(np.argsort(order), axis)  # the way back of a permutation
        return array


def _places(module, input_shape):
    """A `_Place` for each name of each array, in PyTorch's order."""
    orders = feature_orders(module, input_shape)
    for prefix, layer in _all_names(module):
        for name, array in _own_arrays(layer):
            mine = {axis: o for (*key, axis), o in orders.items() if key == [layer, name]}
            yield _Place(_join(prefix, name), layer, array, _axes(layer, array), mine)
        if isinstance(layer, _OnVectors):
            yield from _recurrent_places(prefix, layer, orders)


def _recurrent_places(prefix, layer, orders):
    """The places of all cells of an RNN, LSTM or GRU, layer by layer, forward before backward."""
    for i, cell in enumerate(layer.cells):
        level, direction = divmod(i, layer.directions)
        ending = f"l{level}" + ("_reverse" if direction else "")
        order = {axis: o for (*key, axis), o in orders.items() if key == [cell, "U"]}
        second = getattr(cell, "b_h", cell.b)  # the GRU's has an array of its own
        arrays = [
            ("weight_ih", cell.U, (1, 0), order),
            ("weight_hh", cell.W, (1, 0), {}),
            ("bias_ih", cell.b, (0,), {}),
            ("bias_hh", second, (0,), {}, second is cell.b),
        ]
        for name, parameter, *how in arrays:
            yield _Place(_join(prefix, f"{name}_{ending}"), cell, parameter.data, *how)


def _axes(layer, array):
    """For each axis of PyTorch's, which one of `array` it is: the table at the top."""
    axes = tuple(range(array.ndim))
    if isinstance(layer, Linear | MultiHeadAttention | _Conv | _ConvTranspose) and array.ndim > 1:
        return (axes[-1], axes[-2], *axes[:-2])
    return axes


def _own_arrays(layer):
    """(name, array) of the parameters and buffers of this layer itself."""
    for name, value in vars(layer).items():
        if isinstance(value, Parameter):
            yield name, value.data
    for name in layer.buffers:
        yield name, getattr(layer, name)


def _all_names(module, prefix=""):
    """(dotted name, module) as `named_modules`, but shared modules under each of their names."""
    yield prefix, module
    for name, child in module.named_children():
        if not isinstance(module, _OnVectors):  # whose cells go by other names
            yield from _all_names(child, _join(prefix, name))


def _batch_count(place):
    return _join(place.name.rpartition(".")[0], "num_batches_tracked")


def _join(prefix, name):
    return f"{prefix}.{name}" if prefix else name
