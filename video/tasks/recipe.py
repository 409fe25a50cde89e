"""How a network is trained to name clips: settings, augmentation, loaders, optimiser.

What helps where clips are few and every network starts from nothing, from first principles:

- Take away what does not matter: each frame is standardised, so that how bright a recording is
  tells nothing.
- Give what does: the difference of each frame to the one before comes along as further channels.
- Show every clip in many ways that keep its class: cropped, mirrored, in other light, partly
  covered, a little earlier, faster or slower (`variations`); in long trainings also mixed with
  others (`MixUp`). In a short one mixed clips cost more steps than they save.
- Keep the network from being sure: smoothed labels, weight decay, few weights.
- Ask several times: the answer is the mean over views of the clip (`views`).

How frames and clips meet: `FrameCNN` judges single frames, so in training each visit to a clip
gives it one frame at a random time. All other networks see `frames` frames in their order.
"""

import json
import re
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

import nn
import video
from video import sampling, transforms
from video.models.base import entering
from video.tasks import ladder

MODEL, BASELINE = "Conv3dNet", "FrameCNN"
VISITS = 4000  # to clips in training, unless told otherwise: less than a minute on two cores
FRAME_VISITS = 7680  # of a network that sees one frame at each visit
BATCH, FRAME_BATCH = 8, 32
WEIGHT_DECAY = 0.05
GLIMPSES = 40  # test clips that the learning curves look at


