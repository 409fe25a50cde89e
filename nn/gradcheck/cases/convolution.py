"""Cases of `Conv1d`, `Conv2d` and `Conv3d`."""

import nn
from nn.gradcheck.cases.case import case


def _cases():
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
            case(lambda rng: conv2(3, 4, 3, padding=1, rng=rng), (2, 5, 6, 3)),
            case(lambda rng: conv2(2, 3, 3, padding=2, dilation=(1, 2), rng=rng), (1, 6, 5, 2)),
            case(
                lambda rng: conv2(2, 3, (2, 4), padding="same", bias=False, rng=rng), (1, 5, 3, 2)
            ),
        ],
        "Conv3d": [
            case(lambda rng: conv3(2, 3, (1, 2, 3), rng=rng), (2, 3, 4, 5, 2)),
            case(lambda rng: conv3(2, 3, (2, 3, 3), padding=1, rng=rng), (1, 3, 4, 5, 2)),
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


CASES = _cases()
