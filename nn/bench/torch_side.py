"""How PyTorch does each row, eagerly, in either memory layout: {what: Work}.

Arrays and weights come in Backreel's layout and are turned here, outside of what is timed.
"""

from functools import partial

import numpy as np
import torch

import nn
from nn.bench import problem, torch_networks, torch_video_models
from nn.bench.problem import Work

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the input's axes


def drawn(row):
    """The same layer as in `problem.drawn`, where it is called alike."""
    return getattr(torch.nn, row.kind)(row.shape[-1], **row.options)


def recurrent(row):
    """LSTM or GRU on (N, T, D)."""
    return getattr(torch.nn, row.kind)(row.shape[-1], **row.options, batch_first=True)


def attention(row):
    """Attention of several heads on (N, T, D)."""
    return torch.nn.MultiheadAttention(row.shape[-1], row.options["heads"], batch_first=True)


def batch_norm(row):
    """Batch norm for as many axes as the input has."""
    return getattr(torch.nn, f"BatchNorm{len(row.shape) - 2}d")(row.shape[-1])


def plain(row):
    """The same layer as in `problem.plain`."""
    return getattr(torch.nn, row.kind)(**row.options)


def network(row):
    """The same network as in `problem.network`."""
    make, _ = torch_networks.NETWORKS[row.kind]
    return make(row.shape)


def video_model(row):
    """The same network of `video.models` as in `problem.network`."""
    ours = problem.module(row)
    return torch_video_models.build(
        row.kind, ours.num_classes, ours.size, ours.frames, ours.channels
    )


def optimised(row):
    """The same network as in `problem.optimised`."""
    make, _ = torch_networks.NETWORKS[row.options["network"]]
    return make(row.shape)


