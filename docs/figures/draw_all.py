"""Draw the figures of the course anew: all of them, or those that are named.

    python docs/figures/draw_all.py
    python docs/figures/draw_all.py schedules norm_axes
    python docs/figures/draw_all.py --run runs/ladder-...

`main_job` runs the whole of examples/classify.py first, which takes about three minutes.
`unet_masks` trains the two networks of chapter 17. Those of chapter 25 that show trained networks,
`ladder_attention` and the like, are drawn from the run of examples/motion_ladder.py that --run
names, and left as they are without it: it should be the run of the table that they stand beside.
"""

import argparse
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {p.stem: p for p in sorted(HERE.glob("[!_]*.py")) if p.stem != "draw_all"}


def chosen(arguments=None):
    """The names of the figures on the command line, all if there are none; and the run, or None."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help="a figure, such as schedules; all by default")
    parser.add_argument("--run", metavar="DIR", help="of examples/motion_ladder.py")
    options = parser.parse_args(arguments)
    for name in options.name:
        if name not in SCRIPTS:
            parser.error(f"no figure {name!r}; there are {', '.join(SCRIPTS)}")
    return options.name or list(SCRIPTS), options.run


if __name__ == "__main__":
    names, run = chosen()
    for name in names:
        script = str(SCRIPTS[name])
        told = [run] if run and name.startswith("ladder_") else []
        sys.argv = [script, *told]  # nothing else of what was said here is meant for the script
        runpy.run_path(script, run_name="__main__")
