"""Folders of drawn clips: real H.264 files that any reader of video can be tried on."""

import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from video.synthetic.scene import render
from video.synthetic.world import World
from video.writer import write

MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished.json"
_TEST_START = 1_000_000  # test clips have indices of their own, however many clips train

# Goes up when the same (seed, index) gives another clip than before, so that no folder
# drawn by an older version is taken for one of these.
_DRAWING = 1


def write_folder(root, train=30, test=10, seed=0, world=None, workers=None, progress=True):
    """Draw a labelled folder, `root/train/CLASS/*.mp4` and `root/test/CLASS/*.mp4`.

    train, test: clips in each class. The test clips wear textures that no training clip has.
    seed, world: which clips; `World()` unless told. The same arguments give the same frames.
        A world whose attribute `intra_only` is true has each frame stored by itself.
    workers: threads; two if there are two cores. The drawing itself is mostly held to one core
        by Python; the encoder, a process of its own, runs beside it.
    progress: show a bar.

    Returns `root` as a Path. `root/manifest.json` is written last and names each file, its clip
    (index, unseen) and its labels; `draw(seed, index, world, unseen)` gives the masks and
    positions again. A folder that is complete is left as it is, one that was interrupted is
    gone on with. FileExistsError if `root` holds anything else.
    """
    root, world = Path(root), world or World()
    for name, count in (("train", train), ("test", test)):
        if count < 1:
            raise ValueError(f"write_folder: {name} must be at least 1 clip a class, got {count}")
    settings = {
        "drawing": _DRAWING,
        "seed": int(seed),
        "train": train,
        "test": test,
        "world": asdict(world),
    }
    settings = json.loads(json.dumps(settings))  # tuples become lists, as in a file
    complete = _check(root, settings)
    clips = _plan(world, seed, train, test)
    missing = [clip for clip in clips if not (root / clip["file"]).is_file()]
    if complete and not missing:
        return root

    for name in sorted({str(Path(clip["file"]).parent) for clip in clips}):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / MANIFEST).unlink(missing_ok=True)  # a file of it was lost: not complete until the end
    _write_json(root / _UNFINISHED, {"settings": settings})
    _draw_all(root, world, seed, missing, workers or min(2, os.cpu_count() or 1), progress)
    _write_json(root / MANIFEST, {"settings": settings, "clips": clips})
    (root / _UNFINISHED).unlink()
    return root


def _check(root, settings):
    """True if the folder says it is complete, False if it is empty or was interrupted."""
    for name in (MANIFEST, _UNFINISHED):
        if (root / name).is_file():
            try:
                found = json.loads((root / name).read_text(encoding="utf-8"))["settings"]
            except (ValueError, KeyError, TypeError) as error:
                raise FileExistsError(
                    f"{root / name}: not a manifest of drawn clips ({error}); "
                    "delete the folder or name another"
                ) from None
            if found != settings:
                differ = [k for k in settings if found.get(k) != settings[k]]
                raise FileExistsError(
                    f"{root}: drawn with another {', '.join(differ)}; "
                    "delete the folder or name another"
                )
            return name == MANIFEST
    for part in ("train", "test"):
        if (root / part).exists():
            raise FileExistsError(
                f"{root / part}: exists, but no {MANIFEST} says it was drawn here; "
                "delete the folder or name another"
            )
    return False


def _plan(world, seed, train, test):
    """One row for each clip: its file, index and labels."""
    rows = []
    K = len(world.classes)
    for part, start, count in (("train", 0, train), ("test", _TEST_START, test)):
        for index in range(start, start + count * K):
            unseen = part == "test"
            scene = world.scene(seed, index, unseen)
            labels = [label | {"speed": round(label["speed"], 4)} for label in scene.labels()]
            rows.append(
                {
                    "file": f"{part}/{scene.class_name}/{scene.class_name}_{index:07d}.mp4",
                    "class": scene.class_name,
                    "index": index,
                    "unseen": unseen,
                    "size": list(scene.size),
                    "frames": scene.frames,
                    "fps": scene.fps,
                    "objects": labels,
                }
            )
    return rows


def _draw_all(root, world, seed, rows, workers, progress):
    storing = {"intra_only": getattr(world, "intra_only", False)}

    def draw_one(row):
        clip = render(world.scene(seed, row["index"], row["unseen"]))
        write(root / row["file"], clip.frames, clip.scene.fps, preset="veryfast", **storing)

    pool = ThreadPoolExecutor(workers)
    try:
        tasks = [pool.submit(draw_one, row) for row in rows]
        with tqdm(
            total=len(rows), desc="drawing clips", unit="clip", disable=None if progress else True
        ) as bar:
            for task in as_completed(tasks):
                task.result()
                bar.update()
    finally:  # also on Ctrl-C: clips not yet begun are dropped, those in hand are finished
        pool.shutdown(cancel_futures=True)


def _write_json(path, content):
    """Write whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
