"""Cases of `Upsample2d` and `Upsample3d`: both modes, factors that differ, axes of one place."""

import nn
from nn.gradcheck.cases.case import case


def _cases():
    up2, up3 = nn.Upsample2d, nn.Upsample3d
    return {
        "Upsample2d": [
            case(lambda rng: up2(2), (2, 3, 5, 2)),
            case(lambda rng: up2((3, 1)), (2, 2, 4, 3)),
            case(lambda rng: up2(2, mode="linear"), (2, 3, 5, 2)),
            case(lambda rng: up2((2, 3), mode="linear"), (2, 4, 2, 3)),
            case(lambda rng: up2((3, 2), mode="linear"), (1, 1, 5, 2)),
        ],
        "Upsample3d": [
            case(lambda rng: up3((1, 2, 3)), (2, 3, 2, 1, 2)),
            case(lambda rng: up3(2, mode="linear"), (1, 3, 2, 4, 2)),
            case(lambda rng: up3((2, 1, 3), mode="linear"), (2, 1, 3, 2, 3)),
        ],
    }


CASES = _cases()
