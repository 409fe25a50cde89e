"""One configuration of a layer, and the kinds of input that a case draws."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """`module(rng)` makes the module, `inputs(rng)` the tuple that forward takes."""

    module: Callable
    inputs: Callable

    def build(self, seed=0):
        """(module, inputs), always the same for the same seed."""
        rng = np.random.default_rng(seed)
        return self.module(rng), self.inputs(rng)


def case(module, *shapes):
    """A case whose inputs are normal random numbers of the given shapes."""
    return Case(module, lambda rng: tuple(rng.standard_normal(shape) for shape in shapes))


def of_size(size, module, *shapes, mean=0.0):
    """A case whose inputs are normal random numbers of the given standard deviation and mean."""
    return Case(
        module, lambda rng: tuple(mean + size * rng.standard_normal(shape) for shape in shapes)
    )


def with_ties(module, shape):
    """A case whose input has few different values: ties in every window, zeros for ReLU."""
    return Case(module, lambda rng: (np.round(rng.standard_normal(shape)),))


def with_ids(module, shape, classes, ignored=None):
    """A case for a loss on logits (*shape, classes) and class ids, some of them ignored."""

    def inputs(rng):
        ids = rng.integers(0, classes, shape)
        if ignored is not None:
            ids.flat[::3] = ignored
        return rng.standard_normal((*shape, classes)), ids

    return Case(module, inputs)


def with_probabilities(module, shape):
    """A case for a loss on logits and soft targets, whose rows sum to one."""

    def inputs(rng):
        targets = rng.random(shape)
        return rng.standard_normal(shape), targets / targets.sum(axis=-1, keepdims=True)

    return Case(module, inputs)
