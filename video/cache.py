"""Decoded clips, held whole and kept on disk.

To start a decoder takes longer than to decode a small clip, and training that looks at one
frame per visit would start it for each single frame. So a clip is decoded once, at the size
that is wanted, and kept as a uint8 array; every sampling of frames then picks from that array.
With or without a cache the frames are the same, only the work is not.

The **held clip** is what is picked from: all frames of the clip if there are at most `longest`
of them, otherwise the frames 0, s, 2s, ... with the smallest power of two s that leaves at most
`longest`. The length that a file claims plays no part: it is often wrong.
"""

import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

from video.reader import VideoError, stream

FORMAT = 1  # raise it when what is stored changes its meaning: old files are then not found


def thin_out(frames, longest):
    """Every s-th of an iterable of frames, s the smallest power of two leaving <= longest.

    One pass, and at most `longest` + 1 frames in memory: when they become too many, every
    second one goes and the step doubles.
    """
    kept, step = [], 1
    for t, frame in enumerate(frames):
        if t % step == 0:
            kept.append(frame)
            if len(kept) > longest:
                kept, step = kept[::2], 2 * step
    return np.stack(kept)  # (T, H, W, C)


def decode(path, size, fps, longest, on_damage):
    """The held clip (T, H, W, C) uint8 of one file, decoded now. Raises `VideoError`."""
    return thin_out(stream(path, size=size, fps=fps, on_damage=on_damage), longest)


class ClipCache:
    """A folder of decoded clips, one `.npy` file each, memory-mapped when read.

    A file is found again by the clip's path, its size and modification time in bytes and
    nanoseconds, the reader's options and `FORMAT`; so a clip that was changed is decoded anew.
    Files are put in place whole, never written in part under their final name. Several
    processes may share a folder. Nothing is ever deleted: remove the folder to be rid of it.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def clip(self, path, size, fps, longest, on_damage):
        """The held clip, from the cache or else decoded and stored.

        A damaged clip that can be used in part is not stored: it is decoded, and reported as
        `on_damage` says, in every run that uses it.
        """
        options = {"size": size, "fps": fps, "longest": longest}
        file = self.folder / f"{self._key(path, options)}.npy"
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):
            pass  # not there yet, or a file cut short by something else than Backreel
        if on_damage != "raise":
            try:
                clip = decode(path, size, fps, longest, on_damage="raise")
            except VideoError:
                return decode(path, size, fps, longest, on_damage)
        else:
            clip = decode(path, size, fps, longest, on_damage)
        self._store(file, clip)
        return clip

    def _key(self, path, options):
        real = os.path.realpath(path)
        stat = os.stat(real)
        said = [FORMAT, real, stat.st_size, stat.st_mtime_ns, options]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:40]

    def _store(self, file, clip):
        """Write beside the final name, then rename, so that no reader ever sees half a file."""
        handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as out:
                np.save(out, clip)
            os.replace(temporary, file)
        except OSError as error:
            # A full disk costs speed, not the run.
            warnings.warn(f"{file}: decoded clip not kept: {error}", stacklevel=2)
            if os.path.exists(temporary):
                os.remove(temporary)
