"""What the command lines of `examples/` share: types of arguments, and the folder of a run."""

import argparse
import time
from pathlib import Path

from video.models.storage import MODELS

# ---- types for argparse -----------------------------------------------------------------


def whole(text, least=1):
    """A whole number of at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)


def whole_or_none(text):
    """A whole number of at least 0: a seed, or how many threads."""
    return whole(text, least=0)


def network(text):
    """A network's name, with options or without."""
    if text.partition(":")[0] not in MODELS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(MODELS)}")
    return text


# ---- runs -------------------------------------------------------------------------------


def add_places(add, kind):
    """The options --out and --resume; `add` is the `add_argument` of a parser or of a group."""
    add("--out", type=Path, metavar="DIR", help=f"where to write (default: runs/{kind}-TIME)")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="go on with the run in DIR, in --out, or with the latest in runs/",
    )


def told(parser, options):
    """The options that were given on the command line, as they are written there.

    Exits with a line if there are others beside --resume: a run brings its own settings.
    """
    given = [name for name, value in vars(options).items() if value != parser.get_default(name)]
    given = [f"--{name.replace('_', '-')}" for name in given]
    extra = [option for option in given if option not in ("--resume", "--out")]
    if options.resume is not None and extra:
        parser.error(f"--resume takes its settings from the run; leave out {', '.join(extra)}")
    return given


def resumed(options, kind):
    """The folder of the run to go on with; None if a new one is to begin."""
    if options.resume is None:
        return None
    return Path(options.resume or options.out or latest(kind))


def latest(kind):
    """The folder in runs/ whose settings were written last."""
    runs = sorted(Path("runs").glob(f"{kind}-*/settings.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise FileNotFoundError("runs/: nothing to resume here; name the run: --resume DIR")
    return runs[-1].parent


def new(options, kind):
    """The folder of a new run."""
    directory = options.out or Path("runs") / time.strftime(f"{kind}-%Y%m%d-%H%M%S")
    if (directory / "settings.json").exists():
        raise FileExistsError(f"{directory}: holds a run; --resume it, or name another --out")
    return directory
