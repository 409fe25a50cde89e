"""Two clips that share a piece: the weights of one for the other, and the article's degree."""

import numpy as np
from _figure import BLUE, ORANGE, PALE, plt, save

import nn

T, D = 40, 48
rng = np.random.default_rng(1)
first, second = rng.standard_normal((2, T, D))
first[12:20] = second[25:33] + 0.3 * rng.standard_normal((8, D))

layer = nn.AttentionDegree("dot")
with nn.inference(), nn.watch(layer) as seen:
    itself = layer(second[None], second[None])[0]
    a = layer(first[None], second[None])[0]  # the last call is the one that is seen

figure, (table, curve) = plt.subplots(
    1, 2, figsize=(9.5, 3.6), width_ratios=(1, 1.6), layout="constrained"
)
image = table.imshow(seen[layer].weights[0, 0], cmap="Blues", vmin=0, vmax=1)
table.set(xlabel="frame of clip B", ylabel="frame of clip A", title="weights")
figure.colorbar(image, ax=table, shrink=0.8)
curve.axvspan(11.5, 19.5, color=PALE, label="frames shared with B")
curve.plot(a, "o-", ms=3, color=BLUE, label="degree of A for B")
curve.axhline(itself.mean(), color=ORANGE, lw=1, label="degree of B for itself, mean")
curve.set(xlabel="frame of clip A", ylabel="degree of attention", title="the article's a")
curve.legend(fontsize=8)
save(figure, __file__)
