"""video.probe, read and stream on healthy files; what goes wrong is in tests/faults."""

import inspect
import os
import pathlib
import pickle
import warnings

import numpy as np
import pytest

import video
from video import ffmpeg_log, reader
from video.ffmpeg import Process, rate


def ramp(T, H=48, W=64):
    """Frame t has brightness 20 + 8 t, with a bright left half: (T, H, W, 3)."""
    clip = np.empty((T, H, W, 3), np.uint8)
    clip[:] = (20 + 8 * np.arange(T, dtype=np.uint8))[:, None, None, None]
    clip[:, :, : W // 2] += 20
    return clip


def times(clip):
    """Which frames of the ramp these are, by the brightness of the right half."""
    right = clip[:, :, 3 * clip.shape[2] // 4 :].mean((1, 2, 3))
    return [round(n) for n in (right - 20) / 8]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A clip of 25 frames at 10 frames per second, 48 x 64."""
    path = tmp_path_factory.mktemp("reader") / "ramp.mp4"
    video.write(path, ramp(25), fps=10, crf=1)
    return path


def test_probe(path):
    info = video.probe(path)
    assert info == video.VideoInfo(
        path=str(path),
        width=64,
        height=48,
        fps=10.0,
        duration=2.5,
        frames=25,
        start=0.0,
        codec="h264",
        container="mov",
        rotation=0,
        has_audio=False,
    )
    assert video.probe(str(path)) == info
    with pytest.raises(AttributeError):
        info.width = 3


def test_read(path):
    clip = video.read(path)
    assert clip.shape == (25, 48, 64, 3) and clip.dtype == np.uint8
    assert np.abs(clip.astype(int) - ramp(25)).mean() < 1.5
    clip[0] = 0  # writable
    assert np.array_equal(video.read(str(path))[1:], clip[1:])


def test_size_is_height_and_width_and_averages_over_areas(path):
    whole = video.read(path)
    small = video.read(path, size=(6, 16))
    assert small.shape == (25, 6, 16, 3)
    areas = whole.reshape(25, 6, 8, 16, 4, 3).mean((2, 4))
    assert np.abs(small - areas).mean() < 1
    assert video.read(path, size=(96, 31)).shape == (25, 96, 31, 3)
    assert video.read(path, size=np.array([5, 7])).shape == (25, 5, 7, 3)


def test_channels_are_red_green_blue(tmp_path):
    red = np.zeros((4, 32, 32, 3), np.uint8)
    red[..., 0] = 250
    video.write(tmp_path / "red.mp4", red, fps=5, crf=1)
    assert np.abs(video.read(tmp_path / "red.mp4")[2].mean((0, 1)) - [250, 0, 0]).max() < 3
    gray = video.read(tmp_path / "red.mp4", gray=True)
    assert gray.shape == (4, 32, 32, 1)
    assert gray.mean() == pytest.approx(0.299 * 250, abs=2)


def test_start_and_stop_hold_the_first_and_not_the_last(path):
    assert times(video.read(path, start=0.5, stop=0.9)) == [5, 6, 7, 8]
    assert times(video.read(path, start=0.45, stop=0.95)) == [5, 6, 7, 8, 9]
    assert times(video.read(path, stop=0.3)) == [0, 1, 2]
    assert times(video.read(path, start=2.2)) == [22, 23, 24]
    # beyond SEEK_MARGIN the file is entered by its index
    assert times(video.read(path, start=1.7, stop=2.0)) == [17, 18, 19]
    for k in range(25):
        one = {"start": k / 10, "stop": (k + 1) / 10, "size": (12, 16)}
        assert times(video.read(path, **one)) == [k]


def test_fps_takes_the_frames_around_the_middle_of_each_step(path):
    assert times(video.read(path, fps=10)) == list(range(25))
    assert times(video.read(path, fps=2)) == [2, 7, 12, 17, 22]
    doubled = times(video.read(path, fps=20))
    assert len(doubled) == 50 and doubled == sorted(doubled) and set(doubled) == set(range(25))
    # counted from `start`, on whichever side of SEEK_MARGIN
    assert times(video.read(path, fps=2, start=0.4, stop=1.4)) == [6, 11]
    assert times(video.read(path, fps=2, start=1.4, stop=2.4)) == [16, 21]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 24, 25, 26, 60])
def test_frames_are_the_centres_of_equal_parts(path, n):
    if n <= 25:
        expected = [int((k + 0.5) * 25 / n) for k in range(n)]
    else:
        expected = list(range(25)) + [24] * (n - 25)
    clip = video.read(path, frames=n, size=(12, 16))
    assert clip.shape == (n, 12, 16, 3) and times(clip) == expected
    assert np.array_equal(list(video.stream(path, frames=n, size=(12, 16))), clip)


def test_frames_within_a_range(path):
    assert times(video.read(path, frames=2, start=1.0, stop=2.0)) == [12, 17]
    assert times(video.read(path, frames=2, start=0.2, stop=1.2, fps=5)) == [4, 8]


@pytest.mark.parametrize("kept_frames", [0, 3, 24.9])
def test_a_video_too_large_to_be_kept_is_read_twice(path, monkeypatch, kept_frames):
    expected = [video.read(path, frames=n) for n in (1, 4, 25, 31)]
    calls = []
    monkeypatch.setattr(reader, "KEPT_BYTES", int(kept_frames * 48 * 64 * 3))
    monkeypatch.setattr(reader, "_pick", lambda *a, pick=reader._pick: calls.append(1) or pick(*a))
    for n, clip in zip((1, 4, 25, 31), expected, strict=True):
        assert np.array_equal(video.read(path, frames=n), clip)
    assert len(calls) == 4
    assert len(video.read(path)) == 25 and len(calls) == 4


def test_stream_gives_the_same_frames_each_of_its_own(path):
    for options in ({}, {"gray": True}, {"fps": 4, "size": (10, 20)}, {"start": 0.5, "stop": 1}):
        frames = list(video.stream(path, **options))
        assert np.array_equal(frames, video.read(path, **options))
        assert all(frame.flags.owndata and frame.flags.writeable for frame in frames)


def test_read_and_stream_take_the_same_arguments():
    assert inspect.signature(video.read) == inspect.signature(video.stream)


@pytest.mark.parametrize("open_it", [video.read, video.stream])
@pytest.mark.parametrize(
    "error, text, options",
    [
        (TypeError, r"size must be \(height, width\) in pixels, got 64", {"size": 64}),
        (TypeError, r"size must be \(height, width\)", {"size": (4, 5, 3)}),
        (TypeError, r"size must be \(height, width\)", {"size": (4.5, 5)}),
        (ValueError, r"each at least 1, got \(0, 5\)", {"size": (0, 5)}),
        (ValueError, "fps must be positive, got 0", {"fps": 0}),
        (ValueError, "fps must be positive, got nan", {"fps": float("nan")}),
        (ValueError, "start must be a time in seconds, 0 or more, got -1", {"start": -1}),
        (
            ValueError,
            "stop must be a time in seconds after start=2, got 2",
            {"start": 2, "stop": 2},
        ),
        (ValueError, "frames must be at least 1, got 0", {"frames": 0}),
        (TypeError, "float", {"frames": 3.5}),
        (ValueError, 'must be "warn", "raise" or "ignore", got True', {"on_damage": True}),
        (ValueError, "timeout must be a positive number", {"timeout": 0}),
    ],
)
def test_arguments_are_checked_at_once(path, open_it, error, text, options):
    with pytest.raises(error, match=text):
        open_it(path, **options)


def test_a_file_that_changes_between_the_two_passes(path, tmp_path, monkeypatch):
    changing = tmp_path / "changing.mp4"
    changing.write_bytes(path.read_bytes())

    def pick(*arguments, pick=reader._pick):
        video.write(changing, ramp(3), fps=10)
        return pick(*arguments)

    monkeypatch.setattr(reader, "KEPT_BYTES", 0)
    monkeypatch.setattr(reader, "_pick", pick)
    with pytest.raises(video.VideoError, match="changed while it was being read"):
        video.read(changing, frames=4)


def test_video_error_survives_pickling_as_between_processes():
    error = pickle.loads(pickle.dumps(video.VideoError("a\nb.mp4", "no frame")))
    assert (error.path, error.reason, str(error)) == ("a\nb.mp4", "no frame", "a\\nb.mp4: no frame")


def test_rate():
    assert [rate(fps) for fps in (25, 12.5, 30000 / 1001)] == ["25/1", "25/2", "30000/1001"]


def test_environment_of_ffmpeg(path, tmp_path, monkeypatch):
    # Colour codes would hide the words of the log, a report would be written beside us.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AV_LOG_FORCE_COLOR", "1")
    monkeypatch.setenv("FFREPORT", "file=report.log:level=32")
    assert video.probe(path).frames == 25
    assert os.listdir(tmp_path) == []


def test_the_log_keeps_its_first_and_last_lines():
    shows = ["-f", "lavfi", "-i", "testsrc=s=16x16:r=25:d=60", "-vf", "showinfo", "-f", "null", "-"]
    with Process("clip.mp4", shows) as process:
        assert process.finish() == 0
        assert len(process.log) == 600 and process.lines_dropped > 900
        assert any("Input #0, lavfi" in line for line in process.log[:50])
        assert any("frame= 1500" in line for line in process.log[-50:])
    assert process.log[0] != process.log[599]


LOG = """\
[in#0 @ 0x55] [verbose] opening
[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:/a b':
[info]   Metadata:
[info]     title           : Stream #0:9: Video: fake, yuv420p, 1x1, 5 fps
[info]   Duration: 01:02:03.50, start: 1.400000, bitrate: 412 kb/s
[info]   Stream #0:0[0x1](en,g): Audio: aac (LC) (mp4a / 0x6134706D), 8000 Hz, stereo, fltp
[info]   Stream #0:1[0x0]: Video: png, rgb24(pc, gbr), 96x64, 90k tbr (attached pic)
[info]   Stream #0:2[0x2](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv, 1x2), 320x180 \
[SAR 1:1 DAR 16:9], 71 kb/s, 29.97 fps, 30 tbr, 12800 tbn, start 1.900000 (default)
[info]     Metadata:
[info]       DURATION        : 00:00:10.500000000
[info]     Side data:
[info]       Display Matrix: rotation of -90.00 degrees
[info]   Stream #0:3[0x4]: Video: hevc, yuv420p, 640x480, 25 fps, 25 tbr
[info]       Display Matrix: rotation of 180.00 degrees
[info] Output #0, rawvideo, to 'pipe:1':
[info]   Stream #0:0: Video: rawvideo, rgb24, 64x64, 25 fps
[info] frame=  100 fps=0.0 q=-0.0 Lsize=    1272KiB time=00:00:04.24 bitrate=2457.6kbits/s
""".splitlines()


def test_parse_info():
    info = ffmpeg_log.parse_info("a b", LOG)
    assert (info.codec, info.container, info.has_audio) == ("h264", "mov", True)
    assert (info.width, info.height, info.rotation) == (180, 320, 90)
    assert info.fps == 30000 / 1001
    assert info.duration == 10.5 and info.frames == 315
    assert info.start == pytest.approx(0.5)


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("Duration: 01:02:03.50, start: 1.400000, ", "Duration: N/A, ", {"duration": None}),
        ("      DURATION   ", "      DURATION-eng", {"duration": 3723.5}),
        ("29.97 fps, 30 tbr", "1k tbr", {"fps": 1000.0}),
        ("29.97 fps, 30 tbr, ", "", {"fps": None, "frames": None, "duration": 10.5}),
        ("29.97 fps", "23.98 fps", {"fps": 24000 / 1001}),
        ("29.97 fps", "12.50 fps", {"fps": 12.5}),
        (", start 1.900000", "", {"start": 0.0}),
        ("rotation of -90.00", "rotation of -0.00", {"rotation": 0, "width": 320}),
        ("rotation of -90.00", "rotation of 90.00", {"rotation": 270, "width": 180}),
        ("Display Matrix: rotation of -90.00 degrees", "", {"rotation": 0, "height": 180}),
    ],
)
def test_parse_info_of_unusual_headers(old, new, expected):
    lines = [line.replace(old, new) for line in LOG]
    assert lines != LOG
    info = ffmpeg_log.parse_info("a b", lines)
    assert {name: getattr(info, name) for name in expected} == expected


def test_parse_info_without_a_frame_size():
    assert ffmpeg_log.parse_info("a", [line.replace("320x180", "none") for line in LOG]) is None
    assert ffmpeg_log.parse_info("a", [line.replace("Video:", "Audio:") for line in LOG]) is None
    assert ffmpeg_log.parse_info("a", []) is None


def test_complaints():
    healthy = ["[h264 @ 0x1] [error] mmco: unref short failure", "[info] fine", "no level here"]
    healthy += ["[swscaler @ 0x1] [warning] deprecated pixel format used"]
    seeking = ["[h264 @ 0x1] [error] co located POCs unavailable"]
    seeking += ["[h264 @ 0x1] [error] Missing reference picture, default is 2"]
    damage = ["[vist#0:0/h264 @ 0x1] [dec:h264 @ 0x2] [warning] corrupt decoded frame"]
    assert ffmpeg_log.complaints(healthy) == ""
    assert ffmpeg_log.complaints(healthy + seeking, after_seek=True) == ""
    assert "co located" in ffmpeg_log.complaints(healthy + seeking)
    assert ffmpeg_log.complaints(healthy + damage) == "corrupt decoded frame"
    said = ffmpeg_log.complaints([f"[a @ 0x1] [error] bad block {k}" for k in range(9)], dropped=3)
    assert said == "bad block 0; bad block 1; 10 more messages"


@pytest.mark.skipif("BACKREEL_DATA" not in os.environ, reason="BACKREEL_DATA names no folder")
def test_real_clips_are_not_accused():
    clips = [p for p in pathlib.Path(os.environ["BACKREEL_DATA"]).rglob("*.mp4")]
    assert clips
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in clips:
            if "corrupt" not in path.name:
                clip = video.read(path, size=(16, 16))
                assert abs(len(clip) - video.probe(path).frames) <= 1
