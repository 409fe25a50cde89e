"""Train a network on real video files and see how well it names unseen clips.

With no arguments it draws its own folder of mp4 clips, whose classes differ in shape and in
direction, trains a network of clips and, beside it, the article's network of single frames, and
leaves a report with pictures in runs/. With --data it does the same on clips of your own:

    python examples/classify.py --data DIR          DIR/train/CLASS/* and DIR/test/CLASS/*
    python examples/classify.py --data DIR          DIR/CLASS/*, split three to one
    python examples/classify.py --data DIR --folds 5 --group '^\\d+_\\d+'
                                                    cross-validation, recording by recording
    python examples/classify.py --data DIR --weights runs/.../model.npz --freeze
                                                    the last layer of a trained network anew

Ctrl-C saves; `--resume` goes on from there as if never interrupted.
"""

import argparse
import shlex
import sys
import warnings
from pathlib import Path

import video
from video.models.storage import MODELS
from video.tasks import classification, classification_report, command_line, folds, recipe
from video.tasks.command_line import network, whole, whole_or_none

DEFAULTS = recipe.Settings(data="")
ARTICLE_SIZE = (64, 64)


def between(least, most, words):
    """A type for argparse: a number from `least` to `most`."""

    def number(text):
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {words}, got {text!r}")
        return value

    return number


rate = between(1e-12, 1e12, "a number above 0")
share = between(0.0, 0.99, "a share from 0 to 0.99")


