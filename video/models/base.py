"""What all networks for clips share: the names of their classes and how a clip enters."""

import nn
from video.transforms import Compose, Normalize, Standardize, ToFloat


class VideoModel(nn.Module):
    """A network (N, T, H, W, C) → logits (N, num_classes) that knows how to use itself.

    A subclass takes `num_classes, size, frames, channels, rng` and keeps the first four as
    attributes, so that `video.models.load` can build it again. Two more come with training:

    - classes: the name of each class, in the order of the logits;
    - preprocessing: how clips entered in training: {"mean": …, "std": …}, one number each or one
      per channel, for values between 0 and 1; or {"standardize": True}, each frame by its own.
    """

    classes = None
    preprocessing = None

    def prepare(self, clip):
        """A clip as files give it, uint8 (T, H, W, C) → the input float32 (1, T, H, W, C).

        As in training: scaled to 0..1, then `Normalize` or `Standardize` of `video.transforms`;
        without `preprocessing` only scaled.
        """
        if clip.ndim != 4:
            raise ValueError(
                f"{type(self).__name__}: expected a clip (T, H, W, C) to prepare, got {clip.shape}"
            )
        return entering(self.preprocessing or {})(clip)[None]


def entering(preprocessing):
    """The transform from uint8 frames to the input of a network with this preprocessing."""
    if preprocessing.get("standardize"):
        return Compose([ToFloat(), Standardize()])
    scale = {"mean": 0.0, "std": 1.0, **preprocessing}
    return Compose([ToFloat(), Normalize(scale["mean"], scale["std"])])
