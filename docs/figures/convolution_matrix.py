"""The matrix of a 1-D convolution, column by column: what each unit vector becomes."""

import numpy as np
from _figure import BLUE, GREEN, ORANGE, PALE, draw_grid, plt, save

import nn

LENGTH, TAPS = 8, 3
COLORS = dict(zip([1, 2, 3], [BLUE, ORANGE, GREEN], strict=True))


def matrix(**options):
    """(outputs, inputs), with the number of the tap where there is one: weights 1, 2, 3."""
    layer = nn.Conv1d(1, 1, TAPS, bias=False, **options)
    layer.weight.data[:, 0, 0] = np.arange(1, TAPS + 1)
    with nn.inference():
        unit_vectors = np.eye(LENGTH, dtype=np.float32)[:, :, None]  # (N, T, C)
        return layer(unit_vectors)[:, :, 0].T.round().astype(int)


cases = {
    "plain": {},
    "stride 2: rows left out": {"stride": 2},
    "dilation 2: taps spread": {"dilation": 2},
    "padding 1: corners cut off": {"padding": 1},
}
figure, axes = plt.subplots(1, 4, figsize=(10.5, 3.1), layout="constrained")
for axis, (title, options) in zip(axes, cases.items(), strict=True):
    entries = matrix(**options)
    fills = [[COLORS.get(value, PALE) for value in row] for row in entries]
    draw_grid(axis, entries, fills, lambda v: f"w({v - 1})" if v else "")
    for text in axis.texts:
        text.set(fontsize=6.5, color="white")
    H, W = entries.shape
    axis.set(ylim=(LENGTH, 0), xticks=np.arange(W) + 0.5, yticks=np.arange(H) + 0.5)
    axis.set(xticklabels=range(W), yticklabels=range(H), xlabel="input m", title=title)
    axis.xaxis.set(ticks_position="top", label_position="top")
    axis.tick_params(length=0)
axes[0].set_ylabel("output i")
save(figure, __file__)
