"""Where InfoNCE and the triplet loss send their points: the negative gradient as arrows."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, RED, plt, save

import nn

figure, (warm, cold, triplet) = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained")

query_angles = np.radians([100, 20, 230])
key_angles = np.radians([135, 75, 320])
queries = np.stack([np.cos(query_angles), np.sin(query_angles)], axis=1)
keys = np.stack([np.cos(key_angles), np.sin(key_angles)], axis=1)


def arrows(axes, points, gradients, colors):
    """Each point's way downhill, the longest of a panel 0.6 long."""
    longest = max(np.linalg.norm(g, axis=-1).max() for g in gradients)
    for place, gradient, color in zip(points, gradients, colors, strict=True):
        step = -0.6 / longest * gradient
        axes.quiver(
            *place.T, *step.T, angles="xy", scale_units="xy", scale=1, color=color, width=0.009
        )


for axes, temperature in ((warm, 1.0), (cold, 0.1)):
    criterion = nn.InfoNCELoss(temperature)
    loss = criterion(queries, keys)
    dq, dk = criterion.backward()
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color=GRAY, lw=0.5))
    arrows(axes, (queries, keys), (dq, dk), (BLUE, ORANGE))
    axes.plot(*queries.T, "o", color=BLUE, label="queries")
    axes.plot(*keys.T, "s", color=ORANGE, label="keys")
    for i in range(3):
        axes.annotate(str(i + 1), 0.8 * queries[i], color=BLUE, ha="center", va="center")
        axes.annotate(str(i + 1), 0.8 * keys[i], color=ORANGE, ha="center", va="center")
    axes.set(title=f"InfoNCE, temperature {temperature:g}: loss {loss:.2f}")
    axes.legend(loc="center", fontsize=8)

places = np.array([[0.0, 0.0], [0.9, 0.5], [0.2, -0.8]])
criterion = nn.TripletLoss(margin=1.0)
loss = criterion(*places[:, None])
gradients = [g[0] for g in criterion.backward()]
arrows(triplet, places, gradients, (BLUE, GREEN, RED))
for name, color, place in zip(
    ("anchor", "positive", "negative"), (BLUE, GREEN, RED), places, strict=True
):
    triplet.plot(*place, "o", color=color, label=name)
triplet.set(title=f"Triplet, margin 1: loss {loss:.2f}")
triplet.legend(loc="lower right", fontsize=8)
for axes in (warm, cold, triplet):
    axes.set(aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xlabel="first axis")
warm.set(ylabel="second axis")
save(figure, __file__)
