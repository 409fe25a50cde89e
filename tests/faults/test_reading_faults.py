"""Files that are not as they should be: rows 1 to 8 and 10 to 13 of the table of faults."""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import imageio_ffmpeg
import numpy as np
import pytest

import video
from video.reader import VideoWarning

EVERY_DOOR = [video.probe, video.read, lambda path: next(video.stream(path))]


# Row 1: the path is missing, a folder, or no path at all.


@pytest.mark.parametrize("open_it", [video.probe, video.read, video.stream])
def test_row_01_missing_folder_not_a_path(tmp_path, open_it):
    # stream too: the arguments are checked by the call, not by the first frame.
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        open_it(tmp_path / "none.mp4")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        open_it(tmp_path)
    for wrong in (3, None, b"clip.mp4", ["clip.mp4"]):
        with pytest.raises(TypeError, match=f"str or os.PathLike, got {type(wrong).__name__}"):
            open_it(wrong)


# Row 2: files without a picture.


def check_error(error, name):
    assert name in str(error), "does not name the file"
    assert "\n" not in str(error), "is more than one line"
    assert len(error.reason) > 10, "does not say why"


@pytest.mark.parametrize("open_it", EVERY_DOOR)
@pytest.mark.parametrize("content", [b"", b"Hello!\n" * 99, bytes(5000), bytes(range(256)) * 99])
def test_row_02_not_a_video(tmp_path, content, open_it):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(video.VideoError) as caught:
        open_it(path)
    check_error(caught.value, "clip.mp4")
    assert ("empty" in caught.value.reason) == (content == b"")


@pytest.mark.parametrize("open_it", EVERY_DOOR)
@pytest.mark.parametrize("ending", ["m4a", "mp3", "mkv"])
def test_row_02_audio_only(tmp_path, make, ending, open_it):
    path = tmp_path / f"sound.{ending}"
    make.ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", path)
    with pytest.raises(video.VideoError) as caught:
        open_it(path)
    check_error(caught.value, path.name)
    assert ("not a video file" if ending == "mp3" else "no video stream") in caught.value.reason


def test_row_02_sound_with_a_cover_picture(tmp_path, make):
    cover, path = tmp_path / "cover.png", tmp_path / "sound.m4a"
    make.encode(cover, make.numbered(1))
    make.ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=0.5", "-i", cover, "-map", 0, "-map", 1),
        *("-c:v", "png", "-disposition:v:0", "attached_pic", path),
    )
    for open_it in EVERY_DOOR:
        with pytest.raises(video.VideoError, match="no video stream"):
            open_it(path)


# Row 3: bytes overwritten. Each container and decoder complains in its own place.

CONTAINERS = {
    "h264.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"],
    "h264.mkv": ["-c:v", "libx264", "-pix_fmt", "yuv420p"],
    "h264.ts": ["-c:v", "libx264", "-pix_fmt", "yuv420p"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-q:v", "4"],
    "vp8.webm": ["-c:v", "libvpx", "-b:v", "300k", "-cpu-used", "8"],
    "wmv2.wmv": ["-c:v", "wmv2", "-q:v", "3"],  # says nothing: only the count shows it
    "flv1.flv": ["-c:v", "flv1", "-q:v", "4"],
}


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory, make):
    """Name -> bytes of a healthy file with 100 numbered, noisy frames."""
    clip = make.numbered(100)
    noise = np.random.default_rng(0).integers(-30, 31, clip.shape[:3])[..., None]
    clip = (clip + noise).clip(0, 255).astype(np.uint8)  # so that the frames take some bytes
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: make.encode(folder / name, clip, *arguments).read_bytes()
        for name, arguments in CONTAINERS.items()
    }


