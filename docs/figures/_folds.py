"""The table of chapter 26, all networks on the same folds, from what `--folds K` left.

    python docs/figures/_folds.py RUN...     one RUN of examples/classify.py for each network

Prints the table and writes it into the chapter, between its marks. Nothing is trained.
"""

import argparse
import json
import textwrap
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "26-naming-clips.md"
BEGIN = "<!-- From here to the end mark: python docs/figures/_folds.py RUN... -->\n"
END = "<!-- End of what the command writes. -->\n"


def of_folds(runs):
    """The metrics of runs of `--folds K`, one for each network, as words and a table."""
    first = runs[0]["folds"]
    clips = sum(len(fold["labels"]) for fold in first)
    said = (
        f"{len(first)} folds of {clips} clips of {len(runs[0]['classes'])} classes, recordings "
        "whole: right answers in %, mean ± standard deviation over the folds, and pooled over all "
        "clips; minutes of training, all folds together. The commonest class has "
        f"{100 * runs[0]['commonest_class']:.1f} %."
    )
    rows = [["network", "parameters", "right answers", "pooled", "minutes"]]
    for metrics in runs:
        mean, deviation = (100 * metrics[key] for key in ("mean", "sd"))
        rows.append(
            [
                f"`{metrics['model']}`",
                f"{metrics['folds'][0]['parameters']:,}",
                f"{mean:.1f} ± {deviation:.1f}",
                f"{100 * metrics['pooled']:.1f}",
                f"{metrics['seconds'] / 60:.1f}",
            ]
        )
    return f"{textwrap.fill(said, 100)}\n\n{table(rows)}\n"


def table(rows):
    """Rows, the first of them titles, in Markdown."""
    titles, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([titles, f"|---|{'---:|' * (len(rows[0]) - 1)}", *others])


def fill(page, text):
    """The page with `text` between the marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    runs = [json.loads((run / "metrics.json").read_text()) for run in parser.parse_args().runs]
    text = of_folds(runs)
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(text)
