"""video.write: what is written comes back, whole or not at all."""

import os
import pathlib
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

import video


def waves(T=8, H=48, W=64):
    """Smooth colours that move: (T, H, W, 3) uint8."""
    t, y, x = np.meshgrid(np.arange(T), np.arange(H), np.arange(W), indexing="ij")
    red = 128 + 110 * np.sin(x / 11 + t / 3)
    green = 128 + 110 * np.cos(y / 9 - t / 4)
    blue = 128 + 110 * np.sin((x + y) / 13)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def difference(a, b):
    return np.abs(a.astype(int) - b).mean()


@pytest.mark.parametrize("ending", ["mp4", "m4v", "mov", "mkv", "avi", "MP4"])
def test_what_is_written_comes_back(tmp_path, ending):
    path = tmp_path / f"clip.{ending}"
    assert video.write(path, waves(), fps=12) is None
    info = video.probe(path)
    assert (info.height, info.width, info.codec) == (48, 64, "h264")
    assert info.fps == 12 and info.frames == 8 and info.rotation == 0 and not info.has_audio
    clip = video.read(path, on_damage="raise")
    assert clip.shape == (8, 48, 64, 3) and difference(clip, waves()) < 3
    assert os.listdir(tmp_path) == [path.name]


def test_rate_keeps_its_digits(tmp_path):
    for fps in (30000 / 1001, 12.5, 1, 60):
        video.write(tmp_path / "clip.mp4", waves(), fps=fps)
        assert video.probe(tmp_path / "clip.mp4").fps == pytest.approx(fps, rel=1e-9)


def test_gray(tmp_path):
    gray = waves()[..., 0]
    for frames in (gray, gray[..., None], iter(gray), list(gray[..., None])):
        video.write(tmp_path / "clip.mp4", frames, fps=10)
        clip = video.read(tmp_path / "clip.mp4", gray=True)
        assert clip.shape == (8, 48, 64, 1) and difference(clip[..., 0], gray) < 2
    assert np.ptp(video.read(tmp_path / "clip.mp4"), axis=-1).max() <= 2


@pytest.mark.parametrize("H, W", [(47, 64), (48, 63), (33, 35), (1, 1), (2, 2), (1, 300)])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path, H, W):
    clip = waves(H=H, W=W)
    video.write(tmp_path / "clip.mp4", clip, fps=10, crf=1)
    got = video.read(tmp_path / "clip.mp4")
    padded = np.pad(clip, [(0, 0), (0, H % 2), (0, W % 2), (0, 0)], mode="edge")
    assert got.shape == padded.shape and difference(got, padded) < 4


def test_an_iterator_is_consumed_frame_by_frame(tmp_path):
    alive, most = 0, 0

    class Frame:  # counts how many of its kind exist
        def __init__(self, pixels):
            nonlocal alive, most
            self.pixels = pixels
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

        def __array__(self, dtype=None, copy=None):
            return self.pixels

    video.write(tmp_path / "clip.mp4", (Frame(frame) for frame in waves(T=30)), fps=10)
    assert most <= 3
    assert difference(video.read(tmp_path / "clip.mp4"), waves(T=30)) < 3


def test_not_contiguous_frames(tmp_path):
    clip = waves().transpose(0, 2, 1, 3)[:, ::-2]
    video.write(tmp_path / "clip.mp4", clip, fps=10, crf=1)
    assert difference(video.read(tmp_path / "clip.mp4"), clip) < 3


def test_quality_key_frames_and_colour_tags(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    sizes = []
    for crf in (5, 40):
        video.write(tmp_path / "clip.mp4", noise, fps=10, crf=crf, preset="veryfast")
        sizes.append(os.path.getsize(tmp_path / "clip.mp4"))
    assert sizes[0] > 2 * sizes[1]

    def key_frames(path):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-skip_frame", "nokey"]
        command += ["-i", path, "-vf", "scale=1:1", "-fps_mode", "passthrough"]
        command += ["-pix_fmt", "gray", "-f", "rawvideo", "-"]
        return len(subprocess.run(command, capture_output=True, check=True).stdout)

    assert key_frames(tmp_path / "clip.mp4") == 1
    video.write(tmp_path / "intra.mp4", noise, fps=10, intra_only=True)
    assert key_frames(tmp_path / "intra.mp4") == 12
    described = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / "clip.mp4"]
    said = subprocess.run(described, capture_output=True, text=True).stderr
    assert "yuv420p(tv, bt709, " in said  # matrix, primaries and transfer


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        video.write(tmp_path / name, waves(), fps=10)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be had on Windows")
@pytest.mark.parametrize(
    "name", ["-i.mp4", "%d a:b.mp4", "new\nline.mp4", "ü.mp4", "x" * 250 + ".mp4"]
)
def test_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    video.write(name, waves(), fps=10)
    assert os.listdir(tmp_path) == [name]
    assert len(video.read(pathlib.Path(name))) == 8


def test_wrong_frames_are_named(tmp_path):
    path = tmp_path / "clip.mp4"
    good = waves()

    def write(frames, fps=10):
        video.write(path, frames, fps)

    with pytest.raises(TypeError, match="frame 0: expected uint8 from 0 to 255, got float64"):
        write(good / 255)
    with pytest.raises(TypeError, match="frame 2: expected uint8"):
        write([good[0], good[1], good[2].astype(int)])
    with pytest.raises(ValueError, match=r"frame 3: .* first, \(48, 64, 3\), got \(40, 64, 3\)"):
        write([*good[:3], good[3, :40]])
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\).* got \(48, 64, 3\); for one image"):
        write(good[0])
    with pytest.raises(ValueError, match=r"frame 0: expected \(H, W, 3\).* got \(48, 64, 4\)"):
        write(np.zeros((2, 48, 64, 4), np.uint8))
    with pytest.raises(ValueError, match=r"got \(48, 64\)$"):
        write(good[0, :, :, 0])
    with pytest.raises(ValueError, match=r"got \(0, 64, 3\)"):
        write(good[:, :0])
    with pytest.raises(ValueError, match=r"clip\.mp4: no frames to write"):
        write(good[:0])
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        write(good, fps=0)
    assert os.listdir(tmp_path) == []


def test_wrong_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder to write into: '.*nowhere'"):
        video.write(tmp_path / "nowhere" / "clip.mp4", waves(), 10)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.mp4"):
        video.write(tmp_path / "folder.mp4", waves(), 10)
    with pytest.raises(ValueError, match=r"clip\.gif: expected a name that ends in \.mp4"):
        video.write(tmp_path / "clip.gif", waves(), 10)
    with pytest.raises(TypeError, match="got bytes"):
        video.write(b"clip.mp4", waves(), 10)


def failing(error):
    yield from waves()
    raise error


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_nothing_is_left_and_the_old_file_stays_when_it_fails(tmp_path, error):
    path = tmp_path / "clip.mp4"
    video.write(path, waves(T=3), fps=10)
    before = path.read_bytes()
    with pytest.raises(type(error)):
        video.write(path, failing(error), fps=10)
    with pytest.raises(video.VideoError, match=r"clip\.mp4: cannot be written: .*nonsense"):
        video.write(path, waves(T=300), fps=10, preset="nonsense")
    assert os.listdir(tmp_path) == ["clip.mp4"] and path.read_bytes() == before


def test_the_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "clip.mp4"

    def frames():
        for frame in waves():
            assert not path.exists()
            assert all(name.startswith(".") for name in os.listdir(tmp_path))
            yield frame

    video.write(path, frames(), fps=10)
    assert os.listdir(tmp_path) == ["clip.mp4"]
