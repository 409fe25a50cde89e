"""Weights to and from PyTorch's names and layouts. PyTorch itself is not needed.

PyTorch has its channels first and its outputs before its inputs; Backreel has channels last and
inputs before outputs. The numbers are the same, so each array only changes the order of its axes:

| layer | here | PyTorch |
|---|---|---|
| convolution | (*K, C_in // groups, C_out) | (C_out, C_in // groups, *K) |
| transposed convolution | (*K, C_out // groups, C_in) | (C_in, C_out // groups, *K) |
| dense | (D_in, D_out) | (D_out, D_in) |
| all others | as it is | as it is |

One thing is no property of a layer: the order in which `Flatten` reads an image, (H, W, C) here
and (C, H, W) there. The rows of a dense layer behind it change places accordingly, for which
the shape of that image must be known: `input_shape`, channels last, without N.

Names are the dotted names of `named_parameters`, which are PyTorch's where the modules inside
are called and ordered alike.
"""

import numpy as np

from nn.convolution import _Conv
from nn.linear import Flatten, Linear
from nn.module import inference
from nn.normalization import BatchNorm
from nn.transposed_convolution import _ConvTranspose
from nn.watching import trace


def torch_state(module, input_shape=None):
    """{PyTorch's name: array in PyTorch's layout}: what its `load_state_dict` expects.

    `{name: torch.from_numpy(array) for name, array in torch_state(model, ...).items()}` loads
    into the same network there. Raises ValueError if a Flatten stands between convolution and
    dense layers and `input_shape` was not given.
    """
    images = flattened_images(module, input_shape)
    state = {}
    for prefix, layer in module.named_modules():
        for name, array in _own_arrays(prefix, layer):
            if isinstance(layer, Linear) and name.endswith("weight") and layer in images:
                array = _channels_first(array, images[layer])
            state[name] = np.ascontiguousarray(_to_torch(layer, array))
        if isinstance(layer, BatchNorm):
            state[_join(prefix, "num_batches_tracked")] = np.array(0, np.int64)
    return state


def load_torch_state(module, state, input_shape=None):
    """Write arrays with PyTorch's names and layouts into `module`, in place.

    `state` is `{name: tensor.numpy() for name, tensor in torch_model.state_dict().items()}`.
    Raises ValueError, and changes nothing, when a name is missing or unknown or a shape differs.
    """
    images = flattened_images(module, input_shape)
    waiting = {
        name: np.asarray(array)
        for name, array in state.items()
        if not name.endswith("num_batches_tracked")
    }
    own = {}
    for prefix, layer in module.named_modules():
        for name, array in _own_arrays(prefix, layer):
            if name not in waiting:
                continue  # load_state_dict below names what is missing
            new = _from_torch(layer, waiting.pop(name), array)
            if isinstance(layer, Linear) and name.endswith("weight") and layer in images:
                if new.shape == array.shape:
                    new = _channels_last(new, images[layer])
            own[name] = new
    module.load_state_dict({**own, **waiting})


def flattened_images(module, input_shape):
    """{dense layer: shape (*S, C) of what was flattened into it} for every one behind a Flatten.

    Found by running zeros of `input_shape` through the network once.
    """
    if not any(isinstance(layer, Flatten) for _, layer in module.named_modules()):
        return {}
    if input_shape is None:
        if not any(isinstance(layer, _Conv) for _, layer in module.named_modules()):
            return {}
        raise ValueError(
            "interop: this network has a Flatten, whose order differs in PyTorch; give "
            "input_shape, the shape of one input, channels last, without N"
        )
    training = [(layer, layer.training) for _, layer in module.named_modules()]
    module.eval()
    try:
        dtype = next((p.data.dtype for p in module.parameters()), np.float32)
        with inference():
            calls = trace(module, np.zeros((1, *input_shape), dtype))
    finally:
        for layer, mode in training:
            layer.training = mode
    images, flattened = {}, None
    for call in calls:
        if isinstance(call.module, Flatten):
            flattened = call.inputs[0].shape[1:]
        elif isinstance(call.module, Linear) and flattened is not None:
            if len(flattened) > 1 and np.prod(flattened) == call.module.in_features:
                images[call.module] = flattened
            flattened = None
    return images


def _own_arrays(prefix, layer):
    """(dotted name, array) of the parameters and buffers of this layer itself."""
    for name, value in vars(layer).items():
        if hasattr(value, "has_grad"):
            yield _join(prefix, name), value.data
    for name in layer.buffers:
        yield _join(prefix, name), getattr(layer, name)


def _join(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def _to_torch(layer, array):
    if isinstance(layer, _Conv | _ConvTranspose) and array.ndim > 1:
        return np.moveaxis(array, (-1, -2), (0, 1))
    if isinstance(layer, Linear) and array.ndim == 2:
        return array.T
    return array


def _from_torch(layer, array, own):
    """The way back; an array with the wrong number of axes is left for the shape check to name."""
    if array.ndim == own.ndim:
        if isinstance(layer, _Conv | _ConvTranspose) and array.ndim > 1:
            return np.moveaxis(array, (0, 1), (-1, -2))
        if isinstance(layer, Linear) and array.ndim == 2:
            return array.T
    return array


def _channels_first(weight, image):
    """Rows of a dense weight (D_in, D_out) from the order (*S, C) to (C, *S)."""
    rows = weight.reshape(*image, -1)
    return np.moveaxis(rows, len(image) - 1, 0).reshape(weight.shape)


def _channels_last(weight, image):
    """Rows of a dense weight (D_in, D_out) from the order (C, *S) to (*S, C)."""
    *S, C = image
    rows = weight.reshape(C, *S, -1)
    return np.moveaxis(rows, 0, len(image) - 1).reshape(weight.shape)
