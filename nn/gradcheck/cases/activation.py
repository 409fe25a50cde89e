"""Cases of activations and dropout."""

import nn
from nn.gradcheck.cases.case import case, of_size, with_ties

SHAPE = (3, 2, 5)
FLAT = {"Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "GELU": nn.GELU, "SiLU": nn.SiLU}

CASES = {
    # Flat far out: there a slope is small, but must be right all the same.
    **{
        name: [
            case(lambda rng, layer=layer: layer(), SHAPE),
            of_size(4.0, lambda rng, layer=layer: layer(), (2, 7)),
        ]
        for name, layer in FLAT.items()
    },
    "ReLU": [case(lambda rng: nn.ReLU(), SHAPE), with_ties(lambda rng: nn.ReLU(), (3, 7))],
    "LeakyReLU": [
        case(lambda rng: nn.LeakyReLU(), SHAPE),
        with_ties(lambda rng: nn.LeakyReLU(0.3), (3, 7)),
    ],
    "Softmax": [case(lambda rng: nn.Softmax(), SHAPE), case(lambda rng: nn.Softmax(), (1, 2))],
    "Dropout": [
        case(lambda rng: nn.Dropout(0.4, rng=rng), (3, 2, 7)),
        case(lambda rng: nn.Dropout(0.4, rng=rng).eval(), (3, 5)),
    ],
}
