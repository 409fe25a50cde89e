"""What all networks for clips share: the names of their classes and how a clip enters."""

import numpy as np

import nn
from nn.arguments import whole_number
from video.transforms import Compose, Differences, Normalize, Standardize, ToFloat


class VideoModel(nn.Module):
    """A network (N, T, H, W, C) → logits (N, num_classes) that knows how to use itself.

    A subclass takes `num_classes, size, frames, channels, rng` and keeps the first four as
    attributes (`settle`), so that `video.models.load` can build it again. What else it takes by
    name, and keeps under that name, it lists in `options`. Two more come with training:

    - classes: the name of each class, in the order of the logits;
    - preprocessing: how clips entered in training: {"mean": …, "std": …}, one number each or one
      per channel, for values between 0 and 1; or {"standardize": True}, each frame by its own.
      {"differences": True} appends each frame's difference to the one before as channels.

    any_length says whether clips of fewer frames than `frames` can be judged. takes_channels names
    each entry of `channels` where a network takes just so many.
    """

    options = ()
    takes_channels = ()
    any_length = True
    classes = None
    preprocessing = None

    def settle(self, num_classes, size, frames, channels):
        """Keep what every network is made with; ValueError for sizes that cannot be."""
        self.num_classes = whole_number(self, "num_classes", num_classes)
        self.size = self._numbers("size", size, "(H, W)", 2)
        self.frames = whole_number(self, "frames", frames)
        if self.takes_channels:
            expected = f"({', '.join(self.takes_channels)})"
            self.channels = self._numbers("channels", channels, expected, len(self.takes_channels))
        else:
            self.channels = self._numbers("channels", channels, "those of the input and more")

    def _numbers(self, name, values, expected, count=None):
        """`values` as a tuple of whole numbers, `count` of them; None: two or more."""
        several = isinstance(values, tuple | list | np.ndarray)
        if not several or len(values) < 2 or len(values) != (count or len(values)):
            raise ValueError(f"{type(self).__name__}: {name} must be {expected}, got {values!r}")
        return tuple(whole_number(self, name, n) for n in values)

    def expect_size(self, least):
        """ValueError if frames of `size` would be pooled to nothing."""
        if min(self.size) < least:
            H, W = self.size
            raise ValueError(
                f"{type(self).__name__}: frames of {H}×{W} are too small, expected at least "
                f"{least}×{least}; use larger frames or fewer channels"
            )

    def expect_clips(self, x, fixed=""):
        """ValueError unless x is (N, T, H, W, C) with C as built; the axes in `fixed` as well."""
        built = {"T": self.frames, "H": self.size[0], "W": self.size[1], "C": self.channels[0]}
        expected = tuple(built[axis] if axis in fixed + "C" else axis for axis in "NTHWC")
        got = tuple(n if isinstance(e, int) else e for e, n in zip(expected, x.shape, strict=False))
        if x.ndim != 5 or got != expected:  # a letter stands for any number
            raise ValueError(
                f"{type(self).__name__}: expected clips ({', '.join(map(str, expected))}), "
                f"got {x.shape}"
            )

    def swap_head(self, layer):
        """Put `layer` where the last dense layer is, which makes the logits; returns that one."""
        head, self.classifier = self.classifier, layer
        return head

    def prepare(self, clip):
        """A clip as files give it, uint8 (T, H, W, C) → the input float32 (1, T, H, W, C).

        As in training: scaled to 0..1, then `Normalize` or `Standardize` of `video.transforms`,
        then `Differences` if there were; without `preprocessing` only scaled.
        """
        if clip.ndim != 4:
            raise ValueError(
                f"{type(self).__name__}: expected a clip (T, H, W, C) to prepare, got {clip.shape}"
            )
        return entering(self.preprocessing or {})(clip)[None]

    def describe(self):
        arguments = [f"{self.num_classes}"]
        for name in ("size", "frames", *self.options):
            arguments.append(f"{name}={getattr(self, name)!r}")
        return f"{type(self).__name__}({', '.join(arguments)})"


def entering(preprocessing):
    """The transform from uint8 frames to the input of a network with this preprocessing."""
    steps = [ToFloat()]
    if preprocessing.get("standardize"):
        steps.append(Standardize())
    else:
        scale = {"mean": 0.0, "std": 1.0, **preprocessing}
        steps.append(Normalize(scale["mean"], scale["std"]))
    if preprocessing.get("differences"):
        steps.append(Differences())
    return Compose(steps)
