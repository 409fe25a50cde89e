"""What the ladder's runs come to: one table, one picture, and a look whether the clips leak."""

import json
import warnings
from pathlib import Path

import numpy as np

COLUMNS = (
    ("network", None),
    ("parameters", None),
    ("all classes", "accuracy"),
    ("within pairs", "pairs"),
    ("backwards: turned", "turned"),
    ("shuffled: all", "shuffled_accuracy"),
    ("shuffled: pairs", "shuffled_pairs"),
    ("minutes", None),
    ("clips/s", None),
)


def table(results, classes=12):
    """The results of all runs as a table in Markdown, a row for each network, mean ± sd in %."""
    rows = [[title for title, _ in COLUMNS]]
    for name, runs in by_network(results).items():
        percent = [spread(runs, key) for _, key in COLUMNS if key]
        minutes = np.mean([run["seconds"] for run in runs]) / 60
        speed = np.mean([run["clips_per_second"] for run in runs])
        rows.append(
            [name, f"{runs[0]['parameters']:,}", *percent, f"{minutes:.1f}", f"{speed:.0f}"]
        )
    chance = f"{100 / classes:.1f}"
    rows.append(["commonest class", "0", chance, "50.0", "0.0", chance, "50.0", "", ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def by_network(results):
    """{network: its runs}, in the order in which the networks first appear."""
    runs = {}
    for result in results:
        runs.setdefault(result["network"], []).append(result)
    return runs


def spread(runs, key):
    """Mean ± standard deviation over the seeds, in %; of one seed the value alone."""
    values = [100 * run[key] for run in runs]
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def leaks(results):
    """Networks that answer alike whatever the order of frames, and are not at chance in pairs.

    Such a network keeps its answer when a clip is played backwards. Within two standard errors,
    sqrt(1/4 / n) each for n answers, it must be right in half of the pairs; more would mean that
    the clips tell their direction by something else. Empty if all is well.
    """
    found = []
    for name, runs in by_network(results).items():
        answers = sum(run["test_clips"] for run in runs)
        away = abs(np.mean([run["pairs"] for run in runs]) - 0.5)
        if min(run["kept"] for run in runs) > 0.99 and away > 2 * np.sqrt(0.25 / answers):
            found.append(name)
    return found


def report(results, directory, classes=12):
    """Write `ladder.md`, `ladder.json` and `ladder.png`; returns the table."""
    directory = Path(directory)
    text = table(results, classes)
    (directory / "ladder.md").write_text(text + "\n", encoding="utf-8")
    (directory / "ladder.json").write_text(json.dumps(results, indent=1))
    draw(results, directory / "ladder.png", classes)
    for name in leaks(results):
        warnings.warn(
            f"{name} does not see the order of frames, yet is not at 50 % within pairs: "
            "the clips leak their direction",
            stacklevel=2,
        )
    return text


def draw(results, path, classes=12):
    """The table as a picture: a row for each network, a dot for each seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = by_network(results)
    figure = Figure(figsize=(9, 1.6 + 0.42 * len(networks)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    chances = 100 / classes, 50
    for axis, key, chance, title in zip(
        panels, ("accuracy", "pairs"), chances, ("all classes", "within pairs"), strict=True
    ):
        shown = (("shuffled", f"shuffled_{key}", "C1", "x"), ("as filmed", key, "C0", "o"))
        for label, quantity, colour, marker in shown:
            for row, runs in enumerate(networks.values()):
                values = [100 * run[quantity] for run in runs]
                axis.plot(np.mean(values), row, "|", color=colour, markersize=18)
                axis.plot(
                    values,
                    [row] * len(values),
                    marker,
                    color=colour,
                    alpha=0.6,
                    label=label if row == 0 else None,
                )
        axis.axvline(chance, color="gray", linestyle=":", label="chance")
        axis.set_xlim(-2, 102)
        axis.set_xlabel(f"accuracy, {title}, %")
        axis.grid(alpha=0.3)
    panels[0].set_yticks(range(len(networks)), list(networks))
    panels[0].invert_yaxis()
    panels[1].legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=110)
    return path
