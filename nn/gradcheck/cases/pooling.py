"""Cases of max and average pooling."""

import nn
from nn.gradcheck.cases.case import case, with_ties


def _cases():
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


CASES = _cases()
