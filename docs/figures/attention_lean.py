"""Plain and lean attention for growing T: what is kept until backward, and the time of both."""

import time

import numpy as np
from _figure import BLUE, ORANGE, plt, save

import nn

H, D = 8, 32
LENGTHS = (64, 128, 256, 512, 1024)


def kept_megabytes(layer, x):
    """Saved arrays without the input, which others hold too."""
    layer(x)
    saved = [*layer.take()[0], *(layer.similarity.take() if layer.similarity._saved else ())]
    layer.forget()
    owners = {id(a): a for a in saved if isinstance(a, np.ndarray) and not np.shares_memory(a, x)}
    return sum(a.nbytes for a in owners.values()) / 1e6


def milliseconds(layer, x, dy):
    """Forward and backward, the best of three."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        layer(x)
        layer.backward(dy)
        best = min(best, time.perf_counter() - start)
    return 1000 * best


figure, (memory, speed) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
rng = np.random.default_rng(0)
for lean, name, color in ((False, "plain", ORANGE), (True, "lean", BLUE)):
    layer, kept, took = nn.Attention(lean=lean), [], []
    for T in LENGTHS:
        x, dy = rng.standard_normal((2, 1, H, T, D)).astype(np.float32)
        kept.append(kept_megabytes(layer, x))
        took.append(milliseconds(layer, x, dy))
    memory.plot(LENGTHS, kept, "o-", color=color, label=name)
    speed.plot(LENGTHS, took, "o-", color=color, label=name)
memory.set(ylabel="kept until backward, MB", title="memory")
speed.set(ylabel="forward and backward, ms", title="time")
for axis in (memory, speed):
    axis.set(xscale="log", yscale="log", xlabel="T, positions", xticks=LENGTHS)
    axis.set_xticklabels(LENGTHS)
    axis.minorticks_off()
    axis.legend()
save(figure, __file__)