def pair(text):
    """Two class names, left=right, for argparse."""
    one, equals, other = text.partition("=")
    if not (one and equals and other):
        raise argparse.ArgumentTypeError(f"expected two class names as left=right, got {text!r}")
    return one, other


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument_group("clips").add_argument
    add("--data", metavar="DIR", help="your clips (default: draw a folder of synthetic ones)")
    add(
        "--group",
        metavar="REGEX",
        help="divide DIR/CLASS/* so that what REGEX matches in the "
        "file names (the recording, say) stays together",
    )
    add(
        "--folds",
        type=lambda text: whole(text, least=2),
        metavar="K",
        help="K-fold cross-validation instead of one split; needs --group, and trains no baseline "
        "(--model FrameCNN does)",
    )
    add(
        "--frames",
        type=whole,
        default=DEFAULTS.frames,
        help="evenly spaced frames a clip is judged by (%(default)s)",
    )
    add(
        "--size",
        type=whole,
        nargs="+",
        metavar="PIXELS",
        help=f"height and width of the frames, or one number for both ({DEFAULTS.size[0]}; the "
        f"article's {ARTICLE_SIZE[0]})",
    )
    add("--clips", type=whole, default=30, help="synthetic training clips per class (%(default)s)")
    add("--skip-bad", action="store_true", help="leave out clips that cannot be read, and say so")

    add = parser.add_argument_group("network").add_argument
    add(
        "--model",
        type=network,
        metavar="NAME",
        help=f"one of {', '.join(MODELS)}; with options if it has some, as CNNRNN:cell=gru "
        f"({DEFAULTS.model})",
    )
    add(
        "--no-baseline",
        action="store_true",
        help=f"do not train {recipe.BASELINE}, which sees single frames, beside it",
    )
    add(
        "--no-differences",
        action="store_true",
        help="do not give the network each frame's difference to the one before as channels",
    )
    add(
        "--weights",
        metavar="FILE",
        help="start from a model.npz that this script saved; network, size and frames are the "
        "file's; the last layer starts anew if the classes differ",
    )
    add(
        "--freeze",
        action="store_true",
        help="with --weights: train the last layer only; the others stay as they are, the running "
        "averages of batch norm too, and cost no backward pass",
    )

    add = parser.add_argument_group("training").add_argument
    add(
        "--recipe",
        choices=["default", "article"],
        default="default",
        help=f"article: {recipe.BASELINE}, SGD 0.001, momentum 0.9, 10 epochs, frames only scaled, "
        "no augmentation",
    )
    add(
        "--epochs",
        type=whole,
        help=f"visits to each training clip (as many as make {recipe.VISITS} visits in all, "
        f"{recipe.FRAME_VISITS} of a network of single frames)",
    )
    add(
        "--batch-size",
        type=whole,
        help=f"clips in a step ({recipe.BATCH}; {recipe.FRAME_BATCH} of single frames)",
    )
    add("--lr", type=rate, help="learning rate, at its peak (what suits the network)")
    add(
        "--smoothing",
        type=share,
        default=DEFAULTS.smoothing,
        help="share of each label that is spread over all classes (%(default)s)",
    )
    add("--seed", type=whole_or_none, default=0, help="(%(default)s)")
    add(
        "--workers",
        type=whole_or_none,
        default=DEFAULTS.workers,
        help="threads that decode ahead (%(default)s)",
    )

    add = parser.add_argument_group(
        "augmentation", "training clips are varied at random; one draw serves a whole clip"
    ).add_argument
    add(
        "--crop",
        type=between(0.05, 1.0, "a share from 0.05 to 1"),
        default=DEFAULTS.crop,
        help="least share of the picture's area that is cut out and scaled up; 1 is all of it "
        "(%(default)s)",
    )
    add(
        "--flip-swap",
        type=pair,
        nargs="+",
        default=[],
        metavar="A=B",
        help="classes that change places in a mirror, beside those found by their names (left and "
        "right, clockwise and anticlockwise); A=A: the name may stay",
    )
    add("--no-flip", action="store_true", help="never mirror clips")
    add(
        "--colour",
        type=share,
        default=DEFAULTS.colour,
        help="how far brightness, contrast and saturation go; 0 is off (%(default)s)",
    )
    add(
        "--erase",
        type=between(0, 1, "a chance from 0 to 1"),
        default=DEFAULTS.erase,
        help="chance of a covered rectangle (%(default)s)",
    )
    add(
        "--jitter",
        type=share,
        default=DEFAULTS.jitter,
        help="largest share of a clip's time that is cut away (%(default)s)",
    )
    add(
        "--mixup",
        type=between(0, 10, "a number from 0 to 10"),
        default=DEFAULTS.mixup,
        help="alpha of MixUp, which lays clips over one another; 0 is off (%(default)s)",
    )
    add(
        "--views",
        type=whole,
        default=DEFAULTS.views,
        help="times at which each test clip is looked at, and mirrored too where that is allowed; "
        "the answers are averaged (%(default)s)",
    )

    add = parser.add_argument_group("runs").add_argument
    command_line.add_places(add, "classify")
    options = parser.parse_args()
    refuse(parser, options)
    return options


NETWORKS_OWN = ("--model", "--size", "--frames", "--recipe", "--no-differences")


def refuse(parser, options):
    """Exit with a line about options that do not go together."""
    if options.size and (len(options.size) > 2 or min(options.size) < 4):
        parser.error("--size: one or two numbers of at least 4 pixels")
    told = command_line.told(parser, options)
    if options.folds and not (options.data and options.group):
        parser.error(
            "--folds: needs --data, and --group REGEX: what in a file name tells the recording "
            "('.*' if each clip stands alone)"
        )
    extra = [option for option in told if option in NETWORKS_OWN]
    if options.weights and extra:
        parser.error(f"--weights brings its own network; leave out {', '.join(extra)}")
    if options.freeze and not options.weights:
        parser.error("--freeze: needs --weights FILE, a trained network to freeze")


