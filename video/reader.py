"""From a video file to an array of frames.

ffmpeg decodes, turns upright, cuts, resamples and scales, and writes raw frames of exactly the
size it was asked for to a pipe; here they are only counted and put into an array. How ffmpeg
is run is in `ffmpeg.py`, what its log means in `ffmpeg_log.py`.
"""

import errno
import math
import operator
import os
import stat
import warnings
from dataclasses import dataclass

import numpy as np

from video import ffmpeg_log
from video.ffmpeg import Process, VideoError, VideoWarning, input_arguments, rate
from video.ffmpeg_log import VideoInfo

__all__ = ["VideoError", "VideoInfo", "VideoWarning", "probe", "read", "stream"]

TIMEOUT = 60.0  # seconds without a byte from ffmpeg; it is slow before the first frame only

# `frames=n` needs the number of frames before it can tell which ones to take, and the number
# in the header may be wrong. So all frames are kept, as small as they were asked for, and the
# right ones are picked at the end. A video that is larger than this is only counted, and read
# a second time.
KEPT_BYTES = 128 << 20

# A seek lands on a key frame by the index of the container, and what is decoded from there may
# begin with a few pictures that cannot be shown. So the seek aims this much too early, and the
# exact cut is made by time stamp.
SEEK_MARGIN = 1.0

_CHUNK_BYTES = 1 << 18
_MATROSKA = b"\x1a\x45\xdf\xa3"
_MP4 = (b"ftyp", b"moov", b"mdat", b"wide", b"free")


def probe(path, timeout=TIMEOUT):
    """What the header of a video file says, as a `VideoInfo`, in about 12 ms.

    Of several video streams the first counts, in `read` too; cover pictures do not.
    Raises as `read` does.
    """
    path = _check_path(path)
    nothing = ["-map", "0:V:0", "-c", "copy", "-frames:v", "0", "-f", "null", "-"]
    with Process(path, [*input_arguments(path), *nothing], timeout=timeout) as process:
        code = process.finish()
        info = ffmpeg_log.parse_info(path, process.log)
        if info is None:
            raise VideoError(path, ffmpeg_log.failure(process.log, code))
    return info


def read(
    path,
    size=None,
    fps=None,
    start=0.0,
    stop=None,
    frames=None,
    gray=False,
    on_damage="warn",
    timeout=TIMEOUT,
):
    """The frames of a video file, in order of display, as uint8 (T, H, W, C).

    path:       str or os.PathLike, of a local file
    size:       (height, width); None keeps that of the file, upright. Made smaller by
                averaging over areas; the aspect ratio is not kept
    fps:        frames per second; None keeps the frames as they are, however spaced in time.
                Otherwise frame k is the last one whose time is nearest to start + k / fps,
                or else the one before it: frames are left out or repeated, never blended
    start,stop: seconds. A frame belongs to the range if start <= its time < stop, where 0 is
                the start of the file; stop=None means to the end. Both are rounded to the
                clock of the file: 0.001 s in mkv, a whole frame in avi, finer in mp4
    frames:     n frames evenly spaced over the range: of the `total` frames in it (after
                `fps`), those at the centres of n equal parts,
                floor((k + 1/2) * total / n) for k = 0 .. n-1.
                If total < n: all frames, and the last one repeated
    gray:       one channel, 0.299 R + 0.587 G + 0.114 B, instead of three (R, G, B)
    on_damage:  what to do when the file is damaged but frames could be decoded:
                "warn" gives a `VideoWarning`, "raise" a `VideoError`, "ignore" nothing
    timeout:    seconds that ffmpeg may need for the next piece of data; None waits for ever

    Raises TypeError, ValueError for arguments; FileNotFoundError, IsADirectoryError;
    VideoError, which names the file and the reason, if nothing can be decoded, if no frame
    lies in the range, or if the source stalls.
    """
    wanted = _check(path, size, fps, start, stop, frames, gray, on_damage, timeout)
    return _read(wanted, stacklevel=3)


