"""Cases of `ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d`.

Output padding has two forms: within the padding it cuts off less, beyond it adds places that no
stamp reaches. It may also reach the stride, where the dilation is larger still.
"""

import nn
from nn.gradcheck.cases.case import case


def _cases():
    up1, up2, up3 = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
    return {
        "ConvTranspose1d": [
            case(lambda rng: up1(3, 4, 3, rng=rng), (2, 5, 3)),
            case(lambda rng: up1(3, 2, 4, stride=3, padding=2, rng=rng), (3, 5, 3)),
            case(
                lambda rng: up1(2, 3, 3, stride=2, padding=1, output_padding=1, rng=rng), (2, 4, 2)
            ),
            case(lambda rng: up1(2, 3, 2, stride=3, output_padding=2, rng=rng), (2, 3, 2)),
            case(
                lambda rng: up1(
                    3, 2, 2, stride=2, padding=1, dilation=4, output_padding=3, rng=rng
                ),
                (2, 4, 3),
            ),
            case(lambda rng: up1(4, 6, 3, stride=2, groups=2, bias=False, rng=rng), (2, 1, 4)),
        ],
        "ConvTranspose2d": [
            case(lambda rng: up2(3, 4, (2, 3), rng=rng), (2, 3, 4, 3)),
            case(
                lambda rng: up2(3, 2, (3, 4), stride=(2, 3), padding=(1, 2), rng=rng), (2, 3, 4, 3)
            ),
            case(
                lambda rng: up2(
                    2, 3, (2, 3), stride=(2, 3), padding=1, output_padding=(1, 2), rng=rng
                ),
                (2, 2, 3, 2),
            ),
            case(
                lambda rng: up2(
                    4,
                    6,
                    2,
                    stride=(1, 2),
                    dilation=(2, 3),
                    output_padding=(1, 2),
                    groups=2,
                    rng=rng,
                ),
                (2, 3, 2, 4),
            ),
            case(lambda rng: up2(3, 3, 3, stride=2, groups=3, bias=False, rng=rng), (2, 1, 3, 3)),
        ],
        "ConvTranspose3d": [
            case(lambda rng: up3(2, 3, (1, 2, 3), rng=rng), (2, 2, 3, 4, 2)),
            case(
                lambda rng: up3(
                    2,
                    3,
                    (3, 2, 3),
                    stride=(1, 2, 3),
                    padding=(1, 0, 2),
                    output_padding=(0, 1, 2),
                    rng=rng,
                ),
                (1, 3, 2, 2, 2),
            ),
            case(
                lambda rng: up3(
                    4, 2, 2, dilation=(2, 1, 3), output_padding=(1, 0, 2), groups=2, rng=rng
                ),
                (1, 2, 3, 1, 4),
            ),
        ],
    }


CASES = _cases()
