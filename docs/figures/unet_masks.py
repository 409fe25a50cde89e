"""Pictures and masks of the chapter on networks: the truth, a U-Net without skips, and with.

The networks are those of the chapter: its code is run, as it stands on the page.
"""

import re
from pathlib import Path

import numpy as np
from _figure import GRAY, ORANGE, SKY, plt, save

import nn

PAGE = Path(nn.__file__).resolve().parents[1] / "docs" / "17-write-your-own-network.md"
SHOWN = (1, 4, 7, 9)

chapter = {"__name__": "chapter"}
for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
    exec(block, chapter)

test_x, masks = chapter["test_x"], chapter["test_masks"]
rows = {
    "picture": None,
    "truth": masks,
    "bright is disc": chapter["bright"],
    "without skips": chapter["blurred"],
    "with skips": chapter["predicted"],
}
colors = np.array([plt.matplotlib.colors.to_rgb(c) for c in ("#F4F4F4", ORANGE, SKY)])

figure, axes = plt.subplots(len(SHOWN), len(rows), figsize=(7.5, 6), layout="constrained")
for line, n in zip(axes, SHOWN, strict=True):
    for axis, ids in zip(line, rows.values(), strict=True):
        if ids is None:
            axis.imshow(test_x[n, :, :, 0], cmap="gray")
        else:
            axis.imshow(colors[ids[n]])
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set(visible=True, color=GRAY, lw=0.5)
for axis, (name, ids) in zip(axes[0], rows.items(), strict=True):
    if ids is None or ids is masks:
        axis.set_title(name, fontsize=8)
    else:
        _, rings, discs = chapter["overlap"](ids, masks)
        axis.set_title(f"{name}\nrings {rings:.2f}, discs {discs:.2f}", fontsize=8)
save(figure, __file__)
