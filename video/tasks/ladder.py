"""The ladder: which networks see time? The same clips, steps and seeds for each of them.

The clips are those of `video.synthetic.MotionWorld`, whose classes come in pairs that only the
direction of time tells apart. `examples/motion_ladder.py` is the command line, `ladder_report`
makes the table, `ladder_pictures` looks into the networks.
"""

import inspect
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import nn
import video
from video import models, synthetic, transforms
from video.models.base import entering
from video.models.storage import MODELS

PREPROCESSING = {"standardize": True}
MIRRORED = {"left": "right", "anticlockwise": "clockwise"}  # what a mirror makes of a motion
TOO_LARGE = ("ResNet3D",)  # for a table of many networks: 33 million weights; can be named
PLAIN_RECURRENCE = "CNNRNN:cell=rnn"
LEARNING_RATE = 3e-3  # at its peak; norms behind the convolutions let it be that large
LEARNING_RATES = {"FrameCNN": 1e-3, "CNNAttention": 2e-3, "VideoTransformer": 2e-3}


@dataclass
class Settings:
    """What a run is made from: kept in `settings.json`, so that it can be resumed.

    networks: names of `video.models`, with options as `build` takes them. seeds: of weights and
    order; the clips are the same. data: the folder of clips. drawn: the seed they were drawn with.
    seen: how many clips each network is to be shown, repetitions counted; they are shown in whole
    epochs, see `epochs`.
    """

    data: str
    drawn: int = 0
    networks: tuple = ()
    seeds: tuple = (0, 1, 2)
    seen: int = 8400
    size: tuple = (48, 48)
    frames: int = 16
    batch_size: int = 16
    workers: int = 2

    def save(self, directory):
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / "settings.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, directory):
        path = Path(directory) / "settings.json"
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file, so there is nothing to resume")
        try:
            values = json.loads(path.read_text())
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: no settings of a ladder ({error})") from error


def networks():
    """The names of all networks that stand on the ladder unless told otherwise."""
    names = [name for name in MODELS if name not in TOO_LARGE]
    names.insert(names.index("CNNRNN"), PLAIN_RECURRENCE)  # one rung before its LSTM
    return tuple(names)


def build(name, num_classes, settings, rng=None, inputs=3):
    """The network called `name`: a name alone, or with options, as "CNNRNN:cell=gru".

    settings: has its `size` and `frames`. inputs: channels of the clips.
    """
    kind, _, text = name.partition(":")
    if kind not in MODELS:
        raise ValueError(f"{name}: no network; there are {', '.join(MODELS)}")
    options = {}
    for part in filter(None, text.split(",")):
        option, _, value = part.partition("=")
        options[option] = int(value) if value.isdecimal() else value
    _, *widths = inspect.signature(MODELS[kind]).parameters["channels"].default
    options.setdefault("channels", (inputs, *widths))
    try:
        return MODELS[kind](num_classes, settings.size, settings.frames, rng=rng, **options)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


def rehearse(settings, num_classes):
    """Build every network once: ValueError now for what could not be built when its turn comes."""
    for name in settings.networks:
        build(name, num_classes, settings)


def name_of(model):
    """What `build` calls a network like `model`: its options stand there if they are not usual."""
    kind = type(model).__name__
    usual = inspect.signature(type(model)).parameters
    options = {name: getattr(model, name) for name in model.options}
    given = [f"{name}={value}" for name, value in options.items() if value != usual[name].default]
    return f"{kind}:{','.join(given)}" if given else kind


# ---- one network, one seed --------------------------------------------------------------


def place_of(name, seed, directory):
    """The folder of one network and seed within the folder of a run."""
    return Path(directory) / f"{name.replace(':', '-').replace('=', '-')}-seed{seed}"


def epochs(settings, clips):
    """How often each of so many training clips is shown: about `settings.seen` in all."""
    return max(1, round(settings.seen / clips))


