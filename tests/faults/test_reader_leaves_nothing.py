"""What is left when a reader ends, and many readers at once: rows 14, 15 and 16."""

import gc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import video


@pytest.fixture(scope="module")
def clip(tmp_path_factory, make):
    """A clip whose raw frames, 60 MB, are far more than a pipe holds: ffmpeg must wait."""
    path = tmp_path_factory.mktemp("row14") / "clip.mp4"
    arguments = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    return make.encode(path, make.numbered(200, 320, 320), *arguments)


# Row 14: no process, no zombie, no descriptor, no thread, however it ends.


def test_row_14_finished(clip, leaves_nothing):
    assert sum(1 for _ in video.stream(clip)) == 200
    assert len(video.read(clip, size=(8, 8))) == 200
    assert len(video.read(clip, size=(8, 8), frames=3)) == 3
    video.probe(clip)


def test_row_14_closed_half_read(clip, leaves_nothing):
    frames = video.stream(clip)
    for _ in range(5):
        next(frames)
    frames.close()
    assert next(frames, "over") == "over"


def test_row_14_never_started(clip, leaves_nothing):
    frames = video.stream(clip)
    del frames


def test_row_14_garbage_collected(clip, leaves_nothing):
    frames = video.stream(clip)
    next(frames)
    del frames


def test_row_14_garbage_collected_in_a_cycle(clip, leaves_nothing):
    holder = {"frames": video.stream(clip)}
    holder["self"] = holder
    next(holder["frames"])
    del holder
    gc.collect()


def test_row_14_error_in_the_loop(clip, leaves_nothing):
    with pytest.raises(ZeroDivisionError):
        for _ in video.stream(clip):
            1 / 0  # noqa: B018


def test_row_14_read_failed(tmp_path, clip, leaves_nothing):
    path = tmp_path / "half.mp4"
    path.write_bytes(clip.read_bytes()[:-2000])
    for _ in range(3):
        with pytest.raises(video.VideoError):
            video.read(path)


def test_row_14_ffmpeg_dies_in_mid_clip(clip, children, leaves_nothing):
    before = children()
    frames = video.stream(clip, on_damage="raise")
    next(frames)
    (decoder,) = children() - before
    os.kill(decoder, signal.SIGKILL)
    with pytest.raises(video.VideoError, match=r"clip\.mp4: damaged: ffmpeg was ended by signal 9"):
        for _ in frames:
            pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