def settings_and_directory(options):
    """What to run and where to write, from the command line or from the run to be resumed."""
    directory = command_line.resumed(options, "classify")
    if directory is not None:
        return recipe.Settings.load(directory), directory
    directory = command_line.new(options, "classify")
    article = options.recipe == "article"
    usual = recipe.BASELINE if article else DEFAULTS.model
    size = options.size or (ARTICLE_SIZE if article else DEFAULTS.size)
    copied = "group folds recipe epochs frames batch_size lr crop colour erase jitter mixup"
    copied += " smoothing views freeze seed workers skip_bad"
    settings = recipe.Settings(
        data="",
        model=options.model or usual,
        baseline=not options.no_baseline,
        size=(size[0], size[-1]),  # one number stands for both
        differences=not options.no_differences,
        flip=not options.no_flip,
        swap=dict(options.flip_swap),
        **{name: getattr(options, name) for name in copied.split()},
    )
    if options.weights:
        settings.weights = str(Path(options.weights).resolve())
        settings = classification.from_weights(settings)
    if settings.sees_single_frames or settings.folds:
        settings.baseline = False
    data = options.data or synthetic_folder(directory.parent, options.clips, options.seed)
    settings.data = str(Path(data).resolve())
    return settings, directory


def synthetic_folder(parent, clips, seed):
    """Draw the default folder, `clips` to train on and a third as many to test in each class."""
    root = parent / f"synthetic-{clips}-seed{seed}"
    world = video.synthetic.ShapeMotionWorld()
    return video.synthetic.write_folder(
        root, train=clips, test=max(1, clips // 3), seed=seed, world=world
    )


def main(options):
    settings, directory = settings_and_directory(options)
    work = cross_validate if settings.folds else train_and_test
    try:
        work(settings, directory, cache=directory.parent / "cache")
    except KeyboardInterrupt:
        if (directory / "settings.json").exists():
            print(f"Go on with: python examples/classify.py --resume {shlex.quote(str(directory))}")
        raise


def train_and_test(settings, directory, cache):
    """One network, and the baseline beside it, on one division into training and test clips."""
    train, test = classification.open_folders(settings, cache)
    print(
        f"{len(train)} training and {len(test)} test clips of {len(train.classes)} classes: "
        f"{', '.join(train.classes)}"
    )
    classification.rehearse(settings, train.classes)
    settings.save(directory)  # not before: what cannot start leaves nothing behind
    print("val is a quick look at few frames or clips of the test set; nothing is chosen by it.")
    outcome = classification.run(train, test, settings, directory)
    baseline = None
    if settings.baseline:
        print(f"Beside it, for comparison, {recipe.BASELINE}, which sees single frames:")
        beside = settings.for_baseline()
        baseline = classification.run(train, test, beside, directory / "baseline")
    print("Drawing the report …")
    metrics = classification_report.report(directory, train, test, outcome, baseline)
    print(f"Left in {directory}: {', '.join(metrics['files'].values())}, model.npz, metrics.json")
    if baseline is not None:
        print(f"{recipe.BASELINE}, single frames: {100 * baseline.accuracy:.0f} %")
    print(f"Always answering the commonest class: {100 * metrics['commonest_class']:.0f} %")
    print(f"Accuracy: {100 * metrics['accuracy']:.0f} %")


def cross_validate(settings, directory, cache):
    """One network on K folds."""
    divided = folds.open_folds(settings, cache)
    classes = divided[0][0].classes
    print(f"{sum(len(test) for _, test in divided)} clips of {', '.join(classes)}")
    classification.rehearse(settings, classes)
    settings.save(directory)
    results = folds.cross_validate(divided, settings, directory)
    metrics = folds.report(directory, results, classes, settings)
    print(f"Left in {directory}: confusion.png, metrics.json, the weights of each fold")
    print(f"{settings.model}, pooled over all clips: {100 * metrics['pooled']:.1f} %")
    print(f"Always answering the commonest class: {100 * metrics['commonest_class']:.1f} %")
    print(
        f"Accuracy: {100 * metrics['mean']:.1f} ± {100 * metrics['sd']:.1f} % "
        f"(mean ± standard deviation over {len(results)} folds)"
    )


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    warnings.filterwarnings("once", message="clips are not mirrored")
    try:
        main(arguments())
    except KeyboardInterrupt:
        print("Stopped.")
        sys.exit(130)
    except (OSError, ValueError, FloatingPointError, video.VideoError) as error:
        sys.exit(f"error: {error}".replace('on_error="skip"', "--skip-bad"))
