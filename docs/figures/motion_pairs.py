"""One scene of each pair of the motion set: read from left to right it is the one class, from
right to left the other."""

import numpy as np
from _figure import plt, save

from video.synthetic import PAIRS, MotionWorld, draw
from video.tasks.ladder_pictures import strip

FRAMES, SEED = 6, 4

world = MotionWorld(frames=(17,))
figure, axes = plt.subplots(3, 2, figsize=(6.4, 2.3), layout="constrained")
for j, (axis, (forth, back)) in enumerate(zip(axes.T.ravel(), PAIRS, strict=True)):
    clip = draw(seed=SEED, index=2 * j, world=world)
    some = np.linspace(0, len(clip.frames) - 1, FRAMES).round().astype(int)
    axis.imshow(strip(clip.frames[some]))
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"→ {forth}", loc="left", fontsize=8)
    axis.set_title(f"{back} ←", loc="right", fontsize=8)
    axis.spines[:].set_visible(False)
save(figure, __file__)