@pytest.mark.parametrize("what", ["read", "stream"])
def test_row_14_interrupted(tmp_path, clip, leaves_nothing, what):
    def interrupt(*_):
        raise KeyboardInterrupt

    path = tmp_path / "stalls.mp4"
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            if what == "read":
                video.read(path, size=(8, 8))
            else:
                next(video.stream(path, size=(8, 8)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.name == "nt", reason="process groups are another matter there")
def test_row_14_ctrl_c_goes_to_python_alone(clip):
    # A terminal sends it to the whole group; ffmpeg must not stop in mid-clip of its own.
    program = (
        "import os, signal, sys, video\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "frames = video.stream(sys.argv[1], on_damage='raise')\n"
        "next(frames)\n"
        "os.killpg(os.getpgrp(), signal.SIGINT)\n"
        "print(1 + sum(1 for _ in frames))\n"
    )
    assert run(program, clip, start_new_session=True) == "200"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("way", ["pass", "raise SystemExit", "1 / 0"])
def test_row_14_python_exits_half_read(clip, way):
    program = (
        "import subprocess, sys, video\n"
        "pids, start = [], subprocess.Popen.__init__\n"
        "def started(self, *a, **k):\n"
        "    start(self, *a, **k)\n"
        "    pids.append(self.pid)\n"
        "subprocess.Popen.__init__ = started\n"
        "frames = video.stream(sys.argv[1])\n"
        "next(frames)\n"
        f"print(*pids, flush=True)\n{way}\n"
    )
    pids = run(program, clip).split()
    assert len(pids) >= 2  # one to find the size, one to decode
    for _ in range(100):
        if not any(map(runs, pids)):
            break
        time.sleep(0.05)
    assert not any(map(runs, pids))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_row_14_python_exits_while_a_source_stalls(tmp_path):
    # Nothing will ever wake this ffmpeg: it waits for someone to write, not for us to read.
    os.mkfifo(tmp_path / "stalls.mp4")
    program = (
        "import pathlib, sys, threading, time, video\n"
        "read = dict(target=video.read, args=(sys.argv[1],), daemon=True)\n"
        "threading.Thread(**read).start()\n"
        "def found():\n"
        "    for file in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        try:\n"
        "            if sys.argv[1].encode() in file.read_bytes().split(b'file:')[-1:][0]:\n"
        "                yield file.parent.name\n"
        "        except OSError:\n"
        "            pass\n"
        "while not (pids := set(found()) - {str(__import__('os').getpid())}):\n"
        "    time.sleep(0.05)\n"
        "print(*pids, flush=True)\n"
    )
    pids = run(program, tmp_path / "stalls.mp4").split()
    assert pids and not any(map(runs, pids))


def run(program, *arguments, **options):
    root = str(pathlib.Path(video.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": root},
        **options,
    ).stdout.strip()


def runs(pid):
    """Whether a process runs and is an ffmpeg (the number may have been given anew)."""
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"ffmpeg" in command


def test_row_14_torrent_of_messages(tmp_path, clip, leaves_nothing):
    # Thousands of lines on stderr must neither block ffmpeg nor be kept.
    content = bytearray(clip.read_bytes())
    content[2000:-6000] = bytes(len(content) - 8000)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(content)
    with pytest.raises(video.VideoError) as caught:
        video.read(path, size=(8, 8), on_damage="raise")
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


# Row 15: many readers in many threads.


def test_row_15_many_readers_in_many_threads(tmp_path, make, leaves_nothing):
    paths = [
        make.encode(tmp_path / f"{k}.mp4", make.numbered(20 + k, first=5 * k)) for k in range(6)
    ]
    expected = [list(range(5 * k, 5 * k + 20 + k)) for k in range(6)]
    start = threading.Barrier(12)

    def work(worker):
        start.wait()
        for turn in range(6):
            k = (worker + turn) % 6
            if worker % 2:
                numbers = make.numbers(video.read(paths[k], size=(16, 24)))
            else:
                numbers = make.numbers(np.stack(list(video.stream(paths[k]))))
            assert numbers == expected[k]
        return True

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(12)))


def test_row_15_interleaved_in_one_thread(tmp_path, make, leaves_nothing):
    paths = [make.encode(tmp_path / f"{k}.mp4", make.numbered(9, first=20 * k)) for k in range(8)]
    rows = zip(*[video.stream(path) for path in paths], strict=True)
    for t, frames in enumerate(rows):
        assert make.numbers(np.stack(frames)) == [20 * k + t for k in range(8)]


# Row 16: the same frames on each reading, and whether one seeks or iterates.

FORMATS = {
    "open_gop.mp4": ("-c:v", "libx264", "-x264-params", "open-gop=1:keyint=20:bframes=4"),
    "open_gop.mkv": ("-c:v", "libx264", "-x264-params", "open-gop=1:keyint=20:bframes=4"),
    "fragments.mp4": ("-c:v", "libx264", "-g", "20", "-movflags", "frag_keyframe+empty_moov"),
    "one_key_frame.mp4": ("-c:v", "libx264", "-g", "1000"),
    "stream.ts": ("-c:v", "libx264", "-g", "60"),
    "program.mpg": ("-c:v", "mpeg2video", "-q:v", "2"),
    "bare.m2v": ("-c:v", "mpeg2video", "-q:v", "2", "-f", "mpeg2video"),
    "clip.avi": ("-c:v", "mpeg4", "-q:v", "2", "-g", "20"),
    "clip.flv": ("-c:v", "libx264", "-g", "30"),
    "clip.webm": ("-c:v", "libvpx", "-b:v", "1M", "-g", "20", "-auto-alt-ref", "1"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_row_16_twice_and_by_seeking(tmp_path, make, name):
    path = tmp_path / name
    make.encode(path, make.numbered(130), *FORMATS[name], "-pix_fmt", "yuv420p")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor does a seek into a healthy file cry damage
        whole = video.read(path, size=(24, 32))
        assert make.numbers(whole) == list(range(130))
        assert np.array_equal(video.read(path, size=(24, 32)), whole)
        assert np.array_equal(list(video.stream(path, size=(24, 32))), whole)
        for first, last in ((1, 3), (38, 42), (60, 130), (101, 102)):
            times = {"start": first / 25, "stop": last / 25}
            window = video.read(path, size=(24, 32), **times)
            assert make.numbers(window) == list(range(first, last))
            assert np.array_equal(window, whole[first:last])
