"""Codecs, pixel formats and sizes: row 9 of the table of faults."""

import warnings

import numpy as np
import pytest

import video


def painted(T=6, H=48, W=64):
    """Smooth colours that move: (T, H, W, 3)."""
    t, y, x = np.meshgrid(np.arange(T), np.arange(H), np.arange(W), indexing="ij")
    red = 128 + 100 * np.sin(x / 11 + t / 3)
    green = 128 + 100 * np.cos(y / 9 - t / 4)
    blue = 128 + 90 * np.sin((x + y) / 13)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


# name: (arguments, tolerated mean |difference| of 255). Where colour has half the resolution
# or the codec is lossy some difference is due; full range, 10 bits and gray must not add to it.
FORMATS = {
    "h264.mp4": (["-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv420p"], 3),
    "h264_10_bit.mp4": (["-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv420p10le"], 3),
    "h264_444.mp4": (["-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv444p"], 2),
    "full_range.mp4": (
        ["-vf", "scale=out_color_matrix=bt709:out_range=pc", "-colorspace", "bt709"]
        + ["-color_range", "pc", "-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv420p"],
        3,
    ),
    "bt709.mp4": (
        ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709"]
        + ["-color_range", "tv", "-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv420p"],
        3,
    ),
    "hevc.mp4": (["-c:v", "libx265", "-crf", "5", "-pix_fmt", "yuv420p"], 3),
    "hevc_10_bit.mkv": (["-c:v", "libx265", "-crf", "5", "-pix_fmt", "yuv420p10le"], 3),
    "av1.mp4": (["-c:v", "libsvtav1", "-crf", "10", "-preset", "12", "-pix_fmt", "yuv420p"], 4),
    "vp8.webm": (["-c:v", "libvpx", "-crf", "4", "-b:v", "5M"], 4),
    "vp9.webm": (["-c:v", "libvpx-vp9", "-crf", "5", "-b:v", "0", "-cpu-used", "8"], 4),
    "mpeg4.avi": (["-c:v", "mpeg4", "-q:v", "1"], 4),
    "mjpeg.mov": (["-c:v", "mjpeg", "-q:v", "1", "-pix_fmt", "yuvj420p"], 4),
    "theora.ogv": (["-c:v", "libtheora", "-q:v", "10"], 4),
    "lossless.mkv": (["-c:v", "ffv1", "-pix_fmt", "bgr0"], 0),
    "alpha.mov": (["-c:v", "qtrle", "-pix_fmt", "argb"], 0),
    "clip.gif": (["-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-c:v", "gif"], 12),
}


# Odd sizes: as they come from encoders that take them; with half the resolution of colour too.
ODD = ["h264_444.mp4", "vp8.webm", "vp9.webm", "mpeg4.avi", "mjpeg.mov", "theora.ogv"]
ODD += ["lossless.mkv", "alpha.mov", "clip.gif"]


@pytest.mark.parametrize(
    "name, H, W", [(name, 48, 64) for name in FORMATS] + [(name, 37, 51) for name in ODD]
)
def test_row_09_formats(tmp_path, make, name, H, W):
    arguments, tolerance = FORMATS[name]
    clip = painted(H=H, W=W)
    path = make.encode(tmp_path / name, clip, *arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = video.read(path)
        gray = video.read(path, gray=True)
        small = video.read(path, size=(12, 16))
    assert got.shape == clip.shape and got.dtype == np.uint8
    assert np.abs(got.astype(float) - clip).mean() <= tolerance
    luminance = clip @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - luminance).mean() <= tolerance + 1
    assert small.shape == (6, 12, 16, 3)


def test_row_09_gray(tmp_path, make):
    clip = painted()
    path = make.encode(tmp_path / "gray.mkv", clip, "-c:v", "ffv1", "-pix_fmt", "gray")
    luminance = clip @ np.array([0.299, 0.587, 0.114])
    assert np.abs(video.read(path, gray=True)[..., 0] - luminance).max() <= 1.5
    coloured = video.read(path)
    assert np.ptp(coloured, axis=-1).max() == 0  # R = G = B
    assert np.abs(coloured[..., 0] - luminance).max() <= 1.5


def test_row_09_transparent_pixels_keep_their_colour(tmp_path, make):
    clip = painted()
    arguments = ("-vf", "format=argb,colorchannelmixer=aa=0", "-c:v", "qtrle", "-pix_fmt", "argb")
    path = make.encode(tmp_path / "clear.mov", clip, *arguments)
    assert np.array_equal(video.read(path), clip)


def test_row_09_frame_size_changes_in_mid_stream(tmp_path, make):
    parts = []
    for k, (H, W) in enumerate([(48, 64), (96, 64), (32, 96)]):
        part = tmp_path / f"{k}.ts"
        clip = make.numbered(10, H, W, first=10 * k)
        make.encode(part, clip, "-c:v", "mpeg2video", "-q:v", "2", "-output_ts_offset", 0.4 * k)
        parts.append(part.read_bytes())
    path = tmp_path / "clip.ts"
    path.write_bytes(b"".join(parts))
    clip = video.read(path, on_damage="ignore")
    assert clip.shape[1:] == (48, 64, 3)
    assert make.numbers(clip) == sorted(set(make.numbers(clip)))
    assert len(clip) >= 28 and make.numbers(clip)[-1] == 29


def test_row_09_first_of_two_video_streams(tmp_path, make):
    first = make.encode(tmp_path / "a.mp4", make.numbered(8, 48, 64))
    second = make.encode(tmp_path / "b.mp4", make.numbered(9, 96, 128, first=50))
    path = tmp_path / "two.mkv"
    make.ffmpeg("-i", first, "-i", second, "-map", 0, "-map", 1, "-c", "copy", path)
    info = video.probe(path)
    assert (info.height, info.width) == (48, 64)
    assert make.numbers(video.read(path)) == list(range(8))