MODULES = {
    **dict.fromkeys(["Conv1d", "Conv2d", "Conv3d"], drawn),
    **dict.fromkeys(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"], drawn),
    **dict.fromkeys(["Linear", "LayerNorm"], drawn),
    **dict.fromkeys(["LSTM", "GRU"], recurrent),
    "MultiHeadAttention": attention,
    "BatchNorm": batch_norm,
    **dict.fromkeys(["MaxPool1d", "MaxPool2d", "MaxPool3d"], plain),
    **dict.fromkeys(["AvgPool1d", "AvgPool2d", "AvgPool3d"], plain),
    **dict.fromkeys(["GELU", "CrossEntropyLoss"], plain),
    **dict.fromkeys(torch_networks.NETWORKS, network),
    **dict.fromkeys(torch_video_models.NETWORKS, video_model),
    "AdamW": optimised,
}
FEATURES_LAST = [
    *("Linear", "LayerNorm", "GELU", "CrossEntropyLoss"),
    *("LSTM", "GRU", "MultiHeadAttention"),
]
# How a layer is called, where it is not by its input alone.
CALLS = {
    "LSTM": lambda lstm, x: lstm(x)[0],
    "GRU": lambda gru, x: gru(x)[0],
    "MultiHeadAttention": lambda attention, x: attention(x, x, x, need_weights=False)[0],
}


def build(row, layout):
    """What `backreel_side.build` gives, for the layout "plain" or "channels last"."""
    module = MODULES[row.kind](row).to(getattr(torch, row.dtype))
    if module.state_dict():
        module.load_state_dict(torch_state(problem.module(row), row))
    x = to_torch(row, problem.inputs(row))
    if layout == "channels last":
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
        for p in module.parameters():  # a network of clips may have convolutions of both kinds
            if p.ndim in CHANNELS_LAST:
                p.data = p.data.contiguous(memory_format=CHANNELS_LAST[p.ndim])
    return BUILDERS.get(row.kind, layer)(row, module, x)


def torch_state(module, row):
    """The arrays of a module of Backreel's like the row's, for PyTorch's `load_state_dict`."""
    state = nn.interop.torch_state(module, row.shape[1:])
    return {name: torch.from_numpy(array) for name, array in state.items()}


def layer(row, module, x):
    """Any layer with one input: forward without a graph, and forward with all gradients."""
    call = partial(CALLS.get(row.kind, torch.nn.Module.__call__), module)
    with torch.no_grad():
        one = to_backreel(row, call(x[:1]))
    dy = to_torch(row, problem.upstream(row, (len(x), *one.shape[1:])))
    if not x.is_contiguous():
        dy = dy.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    x_with_gradient = x.detach().requires_grad_()

    def forward():
        with torch.no_grad():
            return call(x)

    def both():
        x_with_gradient.grad = None
        module.zero_grad()  # to None
        y = call(x_with_gradient)
        y.backward(dy)
        return y

    def read(y):
        dx = to_backreel(row, x_with_gradient.grad)
        return {"y": to_backreel(row, y), "dx": dx, **gradients(row, module)}

    return {
        "forward": Work(forward, lambda y: {"y": to_backreel(row, y)}),
        "forward+backward": Work(both, read),
    }


def step(row, model, x):
    """One training step of a network."""
    _, optimizer = torch_networks.NETWORKS.get(row.kind, (None, torch_networks.adamw))
    targets = torch.from_numpy(problem.labels(row))
    run = torch_networks.training_step(model, optimizer(model.parameters()), x, targets)
    return {
        "training step": Work(run, lambda loss: {"loss": np.array(loss), **gradients(row, model)})
    }


def loss(row, criterion, logits):
    """A loss on logits (N, K)."""
    labels = torch.from_numpy(problem.labels(row, row.shape[-1]))
    logits_with_gradient = logits.detach().requires_grad_()

    def forward():
        with torch.no_grad():
            return criterion(logits, labels).item()

    def both():
        logits_with_gradient.grad = None
        value = criterion(logits_with_gradient, labels)
        value.backward()
        return value.item()

    def read(value):
        return {"y": np.array(value), "dx": logits_with_gradient.grad.numpy()}

    return {
        "forward": Work(forward, lambda value: {"y": np.array(value)}),
        "forward+backward": Work(both, read),
    }


def adamw(row, model, _):
    """A step of PyTorch's fused AdamW, as in `backreel_side.adamw`."""
    optimizer = torch_networks.adamw(model.parameters(), fused=True)
    before = dict(problem.module(row).named_parameters())
    for seed in (0, 1):
        given = torch_state(problem.gradients(row, seed), row)
        for name, parameter in model.named_parameters():
            parameter.grad = given[name]
        if not seed:
            optimizer.step()

    def read(_):
        after = as_backreel(row, dict(model.named_parameters()))
        return {f"step of {name}": after[name] - p.data for name, p in before.items()}

    return {"optimiser step": Work(optimizer.step, read)}


BUILDERS = {
    **dict.fromkeys([*torch_networks.NETWORKS, *torch_video_models.NETWORKS], step),
    "CrossEntropyLoss": loss,
    "AdamW": adamw,
}


def gradients(row, module):
    """{name: array} for every parameter, named and laid out as Backreel's."""
    state = {name: parameter.grad for name, parameter in module.named_parameters()}
    lstms = [name for name, part in module.named_modules() if isinstance(part, torch.nn.LSTM)]
    for name, gradient in state.items():
        if name.startswith(tuple(lstms)) and "bias_hh" in name:
            # Backreel has the sum of its two biases, whose gradient both have, and is to get once.
            state[name] = torch.zeros_like(gradient)
    found = as_backreel(row, {**state, **dict(module.named_buffers())})
    return {f"d {name}": array for name, array in found.items()}


def as_backreel(row, tensors):
    """{Backreel's name: array} of tensors like the weights of the row's module.

    They take the way of weights, into a module of Backreel's, and are read there.
    """
    ours = problem.module(row)
    state = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    nn.interop.load_torch_state(ours, state, row.shape[1:])
    return {name: parameter.data for name, parameter in ours.named_parameters()}


def to_torch(row, array):
    """(N, *S, C) → a tensor in PyTorch's plain layout."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, feature_axis(row))))


def to_backreel(row, tensor):
    """The way back of `to_torch`."""
    return tensor.detach().movedim(feature_axis(row), -1).numpy()


def feature_axis(row):
    """Where PyTorch has the channels: last on vectors and sequences, else behind N."""
    return -1 if row.kind in FEATURES_LAST else 1
