"""Cases of `RNN`, `LSTM`, `GRU` and `ConvLSTM2d`.

With and without a state of their own, layers, directions and masks. Where there is a mask, x is
zero at masked steps, as padding is. `truncate` has no case: its backward is not the derivative
of forward, and is not meant to be.
"""

import numpy as np

import nn
from nn.gradcheck.cases.case import Case, case


def with_state(module, shape, state_shape, parts=1):
    """A case with an initial state: an array, or a tuple of several."""

    def inputs(rng):
        x = rng.standard_normal(shape)
        state = tuple(rng.standard_normal(state_shape) for _ in range(parts))
        return x, state if parts > 1 else state[0]

    return Case(module, inputs)


def with_mask(module, shape, lengths, state_shape=None, parts=1):
    """A case whose examples have these lengths; the first one has a gap as well."""

    def inputs(rng):
        T = shape[1]
        mask = np.arange(T) < np.array(lengths)[:, None]  # (N, T)
        mask[0, 1] = False
        x = rng.standard_normal(shape) * mask.reshape(*mask.shape, *(1,) * (len(shape) - 2))
        if state_shape is None:
            return x, None, mask
        state = tuple(rng.standard_normal(state_shape) for _ in range(parts))
        return x, state if parts > 1 else state[0], mask

    return Case(module, inputs)


def of(kind, parts):
    """What LSTM and GRU have in common; `parts` arrays make a state."""
    return [
        case(lambda rng: kind(3, 4, rng=rng), (2, 5, 3)),
        with_state(lambda rng: kind(3, 2, rng=rng), (2, 3, 3), (1, 2, 2), parts),
        case(lambda rng: kind(2, 3, num_layers=2, bidirectional=True, rng=rng), (2, 3, 2)),
        with_mask(
            lambda rng: kind(2, 3, output_size=2, bidirectional=True, rng=rng),
            (3, 4, 2),
            (4, 1, 3),
            (2, 3, 3),
            parts,
        ),
        case(lambda rng: kind(2, 3, num_layers=2, dropout=0.4, rng=rng), (2, 4, 2)),
    ]


CASES = {
    "RNN": [
        case(lambda rng: nn.RNN(3, 4, output_size=2, rng=rng), (2, 5, 3)),
        case(lambda rng: nn.RNN(3, 5, activation="relu", rng=rng), (2, 4, 3)),
        with_state(lambda rng: nn.RNN(2, 3, activation="sigmoid", rng=rng), (3, 4, 2), (1, 3, 3)),
        with_mask(
            lambda rng: nn.RNN(2, 3, num_layers=2, bidirectional=True, rng=rng),
            (3, 4, 2),
            (4, 2, 3),
        ),
        case(lambda rng: nn.RNN(2, 3, num_layers=2, dropout=0.4, rng=rng), (2, 1, 2)),
    ],
    "LSTM": of(nn.LSTM, 2),
    "GRU": of(nn.GRU, 1),
    "ConvLSTM2d": [
        case(lambda rng: nn.ConvLSTM2d(2, 3, (3, 2), rng=rng), (2, 3, 3, 2, 2)),
        with_state(
            lambda rng: nn.ConvLSTM2d(1, 2, (1, 3), rng=rng), (1, 3, 2, 4, 1), (1, 1, 2, 4, 2), 2
        ),
        with_mask(
            lambda rng: nn.ConvLSTM2d(1, 2, (2, 1), bidirectional=True, rng=rng),
            (2, 3, 2, 2, 1),
            (3, 1),
        ),
    ],
}
