"""Cases of `Linear`, `Embedding`, `Flatten`, and of modules made of modules."""

import numpy as np

import nn
from nn.gradcheck.cases.case import Case, case


def with_repeats(module, shape, things):
    """A case for a lookup: ids of the given shape, of which the first two are the same."""

    def inputs(rng):
        ids = rng.integers(0, things, shape)
        ids.flat[1] = ids.flat[0]
        return (ids,)

    return Case(module, inputs)


def row_of_equal_sizes(rng):
    """Layers that could change places without an error: their order must be right."""
    return nn.Sequential(nn.Linear(4, 4, rng=rng), nn.Tanh(), nn.Linear(4, 4, rng=rng))


def small_network(rng):
    """A convolution, a kink, a window, a change of shape and a dense layer in a row."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * 3 * 3, 4, rng=rng),
    )


def block_with_shortcut(rng):
    """The block of a residual network where it halves the size: the shortcut must do the same."""
    return nn.Residual(
        nn.Conv2d(2, 3, 3, stride=2, padding=1, rng=rng),
        nn.BatchNorm(3),
        nn.Tanh(),
        nn.Conv2d(3, 3, 3, padding=1, rng=rng),
        shortcut=nn.Conv2d(2, 3, 1, stride=2, rng=rng),
    )


CASES = {
    "Linear": [
        case(lambda rng: nn.Linear(3, 5, rng=rng), (4, 3)),
        case(lambda rng: nn.Linear(3, 2, rng=rng), (2, 5, 3)),
        case(lambda rng: nn.Linear(4, 4, bias=False, rng=rng), (1, 3, 2, 4)),
    ],
    "Embedding": [
        with_repeats(lambda rng: nn.Embedding(7, 3, rng=rng), (5,), 7),
        with_repeats(lambda rng: nn.Embedding(4, 4, rng=rng), (2, 5), 4),
        with_repeats(lambda rng: nn.Embedding(5, 1, rng=rng), (2, 1, 3), np.uint8(5)),
    ],
    "Flatten": [case(lambda rng: nn.Flatten(), (2, 3, 4, 5))],
    "Sequential": [case(row_of_equal_sizes, (3, 4)), case(small_network, (2, 4, 6, 2))],
    "Residual": [
        case(lambda rng: nn.Residual(nn.Linear(3, 3, rng=rng)), (4, 3)),
        case(
            lambda rng: nn.Residual(nn.Linear(3, 5, rng=rng), nn.GELU(), nn.Linear(5, 3, rng=rng)),
            (2, 4, 3),
        ),
        case(block_with_shortcut, (2, 5, 4, 2)),
    ],
}
