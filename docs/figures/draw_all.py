"""Draw the figures of the course anew: all of them, or those that are named.

    python docs/figures/draw_all.py
    python docs/figures/draw_all.py schedules norm_axes

`main_job` runs the whole of examples/classify.py first, which takes about three minutes.
`unet_masks` trains the two networks of chapter 17. Those of chapter 25 that show trained networks,
`ladder_attention` and the like, take the latest run of examples/motion_ladder.py in runs/, and are
left as they are if there is none.
"""

import argparse
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {p.stem: p for p in sorted(HERE.glob("[!_]*.py")) if p.stem != "draw_all"}


def chosen(arguments=None):
    """The names of the figures on the command line; all if there are none."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help="a figure, such as schedules; all by default")
    names = parser.parse_args(arguments).name
    for name in names:
        if name not in SCRIPTS:
            parser.error(f"no figure {name!r}; there are {', '.join(SCRIPTS)}")
    return names or list(SCRIPTS)


if __name__ == "__main__":
    for name in chosen():
        script = str(SCRIPTS[name])
        sys.argv = [script]  # what was said here is not meant for the script
        runpy.run_path(script, run_name="__main__")
