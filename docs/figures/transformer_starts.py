"""Left: the gradient behind each of twelve layers before any training, pre-norm and post-norm.
Right: products of the sinusoidal vectors of two positions."""

import numpy as np
from _figure import BLUE, ORANGE, plt, save

import nn
from nn.positional import sinusoids

DEPTH, SEEDS = 12, 5


def gradient_sizes(norm_first, seed):
    """Root mean square of the gradient behind each layer, as a share of that of dy."""
    rng = np.random.default_rng(seed)
    layers = [
        nn.TransformerEncoderLayer(32, 4, 64, norm_first=norm_first, rng=rng) for _ in range(DEPTH)
    ]
    model = nn.Sequential(*layers)
    x, dy = rng.standard_normal((2, 4, 10, 32)).astype(np.float32)
    with nn.watch(*layers) as seen:
        model(x)
        model.backward(dy)
    return [np.sqrt(np.mean(seen[layer].grad ** 2)) for layer in layers]


figure, (sizes, products) = plt.subplots(
    1, 2, figsize=(9.5, 3.5), width_ratios=(1.4, 1), layout="constrained"
)
for norm_first, name, color in ((True, "pre-norm", BLUE), (False, "post-norm", ORANGE)):
    runs = np.array([gradient_sizes(norm_first, seed) for seed in range(SEEDS)])
    layers = np.arange(1, DEPTH + 1)
    sizes.plot(layers, runs.T, color=color, lw=0.6, alpha=0.5)
    sizes.plot(layers, np.exp(np.log(runs).mean(axis=0)), "o-", color=color, ms=4, label=name)
sizes.set(yscale="log", xlabel="layer", ylabel="gradient behind it (rms)", title="before training")
sizes.legend()

P = sinusoids(64, 32)
image = products.imshow(P @ P.T, cmap="RdBu_r", vmin=-16, vmax=16)
products.set(xlabel="position", ylabel="position", title="P · P of two positions, D = 32")
figure.colorbar(image, ax=products, shrink=0.85)
save(figure, __file__)
