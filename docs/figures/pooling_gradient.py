"""Pooling forward, and where the gradient goes: max and average, windows apart and overlapping."""

import numpy as np
from _figure import draw_grid, plt, save

import nn

SIZE = 6
rng = np.random.default_rng(7)
x = 1.0 + rng.permutation(SIZE * SIZE).reshape(1, SIZE, SIZE, 1)  # no ties

pools = {
    "max, 2×2, stride 2": nn.MaxPool2d(2),
    "max, 3×3, stride 1": nn.MaxPool2d(3, stride=1),
    "average, 2×2, stride 2": nn.AvgPool2d(2),
    "average, 3×3, stride 1": nn.AvgPool2d(3, stride=1),
}


def shades(values, color_map, largest):
    return [[plt.get_cmap(color_map)(0.75 * v / largest) for v in row] for row in values]


def short(value):
    return f"{value:.2g}" if 0 < value < 10 else f"{value:.3g}" if value else ""


figure, axes = plt.subplots(2, 5, figsize=(10.5, 4.4), layout="constrained")
numbers = x[0, :, :, 0]
draw_grid(axes[0, 0], numbers, shades(numbers, "Blues", SIZE**2), short)
axes[0, 0].set_title("x")
axes[1, 0].set_visible(False)

for column, (title, pool) in zip(axes.T[1:], pools.items(), strict=True):
    y = pool(x)
    dx = pool.backward(np.ones_like(y))[0, :, :, 0]
    y = y[0, :, :, 0]
    draw_grid(column[0], y, shades(y, "Blues", SIZE**2), short)
    draw_grid(column[1], dx, shades(dx, "Oranges", max(1, dx.max())), short)
    column[0].set(title=title, xlim=(0, SIZE), ylim=(SIZE, 0))
    column[1].set_xlabel(f"sums to {dx.sum():.3g}")
    for text in (*column[0].texts, *column[1].texts):
        text.set_fontsize(7)
for text in axes[0, 0].texts:
    text.set_fontsize(7)
axes[0, 1].set_ylabel("y")
axes[1, 1].set_ylabel("dx, when dy is 1 everywhere")
save(figure, __file__)
