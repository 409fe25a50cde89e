"""Which values share a mean: change one number, and see which outputs of each norm change."""

import numpy as np
from _figure import BLUE, ORANGE, PALE, draw_grid, plt, save

import nn

N, S, C = 3, 4, 6  # clips, places, channels
PLACE = (1, 1, 2)
norms = {
    "batch norm: one channel,\nall clips, all places": nn.BatchNorm(C),
    "layer norm: one place,\nall channels": nn.LayerNorm(C),
    "group norm, 2 groups: one clip,\nall places, half of the channels": nn.GroupNorm(2, C),
}

x = np.random.default_rng(0).standard_normal((N, S, C))
moved = x.copy()
moved[PLACE] += 1

figure, axes = plt.subplots(1, 3, figsize=(10.5, 1.9), layout="constrained")
for axis, (title, norm) in zip(axes, norms.items(), strict=True):
    with nn.inference():
        changed = norm.astype(np.float64)(moved) != norm(x)  # (N, S, C)
    fills = [[BLUE if c else PALE for c in row] for row in np.concatenate(changed, axis=1)]
    fills[PLACE[1]][PLACE[0] * C + PLACE[2]] = ORANGE
    draw_grid(axis, fills, fills, lambda _: "")
    for n in range(1, N):
        axis.axvline(n * C, color="white", lw=6)
    middles = [(n + 0.5) * C for n in range(N)]
    axis.set(title=title, xticks=middles, xticklabels=[f"clip {n}" for n in range(N)])
    axis.tick_params(length=0)
axes[0].set_ylabel("place")
figure.supxlabel("channels 0 to 5 of each clip", fontsize=9)
save(figure, __file__)
