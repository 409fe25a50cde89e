"""The size of the signal, forward and backward, through twenty layers with random weights."""

import numpy as np
from _figure import BLUE, GREEN, ORANGE, PURPLE, RED, plt, save

import nn

DEPTH, WIDTH, BATCH = 20, 256, 128


def size(a):
    return float(np.sqrt(np.mean(a**2, dtype=np.float64)))


def sizes(factor, activation):
    """Root mean square after each layer on the way up, and below each on the way down."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, WIDTH)).astype(np.float32)
    up, layers = [size(x)], []
    for _ in range(DEPTH):
        dense = nn.Linear(WIDTH, WIDTH)
        dense.weight.data[...] = nn.initializers.uniform((WIDTH, WIDTH), factor / WIDTH, rng)
        layers.append(nn.Sequential(dense, activation()))
        x = layers[-1](x)
        up.append(size(x))
    dx = rng.standard_normal(x.shape).astype(np.float32)
    down = [size(dx)]
    for layer in reversed(layers):
        dx = layer.backward(dx)
        down.append(size(dx))
    return up, down[::-1]


scales = [(4, RED, "4 / n"), (2, BLUE, "2 / n (He)"), (1, ORANGE, "1 / n")]
kinds = [
    (nn.ReLU, 2, BLUE, "2 / n"),
    (nn.Tanh, 1, GREEN, "1 / n"),
    (nn.Sigmoid, 1, PURPLE, "1 / n"),
]

figure, axes = plt.subplots(1, 3, figsize=(10.5, 3), layout="constrained")
for factor, color, name in scales:
    up, down = sizes(factor, nn.ReLU)
    axes[0].plot(up, color=color, label=name)
    axes[1].plot(down, color=color, label=name)
for activation, factor, color, name in kinds:
    _, down = sizes(factor, activation)
    axes[2].plot(down, color=color, label=f"{activation.__name__}, {name}")

titles = ["forward, ReLU", "backward, ReLU", "backward, three activations"]
for axis, title in zip(axes, titles, strict=True):
    axis.set(yscale="log", xlabel="layers passed", title=title, xticks=range(0, DEPTH + 1, 5))
axes[0].legend(title="variance of the weights")  # the colours are those of the middle, too
axes[2].legend()
axes[0].set_ylabel("root mean square of y")
axes[1].set_ylabel("root mean square of the gradient")
for axis in axes[1:]:
    axis.set_xlabel("layer (the gradient comes from the right)")
save(figure, __file__)
