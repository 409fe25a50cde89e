"""The tables of chapter 26: all networks with the defaults of examples/classify.py, and on folds.

    python docs/figures/_defaults.py                    trains each network
    python docs/figures/_defaults.py --seeds 0 1 2      three times each
    python docs/figures/_defaults.py --folds RUN...     trains nothing: from runs of `--folds K`

Each prints its table and writes it into the chapter, between its marks. What was trained is kept
in runs/default-NETWORK-seedN, and not trained again.
"""

import argparse
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

from video.tasks import ladder

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "26-naming-clips.md"
BEGIN = "<!-- From here to the end mark: python docs/figures/_defaults.py{} -->\n"
END = "<!-- End of what the command writes. -->\n"
FOLDS = " --folds RUN..."


def trained(name, seed, runs=Path("runs")):
    """The metrics of one network with the defaults of examples/classify.py."""
    out = runs / f"default-{name.replace(':', '-').replace('=', '-')}-seed{seed}"
    if not (out / "metrics.json").exists():
        how = ["--model", name, "--no-baseline", "--seed", str(seed), "--out", str(out)]
        if (out / "settings.json").exists():
            how = ["--resume", str(out)]
        subprocess.run([sys.executable, ROOT / "examples" / "classify.py", *how], check=True)
    return json.loads((out / "metrics.json").read_text())


def of_defaults(runs):
    """{network: the metrics of its seeds} as words and a table."""
    first = next(iter(runs.values()))
    seeds = "seed" + "s" * (len(first) > 1)
    seeds += " " + ", ".join(str(metrics["settings"]["seed"]) for metrics in first)
    said = (
        f"`python examples/classify.py --model NAME`, {seeds}: right answers to "
        f"{first[0]['test_clips']} test clips, in %, a number for each seed; seconds of training, "
        f"mean. The commonest class has {100 * first[0]['commonest_class']:.0f} %."
    )
    rows = [["network", "parameters", "right answers", "seconds"]]
    for name, metrics in runs.items():
        answers = ", ".join(f"{100 * m['accuracy']:.0f}" for m in metrics)
        seconds = np.mean([m["seconds"] for m in metrics])
        rows.append([f"`{name}`", f"{metrics[0]['parameters']:,}", answers, f"{seconds:.0f}"])
    return f"{textwrap.fill(said, 100)}\n\n{table(rows)}\n"


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


def fill(page, mark, text):
    """The page with `text` between the marks of one table; `mark` ends the command of the first."""
    before, rest = page.split(BEGIN.format(mark))
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN.format(mark)}\n{text}\n{END}{after}"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folds", nargs="+", type=Path, metavar="RUN")
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    if options.folds:
        runs = [json.loads((run / "metrics.json").read_text()) for run in options.folds]
        mark, text = FOLDS, of_folds(runs)
    else:
        names = ladder.networks()
        mark = ""
        text = of_defaults(
            {name: [trained(name, seed) for seed in options.seeds] for name in names}
        )
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), mark, text), encoding="utf-8")
    print(text)