def stream(
    path,
    size=None,
    fps=None,
    start=0.0,
    stop=None,
    frames=None,
    gray=False,
    on_damage="warn",
    timeout=TIMEOUT,
):
    """The same frames one by one, each a uint8 (H, W, C) of its own, in constant memory.

    Arguments and errors are those of `read`. They are checked at once, the file is opened with
    the first frame that is asked for. Damage is reported after the last frame, so not to those
    who stop before. Closing, dropping or finishing the generator ends ffmpeg.
    With `frames` given, those n frames are read first and then handed out.
    """
    wanted = _check(path, size, fps, start, stop, frames, gray, on_damage, timeout)
    return _stream(wanted)


@dataclass(frozen=True)
class _Wanted:
    """The arguments of `read`, checked."""

    path: str
    size: tuple[int, int] | None
    fps: float | None
    start: float
    stop: float | None
    frames: int | None
    gray: bool
    on_damage: str
    timeout: float | None

    @property
    def channels(self):
        return 1 if self.gray else 3


def _read(wanted, stacklevel):
    H, W = wanted.size or _own_size(wanted)
    kept, total_bytes = bytearray(), 0
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    with _decoder(wanted, H, W) as process:
        while count := process.readinto(chunk):
            total_bytes += count
            if wanted.frames is None or total_bytes <= KEPT_BYTES:
                kept += chunk[:count]
            else:
                kept.clear()
        T, bytes_left = divmod(total_bytes, H * W * wanted.channels)
        damage = _damage(wanted, process, T, bytes_left)
    _tell(wanted, damage, stacklevel + 1)

    picks = None if wanted.frames is None else _centres(T, wanted.frames)
    if len(kept) < total_bytes:
        return _pick(wanted, H, W, picks)
    clip = np.frombuffer(kept, np.uint8, total_bytes - bytes_left)
    clip = clip.reshape(T, H, W, wanted.channels)
    return clip if picks is None else clip[picks]  # (T, H, W, C)


