"""How Backreel does each row: {what: Work}."""

import numpy as np

import nn
from nn.bench import backreel_networks, problem
from nn.bench.problem import Work
from nn.summary import multiply_adds
from nn.watching import trace_shape


def build(row):
    """{"forward": …, "forward+backward": …} for a layer or loss, {"training step": …} for a
    network, {"optimiser step": …} for an optimiser."""
    return BUILDERS.get(row.kind, layer)(row, problem.module(row))


def layer(row, module):
    """Any layer with one input: forward with nothing saved, and forward with all gradients."""
    x = problem.inputs(row)
    with nn.inference():
        one = module(x[:1])
    dy = problem.upstream(row, (len(x), *one.shape[1:]))

    def forward():
        with nn.inference():
            return module(x)

    def both():
        module.zero_grad()
        y = module(x)
        return y, module.backward(dy)

    return {
        "forward": Work(forward, lambda y: {"y": y}),
        "forward+backward": Work(
            both, lambda result: {"y": result[0], "dx": result[1], **gradients(module)}
        ),
    }


def step(row, model):
    """One training step of a network."""
    _, optimizer = backreel_networks.NETWORKS[row.kind]
    run = backreel_networks.training_step(
        model, optimizer(model.parameters()), problem.inputs(row), problem.labels(row)
    )
    return {"training step": Work(run, lambda loss: {"loss": np.array(loss), **gradients(model)})}


def loss(row, criterion):
    """A loss on logits (N, K)."""
    logits, labels = problem.inputs(row), problem.labels(row, row.shape[-1])

    def forward():
        with nn.inference():
            return criterion(logits, labels)

    def both():
        return criterion(logits, labels), criterion.backward()

    return {
        "forward": Work(forward, lambda value: {"y": np.array(value)}),
        "forward+backward": Work(both, lambda pair: {"y": np.array(pair[0]), "dx": pair[1]}),
    }


def adamw(row, model):
    """A step of AdamW on a network's parameters, behind one with other gradients: at its first
    step all of its averages are 1. Compared is how far both steps went."""
    optimizer = backreel_networks.adamw(model.parameters())
    before = model.state_dict()
    for seed in (0, 1):
        given = problem.gradients(row, seed)
        model.zero_grad()
        for parameter, gradient in zip(model.parameters(), given.parameters(), strict=True):
            parameter.add_grad(gradient.data)
        if not seed:
            optimizer.step()

    def read(_):
        return {f"step of {name}": p.data - before[name] for name, p in model.named_parameters()}

    return {"optimiser step": Work(optimizer.step, read)}


BUILDERS = {
    **dict.fromkeys(backreel_networks.NETWORKS, step),
    "CrossEntropyLoss": loss,
    "AdamW": adamw,
}


def gradients(module):
    """{name: array} for every parameter."""
    return {f"d {name}": parameter.grad for name, parameter in module.named_parameters()}


def operations(row):
    """{what: additions and multiplications}, those of all but elementwise work.

    Each gradient is as many again. A network's first layer has one of the two only.
    """
    if row.kind == "AdamW":
        return {"optimiser step": 0}
    if row.kind == "CrossEntropyLoss":
        return {"forward": 0, "forward+backward": 0}
    calls = list(trace_shape(problem.module(row), row.shape[1:]))
    work = [2 * row.shape[0] * multiply_adds(call) for call in calls]
    forward = sum(work)
    if row.is_network:
        first = next(amount for amount in work if amount)
        return {"training step": 3 * forward - first}
    return {"forward": forward, "forward+backward": 3 * forward}
