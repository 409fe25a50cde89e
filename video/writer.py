"""From an array of frames to a video file."""

import errno
import math
import os
import secrets
from pathlib import Path

import numpy as np

from video.ffmpeg import Process, VideoError, file_url, rate
from video.ffmpeg_log import failure

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}

_TO_BT709 = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp"
# Without a word on it, players guess the colour matrix by the size of the frame.
_SAY_BT709 = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"


def write(path, frames, fps, crf=18, preset="medium", intra_only=False, threads=1):
    """Write frames as H.264 video (yuv420p, BT.709), which every player opens.

    path:       str or os.PathLike ending in .mp4, .m4v, .mov, .mkv or .avi; replaced if it is
                there. The file appears under its name when it is whole, and not before
    frames:     uint8 (T, H, W, 3) RGB, (T, H, W, 1) or (T, H, W) gray; or any iterable of such
                frames (H, W, 3), (H, W, 1) or (H, W), of which only one is held at a time
    fps:        frames per second
    crf:        quality, 0 (best) to 51; 18 is hard to tell from the original, 23 is common
    preset:     "ultrafast" ... "veryslow": the time spent on making the file small
    intra_only: every frame a key frame, all with the quantiser `crf`: a larger file, each frame
                of which stands alone. Frames in another order are stored as the same pictures
    threads:    of the encoder. With one thread, which is enough for small clips, the file
                does not depend on the number of cores

    This format stores colour at half resolution and has even sizes only. An odd height or
    width becomes even by repeating the last row or column, so `read` gives one pixel more.

    Raises ValueError, TypeError for frames that do not fit, naming the frame;
    FileNotFoundError, IsADirectoryError for the path; VideoError if the encoder fails. Nothing
    is left behind then, and a file that was there before is untouched.
    """
    path = _check_path(path)
    if not 0 < fps < math.inf:
        raise ValueError(f"fps must be positive, got {fps}")
    frames = _each_frame(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    # A name of its own, hidden, in the same folder: renaming then replaces in one step.
    temporary = path.with_name(f".backreel-{secrets.token_hex(8)}{path.suffix}")
    # A constant rate factor spends on a frame what the frames before it leave over.
    quality = ("-g", "1", "-qp", str(crf)) if intra_only else ("-crf", str(crf))
    arguments = [
        *("-f", "rawvideo", "-pixel_format", "rgb24" if first.ndim == 3 else "gray"),
        *("-video_size", f"{first.shape[1]}x{first.shape[0]}"),
        *("-framerate", rate(fps), "-i", "pipe:0"),
        *("-vf", f"{_TO_BT709},{_SAY_BT709}", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", *quality, "-preset", preset, "-threads", str(threads)),
        # The index in front: players start at once, and a file cut short still opens.
        *("-movflags", "+faststart", "-f", _CONTAINERS[path.suffix.lower()]),
        *("-y", file_url(temporary)),
    ]
    try:
        with Process(str(path), arguments, writes=True) as process:
            try:
                process.write(first)
                for frame in frames:
                    process.write(frame)
            except BrokenPipeError:
                pass  # ffmpeg has given up; its exit code and its log say why
            code = process.finish()
            if code != 0:
                raise VideoError(str(path), f"cannot be written: {failure(process.log, code)}")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _each_frame(frames):
    """The frames as contiguous (H, W, 3) or (H, W), of even size, checked one by one."""
    if isinstance(frames, np.ndarray):
        one_image = frames.ndim == 3 and frames.shape[2] in (1, 3)
        if frames.ndim not in (3, 4) or one_image:
            raise ValueError(
                "frames must have shape (T, H, W, 3), (T, H, W, 1) or (T, H, W), "
                f"got {frames.shape}" + ("; for one image pass image[None]" * one_image)
            )
    first_shape = None
    for t, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8:
            raise TypeError(
                f"frame {t}: expected uint8 from 0 to 255, got {frame.dtype}; "
                "convert with (255 * x).round().astype(np.uint8) if it runs from 0 to 1"
            )
        fits = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (1, 3))
        if not fits or 0 in frame.shape:
            raise ValueError(
                f"frame {t}: expected (H, W, 3), (H, W, 1) or (H, W), got {frame.shape}"
            )
        first_shape = first_shape or frame.shape
        if frame.shape != first_shape:
            raise ValueError(
                f"frame {t}: all frames must have the shape of the first, {first_shape}, "
                f"got {frame.shape}"
            )
        if frame.ndim == 3 and frame.shape[2] == 1:
            frame = frame[:, :, 0]
        H, W = frame.shape[:2]
        if H % 2 or W % 2:
            frame = np.pad(frame, [(0, H % 2), (0, W % 2), (0, 0)][: frame.ndim], mode="edge")
        yield np.ascontiguousarray(frame)


def _check_path(path):
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or os.PathLike, got {type(path).__name__}")
    path = Path(name)
    if path.suffix.lower() not in _CONTAINERS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(_CONTAINERS)}")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, not a video file", name)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder to write into", str(path.parent))
    return path
