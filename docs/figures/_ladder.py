"""Chapter 25 from a finished run of examples/motion_ladder.py: its table and its pictures.

    python docs/figures/_ladder.py runs/ladder-...       the table, and all pictures
    python docs/figures/ladder_attention.py runs/ladder-...       one picture

The pictures belong to the table, so they are drawn from the run that is named, and left as they are
if none is.
"""

import json
import runpy
import sys
import textwrap
from pathlib import Path

from video.tasks import ladder, ladder_report

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "25-the-ladder.md"
BEGIN = "<!-- From here to the end mark: python docs/figures/_ladder.py RUN -->\n"
END = "<!-- End of what the command writes. -->\n"
PICTURES = (
    "ladder_three_ways",
    "ladder_attention",
    "ladder_degree",
    "ladder_gradients",
    "ladder_accuracy",
)


def results_of(run):
    return json.loads((Path(run) / "ladder.json").read_text())


def words(settings, results):
    """What the table was measured on, as a paragraph, and the table."""
    H, W = settings.size
    seeds = ", ".join(map(str, settings.seeds))
    minutes = sum(result["seconds"] for result in results) / 60
    short = settings.seen < ladder.Settings.seen or len(settings.seeds) < 3
    warning = (
        "**From a short run, for the time being: it shows what the command prints, not how well "
        "the networks can do.** "
        if short
        else ""
    )
    clips = results[0].get("seen", settings.seen)
    seen = f"{clips:,} clips of {settings.frames} frames of {H}×{W} pixels"
    text = (
        f"{warning}Each network was shown {seen}, for each seed of first weights and order "
        f"({seeds}), and then named {results[0]['test_clips']} test clips; the clips were drawn "
        f"with seed {settings.drawn}. Accuracies in %, mean ± standard deviation over the seeds; "
        "minutes of training are for one seed, all together "
        f"{minutes:.0f}."
    )
    return f"{textwrap.fill(text, 100)}\n\n{ladder_report.table(results)}\n"


def fill(page, text):
    """The page with `text` between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def draw_from_run(function, script):
    """Draw the picture of `script` from the run named on the command line."""
    path = Path(script).with_suffix(".png")
    if len(sys.argv) < 2:
        print(
            f"{path.name}: left as it is; name a run of examples/motion_ladder.py to draw it from"
        )
        return
    run = Path(sys.argv[1])
    settings = ladder.Settings.load(run)
    _, test = ladder.open_folders(settings)
    if function(results_of(run), settings, run, test, path) is None:
        raise ValueError(f"{run}: has not trained the networks that {path.name} shows")
    print(path.name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/figures/_ladder.py RUN")
    run = Path(sys.argv[1])
    text = words(ladder.Settings.load(run), results_of(run))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(PAGE.name)
    for picture in PICTURES:
        runpy.run_path(str(HERE / f"{picture}.py"), run_name="__main__")
