"""Left: three values, normalised, lie on a circle, and their gradient is tangent to it. Right:
running averages of batch norm, on their way to the statistics of the data."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, RED, plt, save

import nn

# Coordinates in the plane of all triples whose sum is zero.
PLANE = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])

figure, (circle, running) = plt.subplots(
    1, 2, figsize=(9.5, 3.8), width_ratios=(1, 1.5), layout="constrained"
)

angles = np.linspace(0, 2 * np.pi, 200)
circle.plot(np.sqrt(3) * np.cos(angles), np.sqrt(3) * np.sin(angles), color="#BBBBBB", lw=1)
norm = nn.LayerNorm(3, eps=0.0).astype(np.float64)
rng = np.random.default_rng(5)
for i, angle in enumerate((0.4, 2.5, 4.4)):
    x = (2.6 * np.array([np.cos(angle), np.sin(angle)]) @ PLANE + 1.0)[None]  # (1, 3)
    upstream = rng.standard_normal((1, 3))
    x_hat = norm(x)
    dx = norm.backward(upstream)
    start, end = PLANE @ x_hat[0], PLANE @ x[0]
    circle.plot([0, end[0]], [0, end[1]], color=GRAY, lw=0.8, ls=":")
    circle.plot(*end, "o", color=GRAY, ms=4, label="x" if i == 0 else None)
    circle.plot(*start, "o", color=BLUE, ms=5, label="x̂" if i == 0 else None)
    for vector, color, label in ((upstream, ORANGE, "dx̂"), (dx * x.std(), RED, "dx · σ")):
        head = PLANE @ vector[0]
        circle.quiver(
            *start,
            *head,
            color=color,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.012,
            label=label if i == 0 else None,
        )
circle.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), aspect="equal", xticks=[], yticks=[])
circle.set_title("three values: dx is tangent")
circle.legend(loc="upper right", fontsize=8)
for side in circle.spines.values():
    side.set_visible(False)

rng = np.random.default_rng(0)
batches = rng.normal(3, 2, (100, 16, 1))
for momentum, color in ((0.3, ORANGE), (0.1, BLUE), (0.02, GREEN)):
    norm = nn.BatchNorm(1, momentum=momentum).astype(np.float64)
    seen = []
    with nn.inference():
        for batch in batches:
            norm(batch)
            seen.append(norm.running_mean[0])
    running.plot(range(1, 101), seen, color=color, label=f"momentum {momentum}")
running.plot(range(1, 101), batches.mean(axis=(1, 2)), ".", color=GRAY, ms=3, label="batch means")
running.axhline(3, color="#AAAAAA", lw=0.8, zorder=0)
running.set(xlabel="batches of 16 seen", ylabel="running mean", title="running averages")
running.legend(fontsize=8)
save(figure, __file__)
