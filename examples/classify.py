"""Train the article's network on real video files and see how well it names unseen clips.

With no arguments it draws its own folder of mp4 clips, trains for about a minute and leaves a
report with pictures in runs/. With --data it does the same on clips of your own:

    python examples/classify.py --data DIR          DIR/train/CLASS/* and DIR/test/CLASS/*
    python examples/classify.py --data DIR          DIR/CLASS/*, split three to one

Ctrl-C saves; `--resume` goes on from there as if never interrupted.
"""

import argparse
import sys
import time
from pathlib import Path

import video
from video import models
from video.tasks import classification


def whole(text):
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


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
    add("--seed", type=int, default=0, help="(%(default)s)")
    add(
        "--workers",
        type=int,
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
    options = parser.parse_args()
    if len(options.size) > 2:
        parser.error(f"--size: one or two numbers, got {len(options.size)}")
    return options


def settings_and_directory(options):
    """What to run and where to write, from the command line or from the run to be resumed."""
    if options.resume is not None:
        directory = Path(options.resume or options.out or latest_run())
        return classification.Settings.load(directory), directory
    directory = options.out or Path("runs") / time.strftime("classify-%Y%m%d-%H%M%S")
    size = options.size if len(options.size) == 2 else list(options.size) * 2
    settings = classification.Settings(
        data=options.data or str(synthetic_folder(directory.parent, options.clips, options.seed)),
        group=options.group,
        recipe=options.recipe,
        epochs=options.epochs,
        frames=options.frames,
        size=tuple(size),
        batch_size=options.batch_size,
        lr=options.lr,
        seed=options.seed,
        workers=options.workers,
    )
    return settings, directory


def synthetic_folder(parent, clips, seed):
    """Draw the default folder, `clips` to train on and a third as many to test in each class."""
    root = parent / f"synthetic-shapes-{clips}-seed{seed}"
    return video.synthetic.write_folder(root, train=clips, test=max(1, clips // 3), seed=seed)


def latest_run():
    runs = sorted(Path("runs").glob("classify-*/settings.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise FileNotFoundError("runs/: no run to resume; name one: --resume DIR")
    return runs[-1].parent


def main():
    options = arguments()
    settings, directory = settings_and_directory(options)
    train, test = classification.open_folders(settings, cache=directory.parent / "cache")
    settings.settle(len(train))
    settings.save(directory)
    print(
        f"{len(train)} training and {len(test)} test clips of {len(train.classes)} classes: "
        f"{', '.join(train.classes)}"
    )
    for clips in (train, test):
        clips.check()  # decodes every clip once, ahead; a bad file is named before training
    train_loader, glimpses, test_loader = classification.loaders(train, test, settings)

    model = models.FrameCNN(len(train.classes), settings.size, settings.frames, rng=settings.seed)
    print(model)
    steps = settings.epochs * len(train_loader)
    trainer = classification.new_trainer(model, steps, settings, directory)
    if options.resume is not None:
        trainer.resume()
    trainer.fit(train_loader, glimpses, epochs=settings.epochs, monitor=False)

    classification.save_model(model, directory, train, settings)
    probabilities, labels = classification.judge(model, test_loader)
    metrics = classification.report(
        directory, model, train, test, probabilities, labels, trainer.history, settings
    )
    print(f"Left in {directory}: {', '.join(metrics['files'].values())}, model.npz, metrics.json")
    print(f"Always answering the commonest class: {100 * metrics['commonest_class']:.0f} %")
    print(f"Accuracy: {100 * metrics['accuracy']:.0f} %")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Stopped. Go on with: python examples/classify.py --resume")
        sys.exit(130)
    except (OSError, ValueError, FloatingPointError, video.VideoError) as error:
        sys.exit(f"error: {error}")
