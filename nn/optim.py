"""Optimisers: how gradients change weights. The arithmetic is PyTorch's.

An optimiser changes `parameter.data` in place for every parameter that is trainable and has
got a gradient since the last `zero_grad()`. Each rule stands in `nn/kernels/reference.py`, and as
one pass over all numbers in `nn/kernels/update.py`. What they share is in `nn/optimizer.py`;
what sets their `lr` step by step is a schedule, `nn/schedules.py`. `docs/15-optimisers.md` derives
all.
"""

import math

import numpy as np

from nn import kernels
from nn.optimizer import Optimizer
from nn.schedules import CosineLR, OneCycleLR, StepLR

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineLR",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "StepLR",
    "clip_grad_norm",
]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum v:

    g ← g + weight_decay · θ
    v ← momentum · v + g            (v = g at the first step)
    θ ← θ − lr · v                  with nesterov: θ ← θ − lr · (g + momentum · v)
    """

    slots = ("velocity",)

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(
            parameters, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )

    def update(self, parameter, memory, lr, momentum, weight_decay, nesterov):
        if momentum and not memory:
            memory["velocity"] = np.zeros_like(parameter.data)
        kernels.sgd(
            parameter.data,
            parameter.grad,
            memory["velocity"] if momentum else None,
            lr,
            momentum,
            weight_decay,
            nesterov,
        )


class RMSprop(Optimizer):
    """Each gradient divided by its own usual size (Hinton 2012, lecture 6 of his course):

    g ← g + weight_decay · θ
    s ← α s + (1 − α) g²            running mean of squares
    d = g / (√s + ε)
    θ ← θ − lr · d                  with momentum: v ← momentum · v + d,  θ ← θ − lr · v

    centered: the spread about the running mean m ← α m + (1 − α) g takes the place of the size,
    d = g / (√(s − m²) + ε). A spread that rounding makes negative counts as zero.
    """

    slots = ("square", "mean", "velocity")

    def __init__(
        self,
        parameters,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
        momentum=0.0,
        centered=False,
    ):
        super().__init__(
            parameters,
            lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def update(self, parameter, memory, lr, alpha, eps, weight_decay, momentum, centered):
        for name, used in (("square", True), ("mean", centered), ("velocity", momentum)):
            if used and name not in memory:
                memory[name] = np.zeros_like(parameter.data)
        kernels.rmsprop(
            parameter.data,
            parameter.grad,
            memory["square"],
            memory["mean"] if centered else None,
            memory["velocity"] if momentum else None,
            lr,
            alpha,
            eps,
            weight_decay,
            momentum,
        )


class Adam(Optimizer):
    """Momentum and RMSprop in one, both freed from their start at zero (Kingma and Ba 2015,
    arXiv:1412.6980):

    g ← g + weight_decay · θ
    m ← β₁ m + (1 − β₁) g           mean of gradients
    v ← β₂ v + (1 − β₂) g²          mean of squares
    m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)     as both start from zero
    θ ← θ − lr · m̂ / (√v̂ + ε)

    The decay is a part of the gradient, and so divided by √v̂ like it; AdamW keeps it apart.
    """

    slots = ("mean", "square", "steps")
    decoupled = False

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, parameter, memory, lr, betas, eps, weight_decay):
        theta = parameter.data
        if not memory:
            memory.update(mean=np.zeros_like(theta), square=np.zeros_like(theta), steps=np.array(0))
        memory["steps"] += 1
        kernels.adam(
            theta,
            parameter.grad,
            memory["mean"],
            memory["square"],
            int(memory["steps"]),
            lr,
            betas,
            eps,
            weight_decay,
            self.decoupled,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101):

    θ ← θ − lr · weight_decay · θ, and then Adam's step without any decay in the gradient.
    """

    decoupled = True

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)


def clip_grad_norm(parameters, max_norm):
    """Shorten the gradient of all parameters together, if longer than `max_norm` → its length.

        n = √(Σ over parameters and elements of g²),   g ← g · min(1, max_norm / (n + 10⁻⁶))

    The direction stays (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063). Returns n, the
    length before, as a float.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm must be above 0, got {max_norm}")
    grads = [parameter.grad for parameter in parameters if parameter.has_grad]
    norm = math.sqrt(sum(float(np.linalg.norm(g)) ** 2 for g in grads))
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for g in grads:
            g *= scale
    return norm
