"""What all networks for clips share: the names of their classes and how a clip enters."""

import nn
from video.transforms import Normalize, ToFloat


class VideoModel(nn.Module):
    """A network (N, T, H, W, C) → logits (N, num_classes) that knows how to use itself.

    A subclass takes `num_classes, size, frames, channels, rng` and keeps the first four as
    attributes, so that `video.models.load` can build it again. Two more come with training:

    - classes: the name of each class, in the order of the logits;
    - preprocessing: how clips entered in training, at least {"mean": …, "std": …}: one number,
      or one per channel, for values between 0 and 1.
    """

    classes = None
    preprocessing = None

    def prepare(self, clip):
        """A clip as files give it, uint8 (T, H, W, C) → the input float32 (1, T, H, W, C).

        x = (clip / 255 − mean) / std, as in training; without `preprocessing` only scaled.
        """
        if clip.ndim != 4:
            raise ValueError(
                f"{type(self).__name__}: expected a clip (T, H, W, C) to prepare, got {clip.shape}"
            )
        scale = {"mean": 0.0, "std": 1.0, **(self.preprocessing or {})}
        return Normalize(scale["mean"], scale["std"])(ToFloat()(clip))[None]
