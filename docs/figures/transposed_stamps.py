"""Transposed convolution on one axis: every input stamps the kernel, stamps overlap and add up."""

import numpy as np
from _figure import BLUE, GREEN, ORANGE, PALE, draw_grid, plt, save

import nn

INPUTS = np.array([1, 2, 3])
TAPS = [1, 10, 100]
COLORS = [BLUE, ORANGE, GREEN]


def output(x, **options):
    layer = nn.ConvTranspose1d(1, 1, len(TAPS), bias=False, **options).astype(np.float64)
    layer.weight.data[:, 0, 0] = TAPS
    with nn.inference():
        return layer(x.reshape(1, -1, 1).astype(float)).ravel().round().astype(int)


cases = {
    "stride 1": {},
    "stride 2": {"stride": 2},
    "stride 2, padding 1": {"stride": 2, "padding": 1},
    "stride 2, padding 1,\noutput padding 1": {"stride": 2, "padding": 1, "output_padding": 1},
}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), layout="constrained")
for axis, (title, options) in zip(axes, cases.items(), strict=True):
    stamps = [output(INPUTS * (np.arange(3) == i), **options) for i in range(3)]
    rows = [*stamps, output(INPUTS, **options)]
    assert np.array_equal(sum(stamps), rows[-1])
    fills = [[COLORS[i] if v else PALE for v in row] for i, row in enumerate(stamps)]
    fills.append(["#BBBBBB"] * len(rows[-1]))
    draw_grid(axis, rows, fills, lambda v: str(v) if v else "")
    for text in axis.texts:
        text.set_fontsize(7)
    axis.set(xlim=(0, 7), title=title, xlabel="output place")
    axis.set(yticks=np.arange(4) + 0.5, yticklabels=[""] * 4)
    axis.tick_params(length=0)
axes[0].set_yticklabels([*(f"stamp of x({i}) = {v}" for i, v in enumerate(INPUTS)), "y, their sum"])
save(figure, __file__)
