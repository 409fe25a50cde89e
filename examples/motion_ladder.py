"""Which networks see time? Train each on clips whose frames, one by one, say nothing.

With no arguments it draws a folder of mp4 clips, twelve classes in pairs of which one is the
other played backwards, trains every network on them with three seeds, and leaves in runs/ a table
(ladder.md, ladder.json, ladder.png), pictures of what the networks answer and look at, and the
weights of each:

    python examples/motion_ladder.py                            all of it
    python examples/motion_ladder.py --quick                    in small, within 3 minutes
    python examples/motion_ladder.py --models FrameCNN Conv3dNet --seeds 0 1

Ctrl-C saves; `--resume` goes on from there as if never interrupted.
"""

import argparse
import shlex
import sys
import warnings

import video
from video.tasks import command_line, ladder, ladder_pictures, ladder_report
from video.tasks.command_line import network, whole, whole_or_none

# The quick form may be looked at as often as one likes. The clips of the full one are drawn with
# another seed, and are not for choosing anything: for that there is `--drawn 0`.
QUICK = {"clips": 24, "test_clips": 8, "drawn": 0, "seen": 1440, "size": 32, "seeds": [0]}
FULL = {"clips": 100, "test_clips": 40, "drawn": 1, "seen": 8400, "size": 48, "seeds": [0, 1, 2]}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = tuple(ladder.MODELS)
    add("--quick", action="store_true", help="few clips, small frames, one seed")
    add(
        "--models",
        nargs="+",
        type=network,
        metavar="NAME",
        help=f"of {', '.join(known)}, or with options: CNNRNN:cell=gru "
        f"(default: all but {', '.join(ladder.TOO_LARGE)})",
    )
    add("--seeds", nargs="+", type=whole_or_none, help="of weights and order (0 1 2)")
    add("--clips", type=whole, help="training clips per class (100)")
    add("--test-clips", type=whole, help="test clips per class (40)")
    add(
        "--drawn",
        type=whole_or_none,
        metavar="SEED",
        help="of the clips (1, which nothing was tuned on; for development take 0)",
    )
    add(
        "--seen",
        type=whole,
        help="clips each network is shown, repetitions counted, in whole epochs (8400)",
    )
    add("--size", type=whole, metavar="PIXELS", help="height and width of the frames (48)")
    add("--workers", type=whole_or_none, default=2, help="threads that decode ahead (%(default)s)")
    command_line.add_places(add, "ladder")
    options = parser.parse_args()
    command_line.told(parser, options)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def settings_and_directory(options):
    """What to run and where to write, from the command line or from the run to be resumed."""
    directory = command_line.resumed(options, "ladder")
    if directory is not None:
        return ladder.Settings.load(directory), directory
    directory = command_line.new(options, "ladder")
    name = f"synthetic-motion-{options.clips}-{options.test_clips}-seed{options.drawn}"
    data = directory.parent / name
    world = video.synthetic.MotionWorld()
    settings = ladder.Settings(
        data=str(data.resolve()),
        drawn=options.drawn,
        networks=tuple(dict.fromkeys(options.models or ladder.networks())),
        seeds=tuple(dict.fromkeys(options.seeds)),
        seen=options.seen,
        size=(options.size, options.size),
        workers=options.workers,
    )
    ladder.rehearse(settings, len(world.classes))  # what cannot start leaves nothing behind
    video.synthetic.write_folder(
        data, options.clips, options.test_clips, options.drawn, world=world
    )
    settings.save(directory)
    return settings, directory


def main(options):
    settings, directory = settings_and_directory(options)
    clips = len(ladder.open_folders(settings)[0])
    epochs, (H, W) = ladder.epochs(settings, clips), settings.size
    print(
        f"Each network is shown {epochs * clips} clips, {epochs} times {clips}, of "
        f"{settings.frames} frames of {H}×{W}, for each of {len(settings.seeds)} seeds."
    )
    results = []
    try:
        for number in settings.seeds:  # all networks once, before the next seed
            for name in settings.networks:
                result = ladder.run(name, number, settings, directory)
                results.append(result)
                print(
                    f"{name}, seed {number}: {100 * result['accuracy']:.0f} % of all, "
                    f"{100 * result['pairs']:.0f} % within pairs, "
                    f"{result['seconds'] / 60:.1f} min of training",
                    flush=True,
                )
    except KeyboardInterrupt:
        print(
            f"Go on with: python examples/motion_ladder.py --resume {shlex.quote(str(directory))}"
        )
        raise
    print(ladder_report.report(results, directory))
    print("Accuracy on test clips in %, mean ± standard deviation over the seeds.")
    pictures = ladder_pictures.draw_all(results, settings, directory)
    left = ["ladder.md", "ladder.json", "ladder.png", *(path.name for path in pictures)]
    print(f"Left in {directory}: {', '.join(left)}, the weights of each network")


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        main(arguments())
    except KeyboardInterrupt:
        print("Stopped.")
        sys.exit(130)
    except (OSError, ValueError, FloatingPointError, video.VideoError) as error:
        sys.exit(f"error: {error}")