def run(name, seed, settings, directory):
    """Train network `name` with `seed` and judge it; the result as a dict of plain values.

    What was finished earlier in `directory` is read from there; what was broken off is gone on
    with, bit for bit. KeyboardInterrupt leaves a checkpoint.
    """
    place = place_of(name, seed, directory)
    finished = place / "result.json"
    if finished.exists():
        return json.loads(finished.read_text())
    train, test = open_folders(settings)
    model = build(name, len(train.classes), settings, seed)
    vary = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(0.5, swap=mirrored(train.classes)),
            transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.1),
            entering(PREPROCESSING),
        ]
    )
    loader = video.DataLoader(
        train.replace(sampling="random", transform=vary, seed=seed),
        settings.batch_size,
        shuffle=True,
        workers=settings.workers,
        seed=seed,
    )
    rounds = epochs(settings, len(train))
    rate = LEARNING_RATES.get(type(model).__name__, LEARNING_RATE)
    optimizer = nn.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = nn.optim.OneCycleLR(optimizer, rate, total_steps=rounds * len(loader))
    trainer = nn.Trainer(
        model,
        nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer,
        schedule,
        clip=1.0,
        directory=place,
    )
    if (place / "last.npz").exists():
        trainer.resume()
    trainer.fit(loader, epochs=rounds, monitor=False, quiet=True)

    seconds = [epoch["seconds"] for epoch in trainer.history]
    result = {
        "network": name,
        "seed": seed,
        "parameters": model.num_parameters,
        "seen": rounds * len(train),
        "seconds": sum(seconds),
        # Of the median epoch: in the first one kernels may have been compiled.
        "clips_per_second": len(train) / np.median(seconds),
        "train_accuracy": trainer.history[-1]["train_accuracy"],
        **judge(trainer, test, settings),
    }
    models.save(model, place / "model.npz", train.classes, preprocessing(settings))
    part = place / "result.part"  # there whole or not at all
    part.write_text(json.dumps(result, indent=1))
    os.replace(part, finished)
    (place / "last.npz").unlink()
    return result


def open_folders(settings):
    """The training and the test clips as two data sets of uint8 clips, decoded once: what is
    decoded is kept in a folder `cache` beside theirs."""
    cache = Path(settings.data).parent / "cache"
    options = {"frames": settings.frames, "size": settings.size, "cache": cache}
    train = video.VideoFolder(Path(settings.data) / "train", **options)
    test = video.VideoFolder(Path(settings.data) / "test", classes=train.classes, **options)
    return train.check(), test.check()


def preprocessing(settings):
    """What turns uint8 frames into the networks' input, as `video.models.save` keeps it."""
    return {"size": settings.size, "frames": settings.frames, **PREPROCESSING}


def mirrored(classes):
    """The pairs of `MIRRORED` that are among the classes."""
    return {name: other for name, other in MIRRORED.items() if {name, other} <= set(classes)}


def judge(trainer, test, settings):
    """How well the network names the test clips as filmed, and what it says of them played
    backwards and with their frames shuffled."""
    logits = {}
    for way in WAYS:
        clips = test.replace(transform=transforms.Compose([WAYS[way], entering(PREPROCESSING)]))
        loader = video.DataLoader(clips, settings.batch_size, workers=settings.workers)
        logits[way], labels = trainer.predict(loader, with_labels=True)
    return scores(logits, labels, partners(test.classes))


def shuffle(clip, rng):
    """A transform: the frames of a clip (T, H, W, C) in random order."""
    return clip[rng.permutation(len(clip))]


def as_filmed(clip, rng=None):
    """A transform: the clip as it is."""
    return clip


# How a test clip is played. The order of shuffled frames depends on the number of the clip alone.
WAYS = {
    "filmed": as_filmed,
    "backwards": transforms.TimeReverse(p=1.0),
    "shuffled": shuffle,
}


def partners(classes):
    """The number of each class's partner, the class that it is when played backwards: (K,)."""
    partner = synthetic.MotionWorld().partners
    unknown = [name for name in classes if partner.get(name) not in classes]
    if unknown:
        raise ValueError(f"ladder: {', '.join(unknown)}: no class of the motion set with its pair")
    return np.array([classes.index(partner[name]) for name in classes])


def scores(logits, labels, partner):
    """Shares from 0 to 1, from logits {"filmed", "backwards", "shuffled": (N, K)}.

    accuracy: over all classes. pairs: of the true class and its partner, the true one has the
    larger logit (equal ones count half); chance is 1/2 whatever the network knows of the pair.
    turned: the answer to the clip played backwards is the partner of the answer to the clip.
    kept: it is the same answer. shuffled_accuracy, shuffled_pairs: with the frames shuffled.
    """
    answers = {way: z.argmax(axis=1) for way, z in logits.items()}

    def within_pairs(z):
        rows = np.arange(len(labels))
        own, other = z[rows, labels], z[rows, partner[labels]]
        return float(np.mean((own > other) + 0.5 * (own == other)))

    return {
        "accuracy": float(np.mean(answers["filmed"] == labels)),
        "pairs": within_pairs(logits["filmed"]),
        "turned": float(np.mean(answers["backwards"] == partner[answers["filmed"]])),
        "kept": float(np.mean(answers["backwards"] == answers["filmed"])),
        "shuffled_accuracy": float(np.mean(answers["shuffled"] == labels)),
        "shuffled_pairs": within_pairs(logits["shuffled"]),
        "test_clips": len(labels),
    }
