"""Name the class of any video with a network that `classify.py` trained.

python examples/predict.py CLIP --weights runs/classify-.../model.npz
"""

import argparse
import sys
import warnings

import nn
import video
from nn.activation import softmax


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="video files")
    parser.add_argument("--weights", required=True, metavar="FILE", help="a saved model.npz")
    parser.add_argument("--top", type=int, default=5, help="how many classes (%(default)s)")
    options = parser.parse_args()
    if options.top < 1:
        parser.error("--top: at least 1")

    model = video.models.load(options.weights)
    failed = 0
    for path in options.clips:
        try:
            clip = video.read(path, size=model.size, frames=model.frames)  # uint8 (T, H, W, 3)
        except (OSError, video.VideoError) as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        with nn.inference():
            probabilities = softmax(model(model.prepare(clip)))[0]  # (K,)
        print(f"{path}: {model.classes[probabilities.argmax()]}")
        for k in probabilities.argsort()[::-1][: options.top]:
            bar = "█" * round(30 * float(probabilities[k]))
            print(f"  {100 * probabilities[k]:5.1f} %  {model.classes[k]:20} {bar}")
    return 1 if failed else 0


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, video.VideoError) as error:
        sys.exit(f"error: {error}")