@dataclass
class Settings:
    """What a run is made from: kept in `settings.json`, so that it can be resumed or repeated.

    model: a network's name, with options as `ladder.build` takes them. epochs: how often each
    training clip is visited; batch_size: clips in a step; lr: the learning rate at its peak; None
    for the recipe's own (`settled`), for lr that of the network on the ladder.

    Augmentation: crop, the least share of the picture's area that is seen; colour, how far
    brightness and contrast go; erase, the chance of a covered rectangle; jitter, the largest
    share of a clip's time that is cut away; mixup, the alpha of `MixUp`; flip, whether clips are
    mirrored, and swap, pairs of classes that change places then, beside those found by name.
    smoothing: of the labels. views: times at which each test clip is looked at.

    weights: a model.npz to start from; freeze: train its last layer only. differences: whether a
    network of clips is given them as channels. input: how frames enter, as in
    `VideoModel.preprocessing`; None for the recipe's way.
    """

    data: str
    model: str = MODEL
    baseline: bool = True
    group: str | None = None
    folds: int | None = None
    recipe: str = "default"
    epochs: int | None = None
    frames: int = 16
    size: tuple = (48, 48)
    batch_size: int | None = None
    lr: float | None = None
    crop: float = 0.6
    colour: float = 0.5
    erase: float = 0.25
    jitter: float = 0.2
    mixup: float = 0.0
    smoothing: float = 0.1
    flip: bool = True
    swap: dict = field(default_factory=dict)
    differences: bool = True
    views: int = 2
    weights: str | None = None
    freeze: bool = False
    input: dict | None = None
    seed: int = 0
    workers: int = 2
    skip_bad: bool = False

    @property
    def sees_single_frames(self):
        return self.model.partition(":")[0] == "FrameCNN"

    def settled(self, clips):
        """A copy with all decided that was left open, for so many clips to train on."""
        single, article = self.sees_single_frames, self.recipe == "article"
        epochs = 10 if article else (FRAME_VISITS if single else VISITS) / clips
        kind = self.model.partition(":")[0]
        rate = 1e-3 if article else ladder.LEARNING_RATES.get(kind, ladder.LEARNING_RATE)
        return replace(
            self,
            lr=self.lr or rate,
            epochs=self.epochs or max(1, round(epochs)),
            batch_size=self.batch_size or (FRAME_BATCH if single else BATCH),
        )

    def for_baseline(self):
        """The same for the network of single frames that the other is compared with."""
        return replace(self, model=BASELINE, weights=None, freeze=False, input=None)

    def save(self, directory):
        path = Path(directory) / "settings.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, directory):
        path = Path(directory) / "settings.json"
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file, so there is nothing to resume")
        try:
            values = json.loads(path.read_text())
            return cls(**{**values, "size": tuple(values["size"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no settings of a run ({error})") from error


def preprocessing(settings):
    """What turns uint8 frames into the network's input, in training and in use alike.

    The article only scales them to 0..1. By default each frame is standardised, and a network of
    clips also gets its difference to the frame before.
    """
    scaling = settings.input
    if scaling is None and settings.recipe == "article":
        scaling = {"mean": 0.0, "std": 1.0}
    elif scaling is None:
        scaling = {"standardize": True}
        if settings.differences and not settings.sees_single_frames:
            scaling["differences"] = True
    return {**scaling, "size": settings.size, "frames": settings.frames}


# ---- mirrored classes -------------------------------------------------------------------

# Words that hold a side and speak of none, where a word may begin: "SitUpright", not "jumpright".
_WORDS = (
    r"(?-i:(?<![A-Za-z])|(?=[A-Z]))"
    r"(?P<word>bright|fright|wright|upright|copyright|forthright|cleft|leftover)"
)
_SIDES = r"left|right|(?:anti|counter)[-_ ]?clockwise|clockwise"


def mirrored_classes(classes, swap=None):
    """{name: name it has in a mirror}; None if clips must not be mirrored.

    A name that holds "left" is paired with the one that holds "right" in its place; so are
    clockwise and anticlockwise (or counterclockwise). swap: pairs that are known to be right. A
    name that speaks of a side and has no partner allows no mirrors at all: they would be given a
    wrong label. "bright" and the like (`_WORDS`) speak of none; of "upright" one cannot know, it
    is paired with "upleft" if there is one.
    """
    known = dict(swap or {})
    strangers = sorted(({*known, *known.values()}) - set(classes))
    if strangers:
        raise ValueError(
            f"--flip-swap: {', '.join(strangers)}: no such class; there are {', '.join(classes)}"
        )
    pairs = {new: old for old, new in known.items()} | known
    alone = []
    for name in classes:
        if name in pairs:
            continue
        partners = [other for other in _in_mirror(name) if other in classes and other != name]
        if partners:
            pairs[name] = partners[0]
        elif any(not found["word"] for found in re.finditer(f"{_WORDS}|{_SIDES}", name, re.I)):
            alone.append(name)
    if alone:
        warnings.warn(
            f"clips are not mirrored, since {', '.join(alone)} would then need another name; "
            f"--flip-swap {alone[0]}={alone[0]} says that the name may stay",
            stacklevel=2,
        )
        return None
    return pairs


def _in_mirror(name):
    """The names that `name` may have in a mirror."""

    def turned(match, prefix):
        word = match.group()
        if match.groupdict().get("word"):
            return word
        new = {"left": "right", "right": "left", "clockwise": f"{prefix}clockwise"}.get(
            word.lower(), "clockwise"
        )
        if word.isupper():
            return new.upper()
        return new.capitalize() if word[0].isupper() else new

    prefixes = ("anti", "counter", "anti-", "counter-", "anti_", "counter_")
    patterns = (f"{_WORDS}|{_SIDES}", _SIDES)  # "upright_left" keeps its first word, or does not
    return [
        re.sub(s, lambda m, p=p: turned(m, p), name, flags=re.I) for s in patterns for p in prefixes
    ]


def mirrors(classes, settings):
    """`mirrored_classes` as the settings want it; None for no mirrors."""
    mirrored = settings.flip and settings.recipe != "article"
    return mirrored_classes(classes, settings.swap) if mirrored else None


# ---- what the network is shown ----------------------------------------------------------


def variations(settings, swap):
    """The transforms of training clips (floats in 0..1) that keep their class."""
    steps = []
    if swap is not None:
        steps.append(transforms.RandomHorizontalFlip(0.5, swap=swap))
    if settings.crop < 1:
        steps.append(transforms.RandomResizedCrop(settings.size, area=(settings.crop, 1.0)))
    if settings.colour:
        v = settings.colour
        steps.append(transforms.ColorJitter(v, v, saturation=v, hue=0.2 * v))
    if settings.erase:
        steps.append(transforms.RandomErasing(settings.erase))
    return steps


def training_loader(train, settings, swap):
    """Batches to train on; `settings` settled, `swap` from `mirrors`."""
    enter = entering(preprocessing(settings))
    shown = {"sampling": "random", "transform": enter}
    mix = None
    if settings.recipe != "article":
        if settings.jitter and not settings.sees_single_frames:
            shown["sampling"] = sampling.Window(settings.jitter)
        steps = [transforms.ToFloat(), *variations(settings, swap), enter]
        shown["transform"] = transforms.Compose(steps)
        if settings.mixup:
            mix = transforms.MixUp(len(train.classes), settings.mixup)
    if settings.sees_single_frames:
        shown["frames"] = 1
    return video.DataLoader(
        train.replace(**shown),
        settings.batch_size,
        shuffle=True,
        workers=settings.workers,
        batch_transform=mix,
        seed=settings.seed,
    )


def glimpse_loader(test, settings):
    """A quick look at the test clips for the learning curves; no choice is made by it."""
    shown = {"transform": entering(preprocessing(settings))}
    if settings.sees_single_frames:
        shown["frames"] = min(4, settings.frames)
    else:
        test = test.subset(np.unique(np.linspace(0, len(test) - 1, GLIMPSES).astype(int)))
    return video.DataLoader(test.replace(**shown), settings.batch_size, workers=settings.workers)


def views(settings, swap):
    """How each test clip is looked at: (sampling, mirrored) for each view.

    At `settings.views` offsets in time, and mirrored too where clips may be. The article looks
    once, at evenly spaced frames.
    """
    n = 1 if settings.recipe == "article" else settings.views
    offsets = [sampling.Offset((2 * v + 1) / (2 * n)) for v in range(n)]
    sides = (False,) if swap is None else (False, True)
    return [(offset, mirrored) for offset in offsets for mirrored in sides]


def new_trainer(model, parameters, steps, settings, directory):
    """The trainer of a recipe: "default" is AdamW under one cycle, "article" plain SGD (§4).

    parameters: those that are to learn. steps: of the whole training.
    """
    if settings.recipe == "article":
        optimizer = nn.optim.SGD(parameters, lr=settings.lr, momentum=0.9)
        options = {}
        smoothing = 0.0
    else:
        optimizer = nn.optim.AdamW(parameters, lr=settings.lr, weight_decay=WEIGHT_DECAY)
        schedule = nn.optim.OneCycleLR(optimizer, settings.lr, total_steps=steps)
        options = {"schedule": schedule, "clip": 1.0}
        smoothing = settings.smoothing
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    metrics = {"accuracy": nn.metrics.accuracy}
    return nn.Trainer(model, loss, optimizer, metrics=metrics, directory=directory, **options)