@pytest.mark.parametrize("name", CONTAINERS)
def test_row_03_overwritten_in_the_middle(tmp_path, make, whole_files, name):
    path = tmp_path / name
    content = bytearray(whole_files[name])
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a healthy file is not accused
        assert make.numbers(video.read(path)) == list(range(100))

    middle, tenth = int(0.45 * len(content)), len(content) // 10
    content[middle : middle + tenth] = np.random.default_rng(1).bytes(tenth)
    path.write_bytes(content)
    sign = "89 frames where 100 belong" if name == "wmv2.wmv" else "[a-z]{3}"
    with pytest.warns(VideoWarning, match=f"{name}: damaged: .*{sign}") as caught:
        clip = video.read(path)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__  # points to the line that reads
    assert 20 < len(clip) <= 100 and make.numbers(clip[:20]) == list(range(20))
    with pytest.warns(VideoWarning, match=name) as caught:
        streamed = list(video.stream(path))
    assert caught[0].filename == __file__
    assert np.array_equal(streamed, clip)

    for read in (video.read, lambda *a, **k: list(video.stream(*a, **k))):
        with pytest.raises(video.VideoError, match=f"{name}: damaged: ") as caught:
            read(path, on_damage="raise")
        check_error(caught.value, name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(read(path, on_damage="ignore"), clip)


# Row 4: files cut short.


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "flv1.flv"])
def test_row_04_truncated(tmp_path, make, whole_files, name):
    path = tmp_path / name
    path.write_bytes(whole_files[name][: 6 * len(whole_files[name]) // 10])
    with pytest.warns(VideoWarning, match=f"{name}: damaged: "):
        clip = video.read(path)
    assert 40 < len(clip) < 80 and make.numbers(clip[:40]) == list(range(40))
    with pytest.raises(video.VideoError, match=f"{name}: damaged: "):
        video.read(path, on_damage="raise")


def test_row_04_truncated_with_the_index_at_the_end(tmp_path, make):
    path = make.encode(tmp_path / "clip.mp4", make.numbered(50))
    content = path.read_bytes()
    # Without its index, or with a part of it.
    for cut, reason in ((len(content) // 2, "moov atom not found"), (900, "[a-z]")):
        path.write_bytes(content[:-cut])
        for open_it in EVERY_DOOR:
            with pytest.raises(video.VideoError, match=reason) as caught:
                open_it(path)
            check_error(caught.value, "clip.mp4")


def test_row_04_truncated_where_nothing_complains(tmp_path, make, whole_files):
    # Cut between two frames of an flv file: no error, no rest. The promised duration is left.
    content, path = whole_files["flv1.flv"], tmp_path / "clip.flv"
    end = 13  # of the file header; then tags: 11 bytes of header, data, 4 bytes of length
    while end < 0.6 * len(content):
        end += 11 + int.from_bytes(content[end + 1 : end + 4], "big") + 4
    path.write_bytes(content[:end])
    with pytest.warns(VideoWarning, match=r"damaged: it ends at 2\.\d\d s of 4\.0. s"):
        clip = video.read(path)
    assert make.numbers(clip) == list(range(len(clip)))


# Row 5: headers that lie about the number of frames or the duration, or say nothing.


def check_frames(path, make, T, warns=False):
    """All frames, and evenly spaced ones, whatever the header says."""
    if warns:
        with pytest.warns(VideoWarning, match="ends at"):
            clip = video.read(path)
    else:
        clip = video.read(path)
    assert make.numbers(clip) == list(range(T))
    picked = video.read(path, frames=5, on_damage="ignore")
    assert make.numbers(picked) == [(2 * k + 1) * T // 10 for k in range(5)]
    streamed = video.stream(path, on_damage="ignore")
    assert make.numbers(np.stack(list(streamed))) == list(range(T))


def test_row_05_count_over_reported_in_avi(tmp_path, make):
    path = make.encode(tmp_path / "clip.avi", make.numbered(50), "-c:v", "mpeg4", "-q:v", "2")
    content = bytearray(path.read_bytes())
    total, length = content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32
    assert content[total : total + 4] == content[length : length + 4] == struct.pack("<I", 50)
    content[total : total + 4] = content[length : length + 4] = struct.pack("<I", 5000)
    path.write_bytes(content)
    assert video.probe(path).frames == 5000
    check_frames(path, make, 50, warns=True)


def test_row_05_duration_over_reported_in_mkv(tmp_path, make):
    path = make.encode(tmp_path / "clip.mkv", make.numbered(50))
    content = path.read_bytes()
    assert content.count(b"\x44\x89\x88") == 1 and b"00:00:02.000" in content
    at = content.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in milliseconds
    content = content[:at] + struct.pack(">d", 600_000.0) + content[at + 8 :]
    path.write_bytes(content.replace(b"00:00:02.000", b"00:10:00.000"))
    assert video.probe(path).duration == 600
    check_frames(path, make, 50, warns=True)


def test_row_05_no_duration(tmp_path, make):
    # Written to a pipe, a webm file cannot go back to fill in its duration.
    path = tmp_path / "clip.webm"
    arguments = ("-map_metadata", "-1", "-c:v", "libvpx", "-b:v", "1M", "-f", "webm")
    source = make.encode(tmp_path / "clip.mkv", make.numbered(50), "-c:v", "ffv1")
    path.write_bytes(make.ffmpeg("-i", source, *arguments, "-"))
    info = video.probe(path)
    assert info.duration is None and info.frames is None and info.codec == "vp8"
    check_frames(path, make, 50)


def test_row_05_no_header_at_all(tmp_path, make):
    # A bare stream of pictures: no container, so neither count nor times.
    path = tmp_path / "clip.m2v"
    make.encode(path, make.numbered(50), "-c:v", "mpeg2video", "-q:v", "2", "-f", "mpeg2video")
    assert video.probe(path).duration is None
    check_frames(path, make, 50)


def test_row_05_picture_shorter_than_sound(tmp_path, make):
    silent = make.encode(tmp_path / "silent.mp4", make.numbered(50))
    path = tmp_path / "clip.mp4"
    make.ffmpeg("-i", silent, "-f", "lavfi", "-i", "sine=d=2.6", "-c:v", "copy", path)
    info = video.probe(path)
    assert info.has_audio and info.duration == pytest.approx(2.6, abs=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_frames(path, make, 50)


# Row 6: rotation.


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_row_06_rotation(tmp_path, make, turn):
    stored, path = tmp_path / "stored.mp4", tmp_path / "clip.mp4"
    make.encode(stored, make.numbered(3, H=48, W=80, first=5), "-crf", "1", "-pix_fmt", "yuv420p")
    # display_rotation counts against the clock, np.rot90 does too.
    make.ffmpeg("-display_rotation", turn, "-i", stored, "-c", "copy", path)
    upright = np.rot90(video.read(stored), turn // 90, axes=(1, 2))

    info = video.probe(path)
    assert (info.height, info.width) == upright.shape[1:3]
    assert info.rotation == (-turn) % 360
    clip = video.read(path)
    assert clip.shape == upright.shape
    assert np.abs(clip.astype(int) - upright).mean() < 2
    small = video.read(path, size=(24, 32))
    blocks = small[:, 6::12, 4::8, 0] > 127  # (T, 2, 4)
    expected = upright[:, upright.shape[1] // 4 :: upright.shape[1] // 2]
    if turn % 180 == 0:
        expected = expected[:, :, upright.shape[2] // 8 :: upright.shape[2] // 4, 0] > 127
        assert np.array_equal(blocks, expected)
    assert small.shape == (3, 24, 32, 3)


# Row 7: order of display, B-frames, variable rate.


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_row_07_b_frames_in_order_of_display(tmp_path, make, ending):
    path = tmp_path / f"clip.{ending}"
    arguments = ("-c:v", "libx264", "-bf", "3", "-b_strategy", "0", "-g", "30")
    make.encode(path, make.numbered(70), *arguments, "-pix_fmt", "yuv420p")
    assert make.numbers(video.read(path)) == list(range(70))
    assert make.numbers(video.read(path, start=1, stop=2)) == list(range(25, 50))


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_row_07_variable_rate(tmp_path, make, ending):
    # Frames 0-9 are 0.04 s long, 10-19 0.12 s: none is doubled or dropped, unless fps is given.
    path = tmp_path / f"clip.{ending}"
    times = r"setpts=if(lt(N\,10)\,N\,10+3*(N-10))*0.04/TB"
    arguments = ("-vf", times, "-fps_mode", "vfr", "-pix_fmt", "yuv420p")
    make.encode(path, make.numbered(20), "-c:v", "libx264", *arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make.numbers(video.read(path)) == list(range(20))
        even = make.numbers(video.read(path, fps=25))
    assert even[:10] == list(range(10))
    assert even[10:37] == [10 + k // 3 for k in range(27)]


# Row 8: more frames than there are, exactly as many, a single one.


def test_row_08_as_many_frames_as_asked_for(tmp_path, make):
    path = make.encode(tmp_path / "clip.mp4", make.numbered(7))

    def picked(n, **options):
        return make.numbers(video.read(path, frames=n, **options))

    assert picked(7) == [0, 1, 2, 3, 4, 5, 6]
    assert picked(10) == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert picked(3) == [1, 3, 5]
    assert picked(2) == [1, 5]
    assert picked(1) == [3]
    assert picked(4, start=0.08, stop=0.16) == [2, 3, 3, 3]
    assert picked(2, fps=50) == [make.numbers(video.read(path, fps=50))[k] for k in (3, 10)]
    assert make.numbers(np.stack(list(video.stream(path, frames=9)))) == picked(9)
    assert make.numbers(video.read(path, stop=100)) == list(range(7))


def test_row_08_one_frame(tmp_path, make):
    path = make.encode(tmp_path / "clip.mp4", make.numbered(1, first=9))
    assert make.numbers(video.read(path)) == [9]
    assert make.numbers(video.read(path, frames=4)) == [9, 9, 9, 9]
    assert video.probe(path).frames == 1


@pytest.mark.parametrize("ending", ["mp4", "avi"])
@pytest.mark.parametrize("options", [{"start": 2.5}, {"start": 1, "stop": 3, "frames": 4}])
def test_row_08_no_frame_in_the_range(tmp_path, make, ending, options):
    path = tmp_path / f"clip.{ending}"
    make.encode(path, make.numbered(25), "-c:v", "mpeg4")
    with pytest.raises(video.VideoError, match=r"no frame between .* it lasts 1 s"):
        video.read(path, **options)
    with pytest.raises(video.VideoError, match="no frame between"):
        next(video.stream(path, **options))


# Row 10: names.


NAMES = [
    "with space.mp4",
    "%d %05d.mp4",
    "a:b.mp4",
    "http:c.mp4",
    "-i.mp4",
    "ünï–码.mp4",
    "new\nline.mp4",
    "quo'te\".mp4",
    "no ending",
    "[0-9]*?.mp4",
    "pipe:0",
]


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be had on Windows")
@pytest.mark.parametrize("name", NAMES)
def test_row_10_names(tmp_path, make, monkeypatch, name):
    good = make.encode(tmp_path / "good.mp4", make.numbered(3))
    good.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, pathlib.Path(name), tmp_path / name, str(tmp_path / name)):
        assert make.numbers(video.read(path)) == [0, 1, 2]
    assert make.numbers(np.stack(list(video.stream(name)))) == [0, 1, 2]
    assert video.probe(name).width == 64

    (tmp_path / name).write_bytes(b"no video")
    with pytest.raises(video.VideoError) as caught:
        video.read(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(name.replace("\n", "\\n") + ": ")


# Row 11: playlists, which open other files and the network.


@pytest.fixture
def listener():
    """A server on loopback that counts who calls, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                calls.append(connection.recv(1000))
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {target}\n",
    "m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{target}\n"
    "#EXT-X-ENDLIST\n",
    "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011" mediaPresentationDuration="PT4S">\n'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1">'
    "<BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_row_11_playlists_are_refused(tmp_path, make, listener, kind):
    port, calls = listener
    make.encode(tmp_path / "sibling.ts", make.numbered(25))
    for target in (f"http://127.0.0.1:{port}/clip.ts", "sibling.ts", f"tcp://127.0.0.1:{port}"):
        for name in ("evil.mp4", f"evil.{kind}"):
            path = tmp_path / name
            path.write_text(PLAYLISTS[kind].format(target=target))
            for open_it in EVERY_DOOR:
                with pytest.raises(video.VideoError) as caught:
                    open_it(path)
                check_error(caught.value, name)
                # By the name .mp4 some versions of ffmpeg do not even take it for a playlist.
                assert "not a video file" in str(caught.value) or name == "evil.mp4"
    assert calls == []


def test_row_11_the_listener_would_hear_it(tmp_path, listener):
    # The control: the same list, opened by an ffmpeg without our restrictions, does call.
    port, calls = listener
    path = tmp_path / "evil.mp4"
    path.write_text(PLAYLISTS["ffconcat"].format(target=f"http://127.0.0.1:{port}/clip.ts"))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-safe", "0"]
    allowed = ["-protocol_whitelist", "file,http,tcp"]
    subprocess.run([*command, *allowed, "-i", path], capture_output=True, timeout=60)
    assert calls and calls[0].startswith(b"GET /clip.ts")


# Row 12: frames of insane size.


def png(H, W):
    """A black gray image of H x W as the bytes of a PNG file, about a thousandth of its size."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + W)) for _ in range(H)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


MEASURED = """
import resource, sys, video
try:
    video.read(sys.argv[1], size=(8, 8))
except video.VideoError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
# This process's own peak: ru_maxrss would begin with that of the process that started it.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory in KiB on Linux")
def test_row_12_insane_frame_size(tmp_path, make):
    image, path = tmp_path / "huge.png", tmp_path / "bomb.mov"
    image.write_bytes(png(12_000, 12_000))
    make.ffmpeg("-f", "png_pipe", "-i", image, "-c", "copy", path)
    assert path.stat().st_size < 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(video.__file__).parents[1])},
    )
    error, ffmpeg_kib, python_kib = done.stdout.splitlines()
    assert "bomb.mov: Picture size 12000x12000 exceeds" in error
    assert int(ffmpeg_kib) < 120_000  # the image alone would be 144 MB
    assert int(python_kib) < 300_000
    with pytest.raises(video.VideoError, match="12000x12000"):
        video.probe(path)


def test_row_12_a_size_no_decoder_accepts(tmp_path, make):
    path = make.encode(tmp_path / "bomb.gif", make.numbered(3), "-c:v", "gif")
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", 65_535, 65_535)
    path.write_bytes(content)
    for open_it in EVERY_DOOR:
        with pytest.raises(video.VideoError, match="65535x65535"):
            open_it(path)


# Row 13: a source that stalls.


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_row_13_a_source_that_stalls(tmp_path, leaves_nothing):
    path = tmp_path / "clip.mp4"
    os.mkfifo(path)
    with pytest.raises(video.VideoError, match=r"clip\.mp4: timed out: no data for 0\.2 s"):
        video.probe(path, timeout=0.2)
    with pytest.raises(video.VideoError, match="timed out"):
        video.read(path, timeout=0.2)
    with pytest.raises(video.VideoError, match="timed out"):
        next(video.stream(path, size=(4, 4), timeout=0.2))
