"""Cases of the losses, with every option."""

import numpy as np

import nn
from nn.gradcheck.cases.case import Case, case, of_size, with_ids, with_probabilities

WEIGHT = np.array([0.5, 2.0, 1.0, 0.2, 3.0])


def with_answers(module, shape):
    """A case for a loss on logits and yes-or-no answers, some of them undecided."""

    def inputs(rng):
        return 2 * rng.standard_normal(shape), rng.integers(0, 3, shape) / 2

    return Case(module, inputs)


def with_masks(module, shape):
    """A case for a loss on logits and masks of zeros and ones."""

    def inputs(rng):
        return rng.standard_normal(shape), rng.integers(0, 2, shape).astype(float)

    return Case(module, inputs)


def some_equal(module, shape):
    """A case for a loss on outputs and targets, some of which are met exactly."""

    def inputs(rng):
        outputs, targets = rng.standard_normal(shape), rng.standard_normal(shape)
        targets.flat[::3] = outputs.flat[::3]
        return outputs, targets

    return Case(module, inputs)


def _cases():
    entropy, yes_no, dice = nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.DiceLoss
    return {
        "CrossEntropyLoss": [
            with_ids(lambda rng: entropy(), (7,), 5),
            with_ids(lambda rng: entropy(label_smoothing=0.2), (3, 4), 5),
            with_ids(lambda rng: entropy(weight=WEIGHT), (9,), 5),
            with_ids(lambda rng: entropy(ignore_index=-1), (2, 5), 3, ignored=-1),
            with_ids(lambda rng: entropy(0.1, WEIGHT, ignore_index=2), (3, 5), 5, ignored=2),
            with_probabilities(lambda rng: entropy(), (2, 3, 4)),
            with_probabilities(lambda rng: entropy(0.1, WEIGHT), (6, 5)),
        ],
        "MSELoss": [case(lambda rng: nn.MSELoss(), (3, 2, 5), (3, 2, 5))],
        "L1Loss": [
            case(lambda rng: nn.L1Loss(), (3, 2, 5), (3, 2, 5)),
            some_equal(lambda rng: nn.L1Loss(), (4, 3)),
        ],
        "HuberLoss": [
            of_size(2.0, lambda rng: nn.HuberLoss(), (3, 2, 5), (3, 2, 5)),
            case(lambda rng: nn.HuberLoss(delta=0.3), (4, 3), (4, 3)),
            some_equal(lambda rng: nn.HuberLoss(delta=3.0), (2, 5)),
        ],
        "BCEWithLogitsLoss": [
            with_answers(lambda rng: yes_no(), (3, 2, 5)),
            with_answers(lambda rng: yes_no(pos_weight=3.0), (7,)),
            with_answers(lambda rng: yes_no(pos_weight=WEIGHT), (4, 5)),
        ],
        "DiceLoss": [
            with_ids(lambda rng: dice(), (2, 3, 4), 3),
            with_ids(lambda rng: dice(smooth=0.1, ignore_index=1), (3, 5), 4, ignored=1),
            with_masks(lambda rng: dice(), (2, 4, 3)),
            with_masks(lambda rng: dice(smooth=0.2), (2, 3, 5, 1)),
        ],
        "InfoNCELoss": [
            case(lambda rng: nn.InfoNCELoss(), (5, 3), (5, 3)),
            of_size(3.0, lambda rng: nn.InfoNCELoss(temperature=0.7), (4, 6), (4, 6)),
        ],
        "TripletLoss": [
            case(lambda rng: nn.TripletLoss(), (7, 3), (7, 3), (7, 3)),
            case(lambda rng: nn.TripletLoss(margin=0.2), (5, 4), (5, 4), (5, 4)),
        ],
    }


CASES = _cases()
