"""Every layer and loss of the library in several configurations, for checks of their gradients.

A case makes a module and inputs that fit. Sizes are odd and differ from axis to axis, so that a
mixed-up axis cannot go unseen; channels in and out differ for the same reason. Each option has
a case: a bug that only shows with a stride, with padding, with groups or with ties needs one.

A test fails when a module that `nn` exports has no case here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import nn


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


def _conv_cases():
    conv1, conv2, conv3 = nn.Conv1d, nn.Conv2d, nn.Conv3d
    return {
        "Conv1d": [
            case(lambda rng: conv1(3, 4, 3, rng=rng), (2, 7, 3)),
            case(lambda rng: conv1(3, 2, 4, stride=3, padding=2, rng=rng), (3, 11, 3)),
            case(lambda rng: conv1(2, 3, 3, dilation=2, padding="same", rng=rng), (2, 9, 2)),
            case(lambda rng: conv1(4, 6, 3, stride=2, padding=1, groups=2, rng=rng), (2, 8, 4)),
            case(lambda rng: conv1(5, 2, 1, bias=False, rng=rng), (2, 5, 5)),
        ],
        "Conv2d": [
            case(lambda rng: conv2(3, 4, (2, 3), rng=rng), (2, 5, 6, 3)),
            case(lambda rng: conv2(3, 2, 3, stride=(2, 3), padding=(1, 2), rng=rng), (2, 6, 7, 3)),
            case(
                lambda rng: conv2(2, 3, (3, 2), dilation=(2, 3), padding=1, rng=rng), (2, 7, 6, 2)
            ),
            case(
                lambda rng: conv2(
                    4, 6, (2, 3), stride=(1, 2), padding=(0, 1), dilation=(2, 1), groups=2, rng=rng
                ),
                (2, 5, 7, 4),
            ),
            case(lambda rng: conv2(4, 4, 3, padding=1, groups=4, rng=rng), (2, 4, 5, 4)),
            case(
                lambda rng: conv2(2, 3, (2, 4), padding="same", bias=False, rng=rng), (1, 5, 3, 2)
            ),
        ],
        "Conv3d": [
            case(lambda rng: conv3(2, 3, (1, 2, 3), rng=rng), (2, 3, 4, 5, 2)),
            case(
                lambda rng: conv3(2, 3, (3, 2, 3), stride=(1, 2, 2), padding=(1, 0, 2), rng=rng),
                (1, 4, 5, 6, 2),
            ),
            case(
                lambda rng: conv3(4, 2, (2, 3, 2), dilation=(2, 1, 2), groups=2, rng=rng),
                (1, 3, 4, 4, 4),
            ),
            case(
                lambda rng: conv3(3, 3, (2, 3, 2), padding="same", groups=3, rng=rng),
                (2, 3, 4, 2, 3),
            ),
        ],
    }


def _pool_cases():
    """Max and average pooling alike: windows that touch, overlap, leave gaps, hang over."""
    cases = {}
    for kind in ("MaxPool", "AvgPool"):
        pool1, pool2, pool3 = (getattr(nn, f"{kind}{axes}d") for axes in (1, 2, 3))
        cases[f"{kind}1d"] = [
            case(lambda rng, pool=pool1: pool(2), (2, 7, 3)),
            case(lambda rng, pool=pool1: pool(3, stride=2, padding=1), (3, 8, 2)),
            case(lambda rng, pool=pool1: pool(2, stride=3), (2, 9, 2)),
            with_ties(lambda rng, pool=pool1: pool(3, stride=1, padding=1), (2, 7, 3)),
        ]
        cases[f"{kind}2d"] = [
            case(lambda rng, pool=pool2: pool((2, 3)), (2, 5, 7, 3)),
            case(lambda rng, pool=pool2: pool((3, 2), stride=(2, 1), padding=1), (2, 6, 5, 2)),
            case(lambda rng, pool=pool2: pool((2, 1), stride=(3, 2)), (2, 6, 5, 3)),
            with_ties(lambda rng, pool=pool2: pool((2, 3), stride=1, padding=(1, 0)), (2, 4, 5, 2)),
        ]
        cases[f"{kind}3d"] = [
            case(lambda rng, pool=pool3: pool((1, 2, 3)), (2, 2, 4, 6, 2)),
            case(
                lambda rng, pool=pool3: pool((2, 3, 2), stride=(1, 2, 3), padding=(1, 1, 0)),
                (1, 3, 5, 6, 2),
            ),
            with_ties(lambda rng, pool=pool3: pool((2, 2, 3), stride=(2, 1, 1)), (1, 4, 3, 5, 2)),
        ]
    cases["GlobalAvgPool"] = [
        case(lambda rng: nn.GlobalAvgPool(), (3, 5, 2)),
        case(lambda rng: nn.GlobalAvgPool(), (2, 3, 5, 4)),
        case(lambda rng: nn.GlobalAvgPool(), (2, 3, 2, 4, 3)),
    ]
    return cases


def _activation_cases():
    shape = (3, 2, 5)
    return {
        "Sigmoid": [case(lambda rng: nn.Sigmoid(), shape)],
        "Tanh": [case(lambda rng: nn.Tanh(), shape)],
        "ReLU": [case(lambda rng: nn.ReLU(), shape), with_ties(lambda rng: nn.ReLU(), (3, 7))],
        "Softmax": [case(lambda rng: nn.Softmax(), shape), case(lambda rng: nn.Softmax(), (1, 2))],
    }


def _other_cases():
    def row_of_equal_sizes(rng):
        return nn.Sequential(nn.Linear(4, 4, rng=rng), nn.Tanh(), nn.Linear(4, 4, rng=rng))

    def small_network(rng):
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, rng=rng),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * 3 * 3, 4, rng=rng),
        )

    def in_use(rng):
        return nn.Dropout(0.4, rng=rng).eval()

    return {
        "Linear": [
            case(lambda rng: nn.Linear(3, 5, rng=rng), (4, 3)),
            case(lambda rng: nn.Linear(3, 2, rng=rng), (2, 5, 3)),
            case(lambda rng: nn.Linear(4, 4, bias=False, rng=rng), (1, 3, 2, 4)),
        ],
        "Flatten": [case(lambda rng: nn.Flatten(), (2, 3, 4, 5))],
        "Dropout": [case(lambda rng: nn.Dropout(0.4, rng=rng), (3, 2, 7)), case(in_use, (3, 5))],
        "Sequential": [case(row_of_equal_sizes, (3, 4)), case(small_network, (2, 4, 6, 2))],
    }


def _loss_cases():
    entropy = nn.CrossEntropyLoss
    weight = np.array([0.5, 2.0, 1.0, 0.2, 3.0])
    return {
        "CrossEntropyLoss": [
            with_ids(lambda rng: entropy(), (7,), 5),
            with_ids(lambda rng: entropy(label_smoothing=0.2), (3, 4), 5),
            with_ids(lambda rng: entropy(weight=weight), (9,), 5),
            with_ids(lambda rng: entropy(ignore_index=-1), (2, 5), 3, ignored=-1),
            with_ids(lambda rng: entropy(0.1, weight, ignore_index=2), (3, 5), 5, ignored=2),
            with_probabilities(lambda rng: entropy(), (2, 3, 4)),
            with_probabilities(lambda rng: entropy(0.1, weight), (6, 5)),
        ],
        "MSELoss": [case(lambda rng: nn.MSELoss(), (3, 2, 5), (3, 2, 5))],
    }


CASES = {
    **_conv_cases(),
    **_pool_cases(),
    **_activation_cases(),
    **_other_cases(),
    **_loss_cases(),
}