def _centres(total, n):
    """Frame numbers at the centres of n equal parts; each once, then the last, if total < n."""
    if total < n:
        return [min(k, total - 1) for k in range(n)]
    return [(2 * k + 1) * total // (2 * n) for k in range(n)]


def _pick(wanted, H, W, picks):
    """The second pass: frames `picks` (rising) of a video too large to be kept."""
    out = np.empty((len(picks), H, W, wanted.channels), np.uint8)
    with _decoder(wanted, H, W) as process:
        t = -1
        for k, pick in enumerate(picks):
            if t == pick:
                out[k] = out[k - 1]  # the last one again: there are fewer than were asked for
            while t < pick:
                if process.readinto(memoryview(out[k]).cast("B")) < out[k].nbytes:
                    raise VideoError(wanted.path, "it was changed while it was being read")
                t += 1
    return out


def _stream(wanted):
    if wanted.frames is not None:
        yield from _read(wanted, stacklevel=3)
        return
    H, W = wanted.size or _own_size(wanted)
    T = 0
    with _decoder(wanted, H, W) as process:
        while True:
            frame = np.empty((H, W, wanted.channels), np.uint8)
            count = process.readinto(memoryview(frame).cast("B"))
            if count < frame.nbytes:
                break
            T += 1
            yield frame
        damage = _damage(wanted, process, T, count)
    _tell(wanted, damage, stacklevel=3)


def _own_size(wanted):
    info = probe(wanted.path, wanted.timeout)
    return info.height, info.width


def _decoder(wanted, H, W):
    """ffmpeg, writing the frames that are wanted, H x W pixels each, to a pipe."""
    seek = _seek(wanted)  # for ffmpeg, time begins there
    filters = []
    if wanted.stop is not None:
        filters.append(f"trim=end={wanted.stop - seek:.6f}")
    if wanted.start > 0:
        filters.append(f"trim=start={wanted.start - seek:.6f}")
        # From here on time begins at `start`, in microseconds: fps counts its steps from there.
        filters.append(f"settb=AVTB,setpts=PTS-{wanted.start - seek:.6f}/TB")
    if wanted.fps is not None:
        filters.append(f"fps=fps={rate(wanted.fps)}")
    # The size is always stated, even when it is that of the file: should it change in
    # mid-stream, the frames still do not. Without the two flags after `area` the scaler rounds
    # down, two levels darker on average, and makes colour half as sharp as it could be.
    filters.append(f"scale={W}:{H}:flags=area+accurate_rnd+full_chroma_int")
    arguments = [
        *input_arguments(wanted.path, seek),
        *("-map", "0:V:0"),  # V: video that is no cover picture
        *("-vf", ",".join(filters), "-fps_mode", "passthrough"),
        *("-f", "rawvideo", "-pix_fmt", "gray" if wanted.gray else "rgb24", "pipe:1"),
    ]
    return Process(wanted.path, arguments, timeout=wanted.timeout)


def _seek(wanted):
    """Seconds that ffmpeg may skip by the index of the file, without decoding."""
    if wanted.start <= SEEK_MARGIN or not _has_index(wanted.path):
        return 0.0
    return wanted.start - SEEK_MARGIN


def _has_index(path):
    """Whether a file is mp4/mov or mkv/webm, whose seeks can be relied on.

    In other formats a seek is a guess that may land behind the key frame it needs; there, all
    frames before `start` are decoded and dropped.
    """
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.read(8)
    return head[:4] == _MATROSKA or head[4:] in _MP4


def _damage(wanted, process, T, bytes_left):
    """Wait for the end; what is wrong with the frames that came, in one line, or "".

    Damage shows in four places, and each alone may be silent: ffmpeg's log, the exit code,
    bytes that are no whole frame, and fewer frames than the header promised.
    Raises VideoError if no frame came at all.
    """
    code = process.finish()
    log, seek = process.log, _seek(wanted)
    info = ffmpeg_log.parse_info(wanted.path, log)
    if T == 0:
        if code == 0 and info and (wanted.start > 0 or wanted.stop is not None):
            stop = "its end" if wanted.stop is None else f"{wanted.stop:g} s"
            lasts = f"; it lasts {info.duration:g} s" if info.duration else ""
            reason = f"no frame between {wanted.start:g} s and {stop}{lasts}"
            raise VideoError(wanted.path, reason)
        raise VideoError(wanted.path, ffmpeg_log.failure(log, code))
    signs = [
        ffmpeg_log.complaints(log, process.lines_dropped, after_seek=seek > 0),
        ffmpeg_log.ended(code),
        "the last frame is incomplete" if bytes_left else "",
    ]
    if info:
        signs += ffmpeg_log.missing(info, log, wanted.start, wanted.stop, wanted.fps)
    return "; ".join(filter(None, signs))


def _tell(wanted, damage, stacklevel):
    if not damage or wanted.on_damage == "ignore":
        return
    error = VideoError(wanted.path, f"damaged: {damage}")
    if wanted.on_damage == "raise":
        raise error
    warnings.warn(str(error), VideoWarning, stacklevel)


def _check_path(path):
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or os.PathLike, got {type(path).__name__}")
    status = os.stat(name)  # FileNotFoundError names the path
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a video file", name)
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise VideoError(name, "the file is empty (0 bytes)")
    return name


def _check(path, size, fps, start, stop, frames, gray, on_damage, timeout):
    path = _check_path(path)
    if size is not None:
        try:
            H, W = size = tuple(operator.index(side) for side in size)
        except (TypeError, ValueError):
            raise TypeError(f"size must be (height, width) in pixels, got {size!r}") from None
        if H < 1 or W < 1:
            raise ValueError(f"size must be (height, width), each at least 1, got {size}")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps must be positive, got {fps}")
    if not 0 <= start < math.inf:
        raise ValueError(f"start must be a time in seconds, 0 or more, got {start}")
    if stop is not None and not start < stop < math.inf:
        raise ValueError(f"stop must be a time in seconds after start={start:g}, got {stop}")
    if frames is not None and operator.index(frames) < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    if on_damage not in ("warn", "raise", "ignore"):
        raise ValueError(f'on_damage must be "warn", "raise" or "ignore", got {on_damage!r}')
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be a positive number of seconds or None, got {timeout}")
    return _Wanted(path, size, fps, start, stop, frames, gray, on_damage, timeout)
