"""Classification: learn to name clips from a folder of examples, and show how well it went.

The article's program (§4), corrected, for networks of frames and of clips.
`examples/classify.py` is its command line; `recipe` says how networks are trained,
`classification_report` draws what came out, `folds` repeats it in cross-validation.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import nn
import video
from nn.activation import softmax
from video import models, sampling, transforms
from video.models.base import entering
from video.models.head_only import HeadOnly
from video.tasks import ladder, recipe
from video.tasks.recipe import Settings, preprocessing

__all__ = ["Outcome", "Settings", "judge", "open_folders", "run", "running_prediction"]


# ---- data -------------------------------------------------------------------------------


def open_folders(settings, cache=None):
    """The training and the test clips of `settings.data`, as two data sets.

    DIR/train/CLASS/* and DIR/test/CLASS/* are taken as they are. DIR/CLASS/* is split three to
    one, and what the regular expression `group` matches in the file names stays together.
    """
    root, options = Path(settings.data), folder_options(settings, cache)
    parts = [(root / name).is_dir() for name in ("train", "test")]
    if all(parts):
        train = open_folder(root / "train", **options)
        test = open_folder(root / "test", classes=train.classes, **options)
        check(train, test)
    elif any(parts):
        raise ValueError(f"{root}: train and test belong together, only one of the two is there")
    else:
        whole = open_folder(root, **options)
        check(whole)
        train, test = video.split(whole, (0.75, 0.25), group=settings.group, seed=settings.seed)
    for name in sorted(set(range(len(train.classes))) - {label for _, label in test.samples}):
        warnings.warn(f"{root}: no test clips of {train.classes[name]!r}", stacklevel=2)
    return train, test


def folder_options(settings, cache):
    """How `VideoFolder` is to open clips for these settings."""
    options = dict(frames=settings.frames, size=settings.size, cache=cache, seed=settings.seed)
    return options | {"on_error": "skip" if settings.skip_bad else "raise"}


def open_folder(root, **options):
    """A folder of clips of two classes or more."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*one class only")  # an error, here
        clips = video.VideoFolder(root, **options)
    if len(clips.classes) < 2:
        raise ValueError(f"{root}: one class only, {clips.classes[0]!r}: nothing to tell it from")
    return clips


def check(*folders):
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


# ---- training ---------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of one network: itself, its history, and what it says of the test clips.

    probabilities (clips, K), labels (clips,), in the order of the test set.
    """

    model: nn.Module
    history: list
    probabilities: np.ndarray
    labels: np.ndarray
    settings: Settings

    @property
    def answers(self):
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self):
        return float(np.mean(self.answers == self.labels))

    @property
    def seconds(self):
        """Of training, all epochs."""
        return float(sum(epoch["seconds"] for epoch in self.history))


def from_weights(settings):
    """Settings with model, sizes and input as the file `settings.weights` has them."""
    known = models.load(settings.weights)
    given = known.preprocessing or {}
    scaling = {key: value for key, value in given.items() if key not in ("size", "frames")}
    name = ladder.name_of(known)
    return replace(settings, model=name, size=known.size, frames=known.frames, input=scaling)


def new_model(settings, classes):
    """The network to train, fresh or from `settings.weights`, and a line that says which."""
    if settings.weights is None:
        inputs = 6 if preprocessing(settings).get("differences") else 3
        model = ladder.build(settings.model, len(classes), settings, settings.seed, inputs)
        return model, f"{settings.model}: {model.num_parameters:,} weights"
    known = models.load(settings.weights)
    said = f"{settings.weights}: a {type(known).__name__} that knows"
    if known.classes == list(classes):
        return known, f"{said} these classes"
    new = models.with_new_head(known, len(classes), settings.seed)
    classes, formerly = ", ".join(classes), ", ".join(known.classes)
    return new, f"{said} {formerly}; its last layer starts anew for {classes}"


def rehearse(settings, classes):
    """Raise now what `run` would raise at its beginning: unknown options, names of no class."""
    recipe.mirrors(classes, settings)
    new_model(settings, classes)


def run(train, test, settings, directory, glimpses=True):
    """Train the network of `settings` and judge it on `test`; an `Outcome`.

    What was broken off earlier in `directory` is gone on with, bit for bit. KeyboardInterrupt
    leaves a checkpoint. `directory/model.npz` gets the weights of the last epoch.
    """
    directory, settings = Path(directory), settings.settled(len(train))
    swap = recipe.mirrors(train.classes, settings)
    loader = recipe.training_loader(train, settings, swap)
    look = recipe.glimpse_loader(test, settings) if glimpses else None
    model, said = new_model(settings, train.classes)
    learner = HeadOnly(model) if settings.freeze else model
    parameters = learner.head.parameters() if settings.freeze else model.parameters()
    steps = settings.epochs * len(loader)
    trainer = recipe.new_trainer(learner, parameters, steps, settings, directory)
    if (directory / "last.npz").exists():
        trainer.resume()
        done = len(trainer.history)
        print(f"Going on with {directory} after {done} of {settings.epochs} epochs.")
    else:
        print(f"{said}; {settings.epochs} epochs")
    trainer.fit(loader, look, epochs=settings.epochs, monitor=False)
    if settings.freeze:
        model = learner.release()
    models.save(model, directory / "model.npz", train.classes, preprocessing(settings))
    probabilities, labels = judge(model, test, settings, swap)
    return Outcome(model, trainer.history, probabilities, labels, settings)


# ---- judging ----------------------------------------------------------------------------


def judge(model, test, settings, swap=None):
    """Probabilities (clips, K) and labels (clips,) of every test clip, the mean over its views.

    swap: {class: class in a mirror}; None where mirrored views are not to be taken. What the
    network says of a mirrored clip is said of the classes in the mirror.
    """
    model.eval()
    enter = entering(preprocessing(settings))
    classes = test.classes
    partner = [classes.index((swap or {}).get(name, name)) for name in classes]
    shown = recipe.views(settings, swap)
    batch_size = max(1, settings.batch_size // 4 if settings.sees_single_frames else 16)
    total, labels = 0.0, []
    bar = tqdm(total=len(shown) * len(test), desc="test clips", delay=1, leave=False, disable=None)
    with bar, nn.inference():
        for chosen, mirrored in shown:
            turn = [transforms.RandomHorizontalFlip(1.0)] if mirrored else []
            view = test.replace(sampling=chosen, transform=transforms.Compose([*turn, enter]))
            said, labels = [], []
            for clips, ids in video.DataLoader(view, batch_size, workers=settings.workers):
                p = softmax(model(clips))
                said.append(p[:, partner] if mirrored else p)
                labels.append(ids)
                bar.update(len(ids))
            total = total + np.concatenate(said)
    return total / len(shown), np.concatenate(labels)


def running_prediction(model, clip):
    """Probabilities (T, K) as they stand while a uint8 clip (T, H, W, C) plays.

    The model judges after each of the `model.frames` moments that it would look at in the whole
    clip, from the frames up to then. A network that takes a fixed number of frames sees the last
    one repeated.
    """
    T = len(clip)
    moments = np.unique(sampling.uniform(T, model.frames))
    so_far = []
    with nn.inference():
        for k in range(len(moments)):
            n = k + 1 if model.any_length else model.frames
            seen = clip[moments[np.minimum(np.arange(n), k)]]
            # Prepared anew each time: a frame that is repeated differs in nothing from the last.
            so_far.append(softmax(model(model.prepare(seen)))[0])
    current = np.searchsorted(moments, np.arange(T), side="right") - 1
    return np.stack(so_far)[np.maximum(current, 0)]  # before the first moment: its answer
