"""How much of the gradient of the last step reaches each step before it: norms of dx_t over that of
dx_T, mean of 5 seeds. Left: an RNN whose W is a rotation times a factor. Right: RNN, LSTM and GRU
as they start out, an RNN with PyTorch's first weights, an LSTM with half-open forget gates."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, SKY, plt, save

import nn

N, T, D, H = 16, 60, 8, 32
SEEDS = range(5)


def reach(build):
    """‖dx_t‖ / ‖dx_T‖ for t = 1..T, if only the last output has a gradient."""
    ratios = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        layer = build(seed).astype(np.float64)
        y = layer(rng.standard_normal((N, T, D)))
        dy = np.zeros_like(y)
        dy[:, -1] = rng.standard_normal((N, H))
        norms = np.sqrt((layer.backward(dy) ** 2).sum(axis=(0, 2)))
        ratios.append(norms / norms[-1])
    return np.exp(np.mean(np.log(ratios), axis=0))


def rnn(factor, activation="tanh"):
    def build(seed):
        layer = nn.RNN(D, H, activation=activation, rng=seed)
        layer.W.data *= factor
        layer.U.data *= 1e-4  # small signals, where tanh is all but straight
        return layer

    return build


def pytorch_like(seed):
    layer = nn.RNN(D, H, rng=seed)
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.data[...] = rng.uniform(-(H**-0.5), H**-0.5, parameter.shape)
    return layer


def half_open(seed):
    layer = nn.LSTM(D, H, rng=seed)
    layer.b.data[:] = 0
    return layer


figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
steps_back = np.arange(T)[::-1]
for factor, color in ((1.1, RED), (1.0, BLUE), (0.9, GREEN), (0.6, GRAY)):
    left.plot(steps_back, reach(rnn(factor)), color=color, label=f"W = {factor} · rotation")
    if factor != 1.0:
        left.plot(steps_back, factor**steps_back, color=color, lw=0.8, ls=":")
left.set_title("RNN, small signals: ‖dx‖ against factor^steps (dotted)")
for name, build, color in (
    ("RNN, W uniform ±1/√H", pytorch_like, SKY),
    ("RNN, W a rotation", lambda seed: nn.RNN(D, H, rng=seed), BLUE),
    ("LSTM, forget bias 0", half_open, PURPLE),
    ("LSTM, forget bias 1", lambda seed: nn.LSTM(D, H, rng=seed), ORANGE),
    ("GRU, bias of z 1", lambda seed: nn.GRU(D, H, rng=seed), GREEN),
):
    right.plot(steps_back, reach(build), color=color, label=name)
right.set_title("as they start out, inputs of variance 1")
for axes in (left, right):
    axes.set(xlabel="steps back from the one with the loss", yscale="log", ylim=(1e-12, 1e4))
    axes.legend(fontsize=8, loc="lower left")
left.set_ylabel("gradient that arrives, relative")
save(figure, __file__)
