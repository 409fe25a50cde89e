"""Train the article's network on real video files and see how well it names unseen clips.

With no arguments it draws its own folder of mp4 clips, trains for some two minutes and leaves
a report with pictures in runs/. With --data it does the same on clips of your own:

    python examples/classify.py --data DIR          DIR/train/CLASS/* and DIR/test/CLASS/*
    python examples/classify.py --data DIR          DIR/CLASS/*, split three to one

Ctrl-C saves; `--resume` goes on from there as if never interrupted.
"""

import argparse
import shlex
import sys
import time
import warnings
from pathlib import Path

import video
from video import models
from video.tasks import classification


def whole(text, least=1):
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)


def whole_or_none(text):
    """A whole number of at least 0, for argparse."""
    return whole(text, least=0)


def rate(text):
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def arguments():
    defaults = classification.Settings(data="")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", metavar="DIR", help="your clips (default: draw a folder of synthetic ones)")
    add(
        "--group",
        metavar="REGEX",
        help="split DIR/CLASS/* so that what REGEX matches in the "
        "file names (the recording, say) stays together",
    )
    add(
        "--recipe",
        choices=["default", "article"],
        default="default",
        help="article: SGD 0.001, momentum 0.9, 10 epochs, frames only scaled",
    )
    steps = classification.STEPS
    add(
        "--epochs", type=whole, help=f"visits to each training clip (as many as {steps} steps take)"
    )
    add(
        "--frames",
        type=whole,
        default=defaults.frames,
        help="evenly spaced frames a test clip is judged by (%(default)s)",
    )
    add(
        "--size",
        type=whole,
        nargs="+",
        default=defaults.size,
        metavar="PIXELS",
        help="height and width of the frames, or one number for both (64)",
    )
    add("--batch-size", type=whole, default=defaults.batch_size, help="(%(default)s)")
    add("--lr", type=rate, default=defaults.lr, help="learning rate, at its peak (%(default)s)")
    add("--seed", type=whole_or_none, default=0, help="(%(default)s)")
    add(
        "--workers",
        type=whole_or_none,
        default=defaults.workers,
        help="threads that decode ahead (%(default)s)",
    )
    add("--clips", type=whole, default=30, help="synthetic training clips per class (%(default)s)")
    add("--out", type=Path, metavar="DIR", help="where to write (default: runs/classify-TIME)")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="go on with the run in DIR, in --out, or with the latest in runs/",
    )
    add("--skip-bad", action="store_true", help="leave out clips that cannot be read, and say so")
    options = parser.parse_args()
    if len(options.size) > 2 or min(options.size) < 4:
        parser.error("--size: one or two numbers of at least 4 pixels")
    if options.resume is not None:
        given = [name for name, value in vars(options).items() if value != parser.get_default(name)]
        extra = [f"--{name.replace('_', '-')}" for name in given if name not in ("resume", "out")]
        if extra:
            parser.error(f"--resume takes its settings from the run; leave out {', '.join(extra)}")
    return options


def settings_and_directory(options):
    """What to run and where to write, from the command line or from the run to be resumed."""
    if options.resume is not None:
        directory = Path(options.resume or options.out or latest_run())
        return classification.Settings.load(directory), directory
    directory = options.out or Path("runs") / time.strftime("classify-%Y%m%d-%H%M%S")
    if (directory / "settings.json").exists():
        raise FileExistsError(f"{directory}: holds a run; --resume it, or name another --out")
    data = options.data or synthetic_folder(directory.parent, options.clips, options.seed)
    height, width = options.size if len(options.size) == 2 else list(options.size) * 2
    settings = classification.Settings(
        data=str(Path(data).resolve()),
        group=options.group,
        recipe=options.recipe,
        epochs=options.epochs,
        frames=options.frames,
        size=(height, width),
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        workers=options.workers,
        skip_bad=options.skip_bad,
    )
    return settings, directory


def synthetic_folder(parent, clips, seed):
    """Draw the default folder, `clips` to train on and a third as many to test in each class."""
    root = parent / f"synthetic-shapes-{clips}-seed{seed}"
    return video.synthetic.write_folder(root, train=clips, test=max(1, clips // 3), seed=seed)


def latest_run():
    runs = sorted(Path("runs").glob("classify-*/last.npz"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise FileNotFoundError("runs/: nothing to resume here; name the run: --resume DIR")
    return runs[-1].parent


def main(options):
    settings, directory = settings_and_directory(options)
    train, test = classification.open_folders(settings, cache=directory.parent / "cache")
    settings.settle(len(train))
    train_loader, glimpses, test_loader = classification.loaders(train, test, settings)
    print(
        f"{len(train)} training and {len(test)} test clips of {len(train.classes)} classes: "
        f"{', '.join(train.classes)}"
    )

    model = models.FrameCNN(len(train.classes), settings.size, settings.frames, rng=settings.seed)
    steps = settings.epochs * len(train_loader)
    trainer = classification.new_trainer(model, steps, settings, directory)
    if options.resume is None:
        settings.save(directory)  # not before: what cannot start leaves nothing behind
        print(model)
    else:
        trainer.resume()
        done = len(trainer.history)
        print(f"Going on with {directory} after {done} of {settings.epochs} epochs.")
    print("val is a quick look at few frames of each test clip; nothing is chosen by it.")
    try:
        trainer.fit(train_loader, glimpses, epochs=settings.epochs, monitor=False)
    except KeyboardInterrupt:
        print(f"Go on with: python examples/classify.py --resume {shlex.quote(str(directory))}")
        raise

    classification.save_model(model, directory, train, settings)
    probabilities, labels = classification.judge(model, test_loader)
    metrics = classification.report(
        directory, model, train, test, probabilities, labels, trainer.history, settings
    )
    print(f"Left in {directory}: {', '.join(metrics['files'].values())}, model.npz, metrics.json")
    print(f"Always answering the commonest class: {100 * metrics['commonest_class']:.0f} %")
    print(f"Accuracy: {100 * metrics['accuracy']:.0f} %")


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        main(arguments())
    except KeyboardInterrupt:
        print("Stopped.")
        sys.exit(130)
    except (OSError, ValueError, FloatingPointError, video.VideoError) as error:
        sys.exit(f"error: {error}".replace('on_error="skip"', "--skip-bad"))
