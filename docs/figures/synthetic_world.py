"""The synthetic world: its classes, its two sets of textures, one clip with its truth."""

import numpy as np
from _figure import RED, plt, save

from video.synthetic import World, draw

# One size makes a neater page, and pictures without noise a far smaller file.
plain = {"sizes": ((96, 96),), "noise": (0.0, 0.0)}
world = World(**plain)
K = len(world.classes)
figure, axes = plt.subplots(4, K, figsize=(6.4, 3.9), layout="constrained")
figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)

for row, unseen in ((0, False), (1, True)):
    for k, name in enumerate(world.classes):
        frames = draw(seed=0, index=k, world=world, unseen=unseen).frames
        axes[row, k].imshow(frames[len(frames) // 2])
        if row == 0:
            axes[row, k].set_title(name, fontsize=8)

# One clip of the world whose classes are motions, where objects go farther.
motions = World(label="motion", diameter=(0.3, 0.4), wander=0.5, contrast=(0.3, 0.5), **plain)
clip = draw(seed=5, index=motions.classes.index("clockwise"), world=motions)
shown = np.linspace(0, len(clip.frames) - 1, K).round().astype(int)
for k, t in enumerate(shown):
    axes[2, k].imshow(clip.frames[t])
    axes[3, k].imshow(clip.masks[t], cmap="gray")
    rows, columns = clip.positions[: t + 1, 0].T
    axes[3, k].plot(columns, rows, color=RED, lw=1)
    axes[3, k].plot(columns[-1], rows[-1], "o", color=RED, ms=2.5)
    axes[3, k].set_xlabel(f"{t / clip.scene.fps:.2f} s", fontsize=7)

for axis, text in zip(axes[:, 0], ("training", "test", "a clip", "its mask"), strict=True):
    axis.set_ylabel(text, fontsize=8)
save(figure, __file__)
