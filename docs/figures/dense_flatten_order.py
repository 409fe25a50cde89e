"""In which order a map (H, W, C) becomes one row: channels last as here, and channels first."""

import numpy as np
from _figure import draw_grid, plt, save

import nn

H, W, C = 2, 3, 3
x = np.arange(H * W * C).reshape(1, H, W, C)
names = {x[0, h, w, c]: f"{h},{w},{c}" for h, w, c in np.ndindex(H, W, C)}
# The channel gives the hue, the pixel how dark it is.
color_maps = [plt.get_cmap(name) for name in ("Reds", "Greens", "Blues")]
fills = {x[0, h, w, c]: color_maps[c](0.2 + 0.1 * (h * W + w)) for h, w, c in np.ndindex(H, W, C)}


def draw(axis, values):
    draw_grid(axis, values, [[fills[v] for v in row] for row in values], names.get)
    for text in axis.texts:
        text.set_fontsize(7)


figure, axes = plt.subplot_mosaic(
    [["c0", "c1", "c2"], ["last"] * 3, ["first"] * 3],
    figsize=(8.5, 2.9),
    height_ratios=[2, 1, 1],
    layout="constrained",
)
for c in range(C):
    draw(axes[f"c{c}"], x[0, :, :, c])
    axes[f"c{c}"].set_title(f"channel {c}")

with nn.inference():
    rows = {"last": nn.Flatten()(x), "first": nn.Flatten()(x.transpose(0, 3, 1, 2))}
titles = {
    "last": "channels last: the channels of a pixel side by side",
    "first": "channels first: one whole channel after the other",
}
for name, row in rows.items():
    draw(axes[name], row)
    axes[name].set_title(titles[name], loc="left")
axes["first"].set_xlabel("position in the flattened row; in each cell h,w,c")
save(figure, __file__)
