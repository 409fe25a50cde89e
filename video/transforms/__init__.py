"""What is done to a clip between the file and the network.

A transform is called as `transform(clip, rng) -> clip`; `rng` is a `np.random.Generator`, which
only the random ones need. All of them work on clips (T, H, W, C), and those here on single
images (H, W, C) too. One draw serves the whole clip: every frame is cropped at the same place.

A transform of this package also takes along what belongs to the clip:

    clip, mask = transform(clip, rng, mask=mask)        # mask (T, H, W), class ids per pixel
    clip, label = transform(clip, rng, label="left")    # the name of the class

so the mask is cropped and flipped with its clip, and a flip may turn *left* into *right*. To
write one's own, a function of (clip, rng) will do if masks and labels stay as they are;
otherwise derive from `Transform`.

`MixUp` and `CutMix` mix the clips of a batch with one another; they are given to the loader as
its `batch_transform`.
"""

from video.transforms.base import Compose, Transform, apply
from video.transforms.color import ColorJitter, Normalize, Standardize, ToFloat
from video.transforms.mixing import CutMix, MixUp
from video.transforms.space import (
    CenterCrop,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
)
from video.transforms.timing import Differences, TemporalJitter, TimeReverse

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Differences",
    "MixUp",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Standardize",
    "TemporalJitter",
    "TimeReverse",
    "ToFloat",
    "Transform",
    "apply",
]
