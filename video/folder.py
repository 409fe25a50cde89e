"""A folder of labelled clips as a data set."""

import copy
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from video.cache import ClipCache, decode
from video.reader import VideoError
from video.sampling import generator, sampler
from video.scanning import scan
from video.transforms import apply

OPTIONS_OF_A_VIEW = ("frames", "size", "sampling", "transform", "seed")


class VideoFolder:
    """Clips in `root/CLASS/`, each example `(clip, label)`.

    clip: uint8 (T, H, W, C) with T = `frames`, or what `transform` makes of it.
    label: an int, the place of the class in `classes`.

    frames: how many frames of each clip are seen; `sampling` chooses them: "uniform", "random",
        "dense" (see `video.sampling`) or a function `(T, n, rng) -> indices`.
    size: (height, width) in pixels, scaled by the decoder; None leaves each clip its own size.
    transform: called as `transform(clip, rng)`; one of `video.transforms` may also rename the
        class, as a flip does that turns *left* into *right*.
    on_error: what happens to a fault of the folder (listed in `video.scanning`) and to a clip
        that cannot be read. "raise": the folder's faults raise ValueError here, all of them at
        once; a clip raises VideoError when it is read, or all bad clips at once in `check()`.
        "skip": all clips are checked here and now, faults and bad clips are left out and listed
        in `skipped`. A class that loses all its clips keeps its number.
    cache: a folder for decoded clips (see `video.cache`). Advised for training.
    seed: with the epoch and the index, it alone decides what `sampling` and `transform` draw.
    classes: the class names in order, where another folder has fixed them.
    fps: frames per second to which all clips are brought; None leaves each its own rate.
    longest: clips of more frames than this are thinned out evenly (see `video.cache`).
    on_damage: "warn", "raise" or "ignore", for clips that can be read in part, as in `video.read`.
    follow_links: whether symbolic links may lead out of `root`.

    `.classes` are the class names, sorted; `.samples` the (path, label) pairs, sorted by class
    and name; `.skipped` and `.ignored` lists of (path, reason).
    """

    def __init__(
        self,
        root,
        frames=16,
        size=(64, 64),
        sampling="uniform",
        transform=None,
        on_error="raise",
        cache=None,
        seed=0,
        *,
        classes=None,
        fps=None,
        longest=300,
        on_damage="warn",
        follow_links=False,
    ):
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error is "raise" or "skip", not {on_error!r}')
        found = scan(root, classes, follow_links)
        if found.faults and on_error == "raise":
            told = "; ".join(f"{path}: {reason}" for path, reason in found.faults[:5])
            more = f"; and {len(found.faults) - 5} more" if len(found.faults) > 5 else ""
            raise ValueError(f'{told}{more} (on_error="skip" leaves such things out)')
        self.root = Path(root)
        self.classes, self.samples = found.classes, found.samples
        self.skipped, self.ignored = found.faults, found.ignored
        if not self.samples:
            raise ValueError(f"{self.root}: no clips in {', '.join(self.classes)}")
        if classes is None and len(self.classes) == 1:
            warnings.warn(
                f"{self.root}: one class only, {self.classes[0]!r}: nothing to tell it from",
                stacklevel=2,
            )

        self.frames, self.size, self.sampling = frames, size, sampling
        self.transform, self.seed = transform, seed
        self._settle()
        self.fps, self.on_damage = fps, on_damage
        self.longest = _whole("longest", longest)
        self.on_error = on_error
        self.cache = None if cache is None else ClipCache(cache)
        if on_error == "skip":
            self.check()

    def _settle(self):
        """Bring the options of a view to their usual form, and refuse what cannot be."""
        self.frames = _whole("frames", self.frames)
        if self.size is not None:
            if np.shape(self.size) != (2,):
                raise ValueError(f"size: expected (height, width) or None, got {self.size!r}")
            height, width = self.size
            self.size = (_whole("height", height), _whole("width", width))
        self._sampler = sampler(self.sampling)
        unknown = getattr(self.transform, "class_names", frozenset()) - set(self.classes)
        if unknown:
            raise ValueError(
                f"{self.transform!r} speaks of {', '.join(sorted(unknown))}; "
                f"the classes are {', '.join(self.classes)}"
            )

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.example(index, epoch=0)

    def example(self, index, epoch):
        """`(clip, label)` number `index` as it is seen in an epoch; `ds[i]` is epoch 0.

        What is drawn depends on (seed, epoch, index) alone. Raises VideoError if the file cannot
        be read, and names the file in a ValueError if a transform refuses the clip.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        index = int(index) % len(self)
        path, label = self.samples[index]
        held = self._held(path)
        rng = generator(self.seed, epoch, index)
        clip = np.array(held[self._sampler(len(held), self.frames, rng)])  # (T, H, W, C)
        if self.transform is None:
            return clip, label
        try:
            clip, _, name = apply(self.transform, clip, rng, label=self.classes[label])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return clip, self.classes.index(name)

    def _held(self, path):
        """All that is kept of a clip, (T, H, W, C): what the sampling picks from."""
        read = decode if self.cache is None else self.cache.clip
        return read(path, self.size, self.fps, self.longest, self.on_damage)

    def check(self, progress=True, workers=None):
        """Decode every clip once, filling the cache if there is one; returns the data set.

        Bad clips raise one VideoError that lists them all with their reasons, or, under
        on_error="skip", move from `samples` to `skipped`.
        """
        workers = workers or os.cpu_count() or 1
        reasons = {}
        pool = ThreadPoolExecutor(workers)
        try:
            tasks = {pool.submit(self._fault, path): path for path, _ in self.samples}
            # Small folders are done before a bar would be of use: it waits a second.
            quiet = None if progress else True  # None: no bar where there is no terminal
            bar = tqdm(total=len(tasks), desc="checking clips", delay=1, disable=quiet)
            with bar:
                for task in as_completed(tasks):
                    if task.result():
                        reasons[tasks[task]] = task.result()
                    bar.update()
        finally:
            pool.shutdown(cancel_futures=True)

        bad = [(path, reasons[path]) for path, _ in self.samples if path in reasons]
        if bad and self.on_error == "raise":
            lines = "".join(f"\n  {reason}" for _, reason in bad)
            raise VideoError(self.root, f"{len(bad)} of {len(self)} clips cannot be read:{lines}")
        if len(bad) == len(self):
            raise VideoError(self.root, f"none of {len(bad)} clips can be read; {bad[0][1]}")
        self.samples = [sample for sample in self.samples if sample[0] not in reasons]
        self.skipped = self.skipped + bad
        return self

    def _fault(self, path):
        """Why a clip cannot be read; None if it can."""
        try:
            self._held(path)
        except (VideoError, OSError) as error:
            return str(error)

    def replace(self, **options):
        """The same clips seen with another frames, size, sampling, transform or seed."""
        for name in options:
            if name not in OPTIONS_OF_A_VIEW:
                raise TypeError(f"replace takes {', '.join(OPTIONS_OF_A_VIEW)}; not {name}")
        view = copy.copy(self)
        vars(view).update(options)
        view._settle()
        return view

    def subset(self, indices):
        """The data set of these examples alone, with the same classes and options."""
        part = copy.copy(self)
        part.samples = [self.samples[i] for i in indices]
        return part

    def __repr__(self):
        clips = Counter(label for _, label in self.samples)
        counts = ", ".join(f"{name} {clips[k]}" for k, name in enumerate(self.classes[:12]))
        more = f", and {len(self.classes) - 12} more" if len(self.classes) > 12 else ""
        left_out = "".join(
            f", {len(what)} {word}"
            for what, word in [(self.skipped, "skipped"), (self.ignored, "other files ignored")]
            if what
        )
        return (
            f"VideoFolder({str(self.root)!r}: {len(self)} clips, {len(self.classes)} classes "
            f"({counts}{more}){left_out}; {self.frames} frames {self.sampling!r}, size {self.size})"
        )


def _whole(name, value):
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return int(value)
