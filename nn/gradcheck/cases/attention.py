"""Cases of the attentions, positional encodings and transformer layers.

T_q, T_k, D and D_v all differ. Every kind of mask has a case; one query sees nothing. The lean
form is checked with more positions than a tile has, so that its maximum has to run.
"""

import nn
from nn.gradcheck.cases.case import Case, case


def masked(module, *shapes, mask, causal=False):
    """A case whose last arguments are a random mask of that shape, and `causal`."""

    def inputs(rng):
        arrays = tuple(rng.standard_normal(shape) for shape in shapes)
        seen = rng.random(mask) < 0.6
        seen[..., 0, :] = False  # for this query there is nothing to see
        return (*arrays, seen, causal)

    return Case(module, inputs)


def degree(*options):
    """An `AttentionDegree` to build."""
    return lambda rng: nn.AttentionDegree(*options, rng=rng)


def attention(*options, **more):
    """An `Attention` to build."""
    return lambda rng: nn.Attention(*options, rng=rng, **more)


def heads(*options, **more):
    """A `MultiHeadAttention` to build."""
    return lambda rng: nn.MultiHeadAttention(*options, rng=rng, **more)


def encoder(**options):
    """A `TransformerEncoderLayer` to build."""
    return lambda rng: nn.TransformerEncoderLayer(4, 2, 6, rng=rng, **options)


def decoder(**options):
    """A `TransformerDecoderLayer` to build."""
    return lambda rng: nn.TransformerDecoderLayer(4, 2, 6, rng=rng, **options)


Q, K, V = (2, 3, 4), (2, 5, 4), (2, 5, 6)

CASES = {
    "AttentionDegree": [
        case(degree(), (2, 5, 3)),
        case(degree("dot"), (2, 4, 3), (2, 5, 3)),
        case(degree("cosine"), (2, 4, 3), (2, 5, 3)),
        case(degree("general", 3), (2, 4, 3), (2, 5, 3)),
        case(degree("additive", 3), (2, 4, 3), (2, 5, 3)),
        masked(degree(), (2, 4, 3), (2, 5, 3), mask=(2, 4, 5)),
    ],
    "Attention": [
        case(attention(), (2, 5, 3)),
        case(attention(), Q, K),
        case(attention(), Q, K, V),
        case(attention("dot"), Q, K, V),
        case(attention("cosine"), Q, K, V),
        case(attention("general", 4), Q, K, V),
        case(attention("additive", 4), Q, K, V),
        case(attention(), (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 1)),
        masked(attention(), Q, K, V, mask=(3, 5), causal=True),
        masked(attention("cosine"), Q, K, V, mask=(2, 1, 3, 5)),
        case(attention(lean=True), (1, 35, 2), (1, 66, 2), (1, 66, 3)),
        masked(
            attention("general", 2, lean=True), (1, 35, 2), (1, 66, 2), (1, 66, 1), mask=(35, 1)
        ),
        masked(
            attention(lean=True),
            (1, 33, 2),
            (1, 35, 2),
            (1, 35, 3),
            mask=(33, 35),
            causal=True,
        ),
    ],
    "MultiHeadAttention": [
        case(heads(4, 2), Q),
        case(heads(6, 3, bias=False), (2, 3, 6), (2, 5, 6)),
        masked(heads(4, 2), Q, K, K, mask=(2, 2, 3, 5)),
        masked(heads(4, 1), Q, K, K, mask=(2, 3, 5), causal=True),
        masked(heads(4, 2, lean=True), Q, K, K, mask=(2, 1, 3, 5)),
    ],
    "PositionalEncoding": [
        case(lambda rng: nn.PositionalEncoding(3), (2, 4, 3)),
        case(lambda rng: nn.PositionalEncoding(3, "learned", 5, rng=rng), (2, 4, 3)),
        case(
            lambda rng: nn.PositionalEncoding(3, "space-time", (3, 4, 2), rng=rng), (2, 3, 3, 2, 3)
        ),
        case(
            lambda rng: nn.PositionalEncoding(2, "space-time", (3, 3, 3), rng=rng), (2, 1, 2, 3, 2)
        ),
    ],
    "TransformerEncoderLayer": [
        case(encoder(), (2, 3, 4)),
        case(encoder(norm_first=False, activation="relu", dropout=0.3), (2, 3, 4)),
        Case(encoder(dropout=0.3), lambda rng: (rng.standard_normal((2, 3, 4)), None, True)),
        masked(encoder(lean=True), (2, 3, 4), mask=(2, 1, 3, 3)),
    ],
    "TransformerDecoderLayer": [
        case(decoder(), (2, 3, 4), (2, 5, 4)),
        case(decoder(norm_first=False, activation="relu", dropout=0.3), (2, 3, 4), (2, 5, 4)),
        Case(
            decoder(),
            lambda rng: (
                rng.standard_normal((2, 3, 4)),
                rng.standard_normal((2, 5, 4)),
                None,
                rng.random((2, 1, 1, 5)) < 0.6,
                False,
            ),
        ),
    ],
}
