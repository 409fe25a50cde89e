"""How PyTorch does each row, eagerly, in either memory layout: {what: Work}.

Arrays and weights come in Backreel's layout and are turned here, outside of what is timed.
"""

import numpy as np
import torch

import nn
from nn.bench import problem, torch_networks
from nn.bench.problem import Work

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the input's axes


def conv(row):
    """The same layer as in `problem.conv`."""
    return getattr(torch.nn, row.kind)(row.shape[-1], **row.options)


def pool(row):
    """The same layer as in `problem.pool`."""
    return getattr(torch.nn, row.kind)(**row.options)


def network(row):
    """The same network as in `problem.network`."""
    make, _ = torch_networks.NETWORKS[row.kind]
    return make(row.shape)


MODULES = {
    **dict.fromkeys(["Conv1d", "Conv2d", "Conv3d"], conv),
    **dict.fromkeys(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"], conv),
    **dict.fromkeys(["MaxPool1d", "MaxPool2d", "MaxPool3d"], pool),
    **dict.fromkeys(["AvgPool1d", "AvgPool2d", "AvgPool3d"], pool),
    **dict.fromkeys(torch_networks.NETWORKS, network),
}


def build(row, layout):
    """{"forward": …, "forward+backward": …} for a layer, {"training step": …} for a network.

    layout: "plain" or "channels last".
    """
    last = layout == "channels last"
    memory_format = CHANNELS_LAST[len(row.shape)] if last else torch.contiguous_format
    module = MODULES[row.kind](row).to(getattr(torch, row.dtype))
    state = nn.interop.torch_state(problem.module(row), row.shape[1:])
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    module = module.to(memory_format=memory_format)
    x = to_torch(problem.inputs(row)).contiguous(memory_format=memory_format)
    return (step if row.kind in torch_networks.NETWORKS else layer)(row, module, x)


def layer(row, module, x):
    """Any layer with one input: forward without a graph, and forward with all gradients."""
    with torch.no_grad():
        one = to_backreel(module(x[:1]))
    dy = to_torch(problem.upstream(row, (len(x), *one.shape[1:])))
    if not x.is_contiguous():
        dy = dy.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    x_with_gradient = x.detach().requires_grad_()

    def forward():
        with torch.no_grad():
            return module(x)

    def both():
        x_with_gradient.grad = None
        module.zero_grad()  # to None
        y = module(x_with_gradient)
        y.backward(dy)
        return y

    def read(y):
        dx = to_backreel(x_with_gradient.grad)
        return {"y": to_backreel(y), "dx": dx, **gradients(row, module)}

    return {
        "forward": Work(forward, lambda y: {"y": to_backreel(y)}),
        "forward+backward": Work(both, read),
    }


def step(row, model, x):
    """One training step of a network."""
    _, optimizer = torch_networks.NETWORKS[row.kind]
    targets = torch.from_numpy(problem.labels(row))
    run = torch_networks.training_step(model, optimizer(model.parameters()), x, targets)
    return {
        "training step": Work(run, lambda loss: {"loss": np.array(loss), **gradients(row, model)})
    }


def gradients(row, module):
    """{name: array} for every parameter, named and laid out as Backreel's.

    A gradient is laid out as its weight. So it takes the way of weights, into a module of
    Backreel's, and is read there.
    """
    ours = problem.module(row)
    state = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    state.update((name, buffer.numpy()) for name, buffer in module.named_buffers())
    nn.interop.load_torch_state(ours, state, row.shape[1:])
    return {f"d {name}": parameter.data for name, parameter in ours.named_parameters()}


def to_torch(array):
    """(N, *S, C) → a tensor (N, C, *S) in PyTorch's plain layout."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def to_backreel(tensor):
    """(N, C, *S) → an array (N, *S, C)."""
    return tensor.detach().movedim(1, -1).numpy()
