"""Accuracy of each rung of the motion ladder, as filmed and shuffled: chapter 25's table, drawn.

Nothing is measured here: `examples/motion_ladder.py` measures, and prints that table.
"""

import re
from pathlib import Path

from _figure import BLUE, GRAY, ORANGE, plt, save

import video

page = Path(video.__file__).parents[1] / "docs" / "25-the-ladder.md"
lines = re.findall(r"^\| (.*) \|$", page.read_text(encoding="utf-8"), re.M)
table = [[cell.strip() for cell in line.split(" | ")] for line in lines]
titles = next(row for row in table if row[:2] == ["network", "parameters"])
rows = table[table.index(titles) + 2 :]
rows = rows[: 1 + [row[0] for row in rows].index("commonest class")]
rows = [dict(zip(titles, row, strict=True)) for row in rows]


def mean_and_deviation(cell):
    mean, _, deviation = cell.partition(" ± ")
    return float(mean), float(deviation or 0)


figure, panels = plt.subplots(1, 2, figsize=(9.5, 0.9 + 0.33 * len(rows)), sharey=True)
columns = (("all classes", "shuffled: all"), ("within pairs", "shuffled: pairs"))
for axes, (filmed, shuffled) in zip(panels, columns, strict=True):
    for title, color, shift, label in (
        (filmed, BLUE, -0.19, "as filmed"),
        (shuffled, ORANGE, 0.19, "frames shuffled"),
    ):
        means, deviations = zip(*(mean_and_deviation(row[title]) for row in rows), strict=True)
        places = [i + shift for i in range(len(rows))]
        axes.barh(places, means, 0.36, xerr=deviations, color=color, label=label)
    chance = mean_and_deviation(rows[-1][filmed])[0]
    axes.axvline(chance, color=GRAY, ls=":", lw=1)
    axes.set(xlim=(0, 100), xlabel=f"accuracy, {filmed}, %")
panels[0].set_yticks(range(len(rows)), [row["network"] for row in rows])
panels[0].invert_yaxis()
panels[0].legend(fontsize=8, loc="lower right")
figure.tight_layout()
save(figure, __file__)
