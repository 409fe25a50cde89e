"""How Backreel does each row: {what: Work}."""

import numpy as np

import nn
from nn.bench import backreel_networks, problem
from nn.bench.problem import Work
from nn.summary import multiply_adds
from nn.watching import trace_shape


def build(row):
    """{"forward": …, "forward+backward": …} for a layer, {"training step": …} for a network."""
    module = problem.module(row)
    if row.kind in backreel_networks.NETWORKS:
        return step(row, module)
    return layer(row, module)


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


def gradients(module):
    """{name: array} for every parameter."""
    return {f"d {name}": parameter.grad for name, parameter in module.named_parameters()}


def operations(row):
    """{what: additions and multiplications}, those of convolutions and dense layers.

    Each gradient is as many again. A network's first layer has one of the two only.
    """
    calls = list(trace_shape(problem.module(row), row.shape[1:]))
    work = [2 * row.shape[0] * multiply_adds(call) for call in calls]
    forward = sum(work)
    if row.kind in backreel_networks.NETWORKS:
        first = next(amount for amount in work if amount)
        return {"training step": 3 * forward - first}
    return {"forward": forward, "forward+backward": 3 * forward}
