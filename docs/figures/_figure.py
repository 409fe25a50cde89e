"""What the figures of the course have in common: their look, and where they are saved.

Each `NAME.py` in this folder draws `NAME.png` next to itself, from the library's own code:

    python docs/figures/NAME.py          one of them
    python docs/figures/draw_all.py      all
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files, no windows

import matplotlib.pyplot as plt

# Readable beside each other and for most colour-blind eyes (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
GRAY, PALE = "#666666", "#E8E8E8"

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY]),
        "legend.frameon": False,
    }
)


def save(figure, script):
    """Write the figure next to the script that drew it, without date or version inside."""
    path = Path(script).with_suffix(".png")
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    print(path.name)


def draw_grid(axes, values, fills, text=str, text_color="black"):
    """A table of cells: `values` (H, W) written in them, `fills` (H, W) colours behind them."""
    H, W = len(values), len(values[0])
    for i in range(H):
        for j in range(W):
            cell = plt.Rectangle((j, i), 1, 1, facecolor=fills[i][j], edgecolor="white", lw=1.5)
            axes.add_patch(cell)
            axes.text(
                j + 0.5, i + 0.5, text(values[i][j]), ha="center", va="center", color=text_color
            )
    axes.set(xlim=(0, W), ylim=(H, 0), aspect="equal", xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)
