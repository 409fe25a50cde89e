"""Clips made for the tests of faults: each frame shows its own number."""

import os
import subprocess
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest


def _ffmpeg(*arguments, stdin=b""):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    done = subprocess.run([*command, *map(str, arguments)], input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _numbered(T, H=48, W=64, first=0):
    """T frames (T, H, W, 3): 2 x 4 blocks, white where the number of the frame has a one bit."""
    bits = (np.arange(first, first + T)[:, None] >> np.arange(8)) & 1  # (T, 8)
    rows, columns = np.arange(H) * 2 // H, np.arange(W) * 4 // W
    block = rows[:, None] * 4 + columns  # (H, W): which bit a pixel shows
    return np.repeat(bits[:, block][..., None] * 235 + 10, 3, axis=-1).astype(np.uint8)


def _numbers(clip):
    """The numbers that the frames (T, H, W, C) show, whatever their size."""
    T, H, W, _ = clip.shape
    y = (np.array([1, 3]) * H) // 4
    x = (np.array([1, 3, 5, 7]) * W) // 8
    bits = clip[:, y[:, None], x, 0].reshape(T, 8) > 127
    return [int(n) for n in (bits << np.arange(8)).sum(1)]


def _encode(path, clip, *arguments, fps=25, before=()):
    """A file of the frames (T, H, W, 3) of `clip`; `arguments` are ffmpeg's for the output."""
    T, H, W, _ = clip.shape
    _ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{W}x{H}", "-r", fps, *before),
        *("-i", "-", *(arguments or ("-c:v", "libx264", "-pix_fmt", "yuv420p")), path),
        stdin=np.ascontiguousarray(clip).tobytes(),
    )
    return path


@pytest.fixture(scope="session")
def make():
    """make.encode, make.numbered, make.numbers, make.ffmpeg: see above."""
    return SimpleNamespace(encode=_encode, numbered=_numbered, numbers=_numbers, ffmpeg=_ffmpeg)


@pytest.fixture
def children():
    """A function that gives the process ids of our children."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    return lambda: {int(pid) for pid in _children()}


@pytest.fixture
def leaves_nothing():
    """After the test: no child process, not even a zombie, no new descriptor, no new thread."""
    import threading

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    before = set(os.listdir("/proc/self/fd")), set(_children()), threading.active_count()
    yield
    after = set(os.listdir("/proc/self/fd")), set(_children()), threading.active_count()
    assert after == before


def _children():
    """Process ids of our children, the dead that nobody waited for included."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            yield pid
