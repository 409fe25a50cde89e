"""Classification: learn to name clips from a folder of examples, and show how well it went.

The article's program (§4), corrected. `examples/classify.py` is its command line.

How frames and clips meet: in training each visit to a clip gives one frame at a random time,
so a batch of 32 is 32 frames of 32 clips. In testing a clip's logits are the mean over evenly
spaced frames.
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import nn
import video
from nn.activation import softmax
from video import models, transforms
from video.models.base import entering

STEPS = 360  # of training, unless told otherwise: some two minutes on two cores


@dataclass
class Settings:
    """What a run is made from: kept in `settings.json`, so that it can be resumed or repeated.

    epochs: how often each training clip is visited; None for as many as make `STEPS` steps, or
    for the article's ten.
    """

    data: str
    group: str | None = None
    recipe: str = "default"
    epochs: int | None = None
    frames: int = 16
    size: tuple = (64, 64)
    batch_size: int = 32
    lr: float = 1e-3
    seed: int = 0
    workers: int = 2
    skip_bad: bool = False

    def settle(self, clips):
        """Decide what was left open, now that the number of training clips is known."""
        if self.epochs is None:
            steps_per_epoch = -(-clips // self.batch_size)
            self.epochs = 10 if self.recipe == "article" else -(-STEPS // steps_per_epoch)

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


# ---- data -------------------------------------------------------------------------------


def open_folders(settings, cache=None):
    """The training and the test clips of `settings.data`, as two data sets.

    DIR/train/CLASS/* and DIR/test/CLASS/* are taken as they are. DIR/CLASS/* is split three to
    one, and what the regular expression `group` matches in the file names stays together.
    """
    root = Path(settings.data)
    options = dict(frames=settings.frames, size=settings.size, cache=cache, seed=settings.seed)
    options["on_error"] = "skip" if settings.skip_bad else "raise"
    parts = [(root / name).is_dir() for name in ("train", "test")]
    if all(parts):
        train = _open(root / "train", **options)
        test = _open(root / "test", classes=train.classes, **options)
        folders = [train, test]
    elif any(parts):
        raise ValueError(f"{root}: train and test belong together, only one of the two is there")
    else:
        folders = [_open(root, **options)]
    _check(folders)
    if len(folders) == 1:
        train, test = video.split(*folders, (0.75, 0.25), group=settings.group, seed=settings.seed)
    if len(train.classes) < 2:
        raise ValueError(f"{root}: one class only, {train.classes[0]!r}: nothing to tell it from")
    for name in sorted(set(range(len(train.classes))) - {label for _, label in test.samples}):
        warnings.warn(f"{root}: no test clips of {train.classes[name]!r}", stacklevel=2)
    return train, test


def _open(root, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*one class only")  # an error, further on
        return video.VideoFolder(root, **options)


def _check(folders):
    """Decode every clip once, ahead of training; all that cannot be read is named at once."""
    faults = []
    for clips in folders:
        for path, reason in clips.skipped:
            warnings.warn(f"left out: {path}: {reason}", stacklevel=2)
        try:
            clips.check()
        except video.VideoError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults) + '\n(on_error="skip" leaves such clips out)')


def preprocessing(settings):
    """What turns uint8 frames into the network's input, in training and in use alike.

    The article only scales them to 0..1; by default each frame is standardised as well.
    """
    scaling = {"standardize": True}
    if settings.recipe == "article":
        scaling = {"mean": 0.0, "std": 1.0}
    return {"size": settings.size, "frames": settings.frames, **scaling}


def loaders(train, test, settings):
    """Three loaders: single frames to train on, a quick look at the test clips, the whole look.

    The quick look, for the learning curves, takes four frames of each clip. No choice is made by
    it: what is judged in the end are the weights of the last epoch.

    The default recipe also varies the training frames: mirrored (classes named left and right
    change places), shifted, in other light.
    """
    enter = entering(preprocessing(settings))
    vary = []
    if settings.recipe != "article":
        H, W = settings.size
        larger = (H + H // 4, W + W // 4)
        vary = [
            transforms.RandomHorizontalFlip(0.5, swap=mirrored_classes(train.classes)),
            transforms.Resize(larger),
            transforms.RandomCrop(settings.size),
            transforms.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.6, hue=0.1),
        ]
    frames = train.replace(
        frames=1, sampling="random", transform=transforms.Compose([*vary, enter])
    )
    clips = test.replace(transform=enter)
    glimpses = clips.replace(frames=min(4, settings.frames))
    common = dict(workers=settings.workers, seed=settings.seed)
    return (
        video.DataLoader(frames, settings.batch_size, shuffle=True, **common),
        video.DataLoader(glimpses, settings.batch_size, **common),
        video.DataLoader(clips, max(1, settings.batch_size // 4), **common),
    )


def mirrored_classes(classes):
    """{name: name it has in a mirror}: pairs of classes that differ in left against right."""
    swap = {}
    for name in classes:
        mirror = name.replace("left", "\0").replace("right", "left").replace("\0", "right")
        if mirror != name and mirror in classes:
            swap[name] = mirror
    return swap


def commonest_class(train, test):
    """The test accuracy of always answering the commonest class of the training clips."""
    counts = np.bincount([label for _, label in train.samples], minlength=len(train.classes))
    return float(np.mean([label == counts.argmax() for _, label in test.samples]))


# ---- training and judging ---------------------------------------------------------------


def new_trainer(model, steps, settings, directory):
    """The trainer of a recipe: "default" is AdamW under one cycle, "article" plain SGD (§4)."""
    if settings.recipe == "article":
        optimizer = nn.optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9)
        schedule = None
    else:
        optimizer = nn.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=0.05)
        schedule = nn.optim.OneCycleLR(optimizer, settings.lr, total_steps=steps)
    # Smoothed labels keep the network from being sure of what few clips taught it.
    loss = nn.CrossEntropyLoss(label_smoothing=0.0 if settings.recipe == "article" else 0.1)
    metrics = {"accuracy": nn.metrics.accuracy}
    return nn.Trainer(model, loss, optimizer, schedule, metrics=metrics, directory=directory)


def judge(model, loader):
    """Probabilities (clips, K) and labels (clips,) for every clip of a loader."""
    model.eval()
    with nn.inference():
        batches = [(softmax(model(clips)), labels) for clips, labels in loader]
    probabilities, labels = zip(*batches, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def running_prediction(model, clip, updates=16):
    """Probabilities (T, K) as they stand while a uint8 clip (T, H, W, C) plays.

    After each of `updates` moments the model judges what has been on screen so far.
    """
    T = len(clip)
    moments = np.unique(np.linspace(0, T - 1, min(T, updates)).astype(int))
    seen = model.prepare(clip[moments])  # (1, updates, H, W, C)
    with nn.inference():
        so_far = [softmax(model(seen[:, : k + 1]))[0] for k in range(len(moments))]
    current = np.searchsorted(moments, np.arange(T), side="right") - 1
    return np.stack(so_far)[current]


# ---- the report -------------------------------------------------------------------------


def report(directory, model, train, test, probabilities, labels, history, settings, most=32):
    """Write curves, confusion matrix, contact sheet, annotated clips and `metrics.json`.

    Returns the metrics, with the paths of what was written under "files".
    """
    from video import plots

    directory = Path(directory)
    classes, answers = train.classes, probabilities.argmax(axis=1)
    baseline = commonest_class(train, test)
    matrix = nn.metrics.confusion_matrix(answers, labels, len(classes))
    shown = spread(len(labels), most)
    paths = [test.samples[i][0] for i in shown]
    middles = [video.read(path, frames=1, on_damage="ignore")[0] for path in paths]
    files = {
        "curves": plots.learning_curves(history, directory / "curves.png", chance=baseline),
        "confusion": plots.confusion_matrix(matrix, classes, directory / "confusion.png"),
        "contact_sheet": plots.contact_sheet(
            middles,
            labels[shown],
            answers[shown],
            classes,
            directory / "contact_sheet.png",
            confidences=probabilities[shown].max(axis=1),
        ),
        "video": plots.annotated_video(
            directory / "predictions.mp4", playing(model, test, labels), classes
        ),
    }
    metrics = {
        "accuracy": float(np.mean(answers == labels)),
        "commonest_class": baseline,
        "per_class": {  # null for a class without test clips
            name: row[k] / sum(row) if sum(row) else None
            for k, (name, row) in enumerate(zip(classes, matrix.tolist(), strict=True))
        },
        "confusion_matrix": matrix.tolist(),  # rows: the truth; columns: the answers
        "classes": classes,
        "training_clips": len(train),
        "test_clips": len(test),
        "settings": asdict(settings),
        "history": history,
        "files": {name: path.name for name, path in files.items()},
    }
    (directory / "metrics.json").write_text(json.dumps(metrics, indent=1, default=float))
    return metrics


def spread(total, most):
    """At most `most` indices, evenly spread over 0..total−1."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).astype(int))


def playing(model, test, labels, most=6, seconds=4.0):
    """A few test clips as `plots.annotated_video` takes them, one after the other."""
    for i in spread(len(labels), most):
        path, fps = Path(test.samples[i][0]), 15
        shown = video.read(path, fps=fps, stop=seconds, on_damage="ignore")
        small = video.read(path, fps=fps, stop=seconds, size=model.size, on_damage="ignore")
        T = min(len(shown), len(small))
        probabilities = running_prediction(model, small[:T])
        truth = int(labels[i])
        yield f"{path.name}   truth: {test.classes[truth]}", shown[:T], probabilities, truth


def save_model(model, directory, train, settings):
    """Keep the weights with class names and preprocessing, for `examples/predict.py`."""
    path = Path(directory) / "model.npz"
    models.save(model, path, classes=train.classes, preprocessing=preprocessing(settings))
    return path
