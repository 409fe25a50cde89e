"""Recall: one of 4 symbols, then noise for a while; which one was it? Accuracy on 400 new sequences
after 500 steps of training, against the length of the noise. Mean of 3 seeds, dots for each."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, plt, save

import nn

SYMBOLS, D, H, N = 4, 6, 24, 32
GAPS = (5, 10, 20, 30, 40, 60)


def sequences(rng, count, gap):
    """x (count, gap + 1, D): a symbol, then noise; and which symbol it was."""
    x = rng.standard_normal((count, gap + 1, D)).astype(np.float32) / 2
    symbols = rng.integers(0, SYMBOLS, count)
    x[:, 0] = 0
    x[np.arange(count), 0, symbols] = 2
    return x, symbols


def recall(kind, gap, seed, first=None, steps=500):
    rng = np.random.default_rng(seed)
    layer, classes = kind(D, H, rng=rng), nn.Linear(H, SYMBOLS, rng=rng)
    if first is not None:
        first(layer, rng)
    parameters = layer.parameters() + classes.parameters()
    optimizer, loss = nn.optim.Adam(parameters, lr=0.01), nn.CrossEntropyLoss()
    for _ in range(steps):
        x, symbols = sequences(rng, N, gap)
        y = layer(x)
        loss(classes(y[:, -1]), symbols)
        dy = np.zeros_like(y)
        dy[:, -1] = classes.backward(loss.backward())
        layer.backward(dy, need_input_grad=False)
        nn.optim.clip_grad_norm(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    x, symbols = sequences(np.random.default_rng(1000 + seed), 400, gap)
    with nn.inference():
        return np.mean(classes(layer(x)[:, -1]).argmax(axis=1) == symbols)


def uniform(layer, rng):
    """PyTorch's first weights."""
    for parameter in layer.parameters():
        parameter.data[...] = rng.uniform(-(H**-0.5), H**-0.5, parameter.shape)


def half_open(layer, rng):
    layer.b.data[:] = 0


figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, kind, first, color in (
    ("RNN, W uniform ±1/√H", nn.RNN, uniform, SKY),
    ("RNN, W a rotation", nn.RNN, None, BLUE),
    ("LSTM, forget bias 0", nn.LSTM, half_open, PURPLE),
    ("LSTM, forget bias 1", nn.LSTM, None, ORANGE),
    ("GRU, bias of z 1", nn.GRU, None, GREEN),
):
    found = np.array([[recall(kind, gap, seed, first) for seed in range(3)] for gap in GAPS])
    axes.plot(GAPS, 100 * found.mean(axis=1), "o-", ms=4, color=color, label=name)
    axes.plot(GAPS, 100 * found, ".", ms=3, color=color)
    print(name, *np.round(100 * found.mean(axis=1)).astype(int))
axes.axhline(100 / SYMBOLS, color=GRAY, lw=0.8, ls=":")
axes.set(xlabel="steps of noise between symbol and question", ylabel="recalled, %", ylim=(0, 104))
axes.legend(fontsize=8, loc="lower left")
save(figure, __file__)
