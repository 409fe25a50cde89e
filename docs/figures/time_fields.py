"""A moving thing cut along time, and which frames the features of Conv3dNet see."""

import numpy as np
from _figure import BLUE, GREEN, ORANGE, PURPLE, plt, save

import nn
from video.models import Conv3dNet

FRAMES, SIZE, DRAWS = 33, 8, 20


def bar(step, frames=16, width=24):
    """A bright bar that moves by `step` columns a frame: (time, column)."""
    picture = np.zeros((frames, width))
    for t in range(frames):
        picture[t, (np.arange(3) + 11 + round(step * (t - frames / 2))) % width] = 1
    return picture


def weight_of_frames(convolutions):
    """|dx| per frame of the middle feature, the mean over first weights."""
    total = np.zeros(FRAMES)
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        channels = (1,) + (8,) * convolutions
        model = Conv3dNet(2, (16, 16), FRAMES, channels, rng=rng).eval()
        y = model.features(rng.standard_normal((1, FRAMES, 16, 16, 1)).astype(np.float32))
        dy = np.zeros_like(y)
        dy[:, y.shape[1] // 2] = rng.standard_normal(dy[:, 0].shape)
        total += np.abs(model.features.backward(dy)).sum(axis=(0, 2, 3, 4))
    return total / total.max()


with nn.kernels.using("reference"):
    curves = {n: weight_of_frames(n) for n in (1, 2, 3, 4)}

layout = [["still", "right", "left", "curves"]]
figure, axes = plt.subplot_mosaic(
    layout, figsize=(10.5, 2.9), layout="constrained", width_ratios=[1, 1, 1, 2.2]
)
for name, step in (("still", 0), ("right", 0.7), ("left", -0.7)):
    axes[name].imshow(bar(step), cmap="gray", aspect="auto")
    axes[name].set(title=name, xlabel="column", xticks=[0, 10, 20], yticks=[0, 5, 10, 15])
axes["still"].set_ylabel("time (frames)")
middle = np.arange(FRAMES) - FRAMES // 2
for (n, curve), color in zip(curves.items(), (BLUE, ORANGE, GREEN, PURPLE), strict=True):
    seen = np.flatnonzero(curve)
    assert len(seen) == 1 + 2**n
    label = f"{n} convolution{'s' * (n > 1)}: {len(seen)} frames"
    axes["curves"].plot(middle[seen], curve[seen], "o-", ms=3, color=color, label=label)
axes["curves"].set(
    xlabel="frame, counted from the middle", ylabel="|dx|, largest = 1", ylim=(0, 1.05)
)
axes["curves"].legend(loc="upper left", fontsize=8)
axes["curves"].set_xlim(-27, 9)
save(figure, __file__)
