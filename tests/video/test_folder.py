"""The folder as a data set: which clip, which frames, which label; cached or not."""

import os
import threading

import numpy as np
import pytest

import video
from video import transforms as tf
from video.cache import ClipCache, thin_out
from video.folder import VideoFolder

LENGTHS = {"left": (9, 12), "right": (5, 30), "Up": (11,)}
SHADE = 8  # gray levels from one frame to the next: far more than compression changes


def shaded(T, H=32, W=48):
    """T flat frames, the t-th of gray level SHADE * t, so that a frame tells its number."""
    levels = (SHADE * np.arange(T) % 256).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels[:, None, None, None], (T, H, W, 3)))


def numbers(clip):
    """The numbers of the frames that a clip consists of."""
    return np.rint(clip.mean(axis=(1, 2, 3)) / SHADE).astype(int).tolist()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for name, lengths in LENGTHS.items():
        (root / name).mkdir()
        for k, T in enumerate(lengths):
            video.write(root / name / f"take{k}.mp4", shaded(T), fps=20)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("decoded")


def test_classes_and_clips_come_in_the_order_of_their_names(root):
    data = VideoFolder(root)
    assert data.classes == ["Up", "left", "right"]  # by character: capitals first, everywhere
    assert [(path.parent.name, path.name, label) for path, label in data.samples] == [
        ("Up", "take0.mp4", 0),
        ("left", "take0.mp4", 1),
        ("left", "take1.mp4", 1),
        ("right", "take0.mp4", 2),
        ("right", "take1.mp4", 2),
    ]
    assert len(data) == 5
    assert "5 clips, 3 classes (Up 1, left 2, right 2)" in repr(data)


def test_an_example_is_a_clip_and_its_label(root, cache):
    data = VideoFolder(root, frames=4, size=(10, 14), cache=cache)
    clip, label = data[1]
    assert clip.shape == (4, 10, 14, 3) and clip.dtype == np.uint8 and label == 1
    assert numbers(clip) == [1, 3, 5, 7]  # the centres of four parts of nine frames
    clip[:] = 0  # an example is one's own, never a view of the cache
    assert numbers(data[1][0]) == [1, 3, 5, 7]
    assert data[-1][1] == 2
    with pytest.raises(IndexError, match="example 5 of 5"):
        data[5]


def test_evenly_spaced_frames_are_those_of_read(root):
    for frames in (1, 4, 7):
        for clip, (path, _) in zip(
            (VideoFolder(root, frames=frames)[i][0] for i in (1, 3)),
            (VideoFolder(root).samples[i] for i in (1, 3)),
            strict=True,
        ):
            np.testing.assert_array_equal(clip, video.read(path, size=(64, 64), frames=frames))


@pytest.mark.parametrize("sampling", ["uniform", "random", "dense"])
def test_the_cache_changes_nothing(root, cache, sampling):
    options = {"frames": 3, "size": (8, 12), "sampling": sampling, "longest": 16, "seed": 4}
    plain = VideoFolder(root, **options)
    cached = VideoFolder(root, cache=cache, **options)
    for i in (1, 4):
        for epoch in (0, 1, 2):
            expected = plain.example(i, epoch)
            for _ in range(2):  # once decoded, once from the cache
                got = cached.example(i, epoch)
                np.testing.assert_array_equal(got[0], expected[0])
                assert got[1] == expected[1]


def test_draws_follow_from_seed_epoch_and_index_alone(root, cache):
    jitter = tf.ColorJitter(brightness=0.5)
    data = VideoFolder(root, 2, (8, 8), "random", jitter, cache=cache, seed=1)
    first = [data.example(i, epoch)[0] for epoch in range(3) for i in range(5)]
    again = [data.example(i, epoch)[0] for epoch in (2, 1, 0) for i in (4, 3, 2, 1, 0)][::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(data[3][0], data.example(3, 0)[0])
    assert not np.array_equal(data.example(4, 0)[0], data.example(4, 1)[0])
    other = data.replace(seed=2)
    assert any(not np.array_equal(other[i][0], data[i][0]) for i in range(5))


def test_one_random_frame_per_visit_meets_all_times(root, cache):
    data = VideoFolder(root, 1, (8, 8), "random", cache=cache)
    seen = {numbers(data.example(1, epoch)[0])[0] for epoch in range(80)}
    assert seen == set(range(9))


def test_long_clips_are_thinned_out_by_powers_of_two(root, cache):
    data = VideoFolder(root, 8, (8, 8), longest=8, cache=cache)
    assert numbers(data[4][0]) == [0, 4, 8, 12, 16, 20, 24, 28]  # of 30 frames
    for T in range(1, 70):
        for longest in (1, 2, 5, 8):
            step = 1
            while len(range(0, T, step)) > longest:
                step *= 2
            expected = list(range(0, T, step))
            got = thin_out((np.array([t]) for t in range(T)), longest)
            assert got.ravel().tolist() == expected


def test_a_view_has_other_options_and_the_same_clips(root, cache):
    train = VideoFolder(root, 1, (8, 8), "random", tf.ToFloat(), cache=cache)
    test = train.replace(sampling="uniform", frames=6, transform=None)
    assert train[1][0].shape == (1, 8, 8, 3) and train[1][0].dtype == np.float32
    assert test[1][0].shape == (6, 8, 8, 3) and test[1][0].dtype == np.uint8
    assert test.samples == train.samples and test.classes == train.classes
    with pytest.raises(TypeError, match="replace takes frames, .*; not colour"):
        train.replace(colour="gray")
    with pytest.raises(ValueError, match="frames: expected a whole number"):
        train.replace(frames=0)
    with pytest.raises(ValueError, match=r"size: expected \(height, width\) or None, got 64"):
        train.replace(size=64)
    with pytest.raises(ValueError, match="uniform, random, dense"):
        train.replace(sampling="all")


def test_parts_of_a_split_are_folders_too(root, cache):
    data = VideoFolder(root, 1, (8, 8), cache=cache)
    with pytest.warns(UserWarning, match="no clip of"):
        train, test = video.split(data, (0.6, 0.4), group="^take.")
    assert sorted(train.samples + test.samples) == sorted(data.samples)
    assert {path.name for path, _ in train.samples}.isdisjoint(p.name for p, _ in test.samples)
    assert test.classes == data.classes
    assert test.replace(frames=2)[0][0].shape == (2, 8, 8, 3)


def test_a_flip_may_change_the_class(root, cache):
    flip = tf.RandomHorizontalFlip(0.5, swap={"left": "right"})
    data = VideoFolder(root, 1, (8, 8), transform=flip, cache=cache)
    assert {data.example(1, epoch)[1] for epoch in range(20)} == {1, 2}
    assert {data.example(0, epoch)[1] for epoch in range(20)} == {0}  # Up stays Up
    with pytest.raises(ValueError, match="speaks of lfet; the classes are Up, left, right"):
        data.replace(transform=tf.Compose([tf.RandomHorizontalFlip(0.5, {"lfet": "right"})]))


def test_a_plain_function_is_a_transform_and_its_refusal_names_the_file(root, cache):
    data = VideoFolder(root, 2, (8, 8), transform=lambda clip, rng: clip[:, :4], cache=cache)
    assert data[0][0].shape == (2, 4, 8, 3)
    with pytest.raises(ValueError, match=r"left.take0\.mp4: CenterCrop.* smaller than the crop"):
        data.replace(transform=tf.CenterCrop(9))[1]


def test_frame_rates_are_brought_together_on_request(root):
    clip, _ = VideoFolder(root, 15, (8, 8), fps=10)[4]  # 30 frames of 20 per second
    assert clip.shape[0] == 15
    steps = np.diff(numbers(clip))
    assert steps.min() >= 1 and abs(steps.mean() - 2) < 0.2


def test_native_sizes_and_the_loader(root, cache, tmp_path):
    assert VideoFolder(root, 1, None, cache=cache)[0][0].shape == (1, 32, 48, 3)
    loader = video.DataLoader(VideoFolder(root, 2, (8, 8), cache=cache), 3, shuffle=True)
    got = [(clips.shape, labels.dtype) for clips, labels in loader]
    assert got == [((3, 2, 8, 8, 3), np.int64), ((2, 2, 8, 8, 3), np.int64)]


def test_a_changed_clip_is_decoded_anew(tmp_path):
    path = tmp_path / "clips" / "a" / "x.mp4"
    path.parent.mkdir(parents=True)
    video.write(path, shaded(4, 16, 16), fps=10)
    options = {"frames": 1, "size": (8, 8), "cache": tmp_path / "cache", "classes": ["a"]}
    assert numbers(VideoFolder(tmp_path / "clips", **options)[0][0]) == [2]
    video.write(path, shaded(20, 16, 16), fps=10)
    assert numbers(VideoFolder(tmp_path / "clips", **options)[0][0]) == [10]
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    VideoFolder(tmp_path / "clips", **options)[0]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_options_of_the_reader_are_kept_apart_and_broken_files_are_replaced(root, tmp_path):
    for options in ({}, {"size": (6, 8)}, {"fps": 5}, {"longest": 4}, {"frames": 2}):
        VideoFolder(root, **({"frames": 3, "size": (8, 8)} | options), cache=tmp_path)[1]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4  # `frames` is no option of the reader
    expected = VideoFolder(root, 3, (8, 8), cache=tmp_path)[1][0]
    for k, file in enumerate(files):  # cut short, emptied, filled with something else
        whole = file.read_bytes()
        file.write_bytes([whole[: len(whole) // 2], b"", b"not an array", whole[:30]][k])
    got = VideoFolder(root, 3, (8, 8), cache=tmp_path)[1][0]
    np.testing.assert_array_equal(got, expected)
    assert sorted(tmp_path.iterdir()) == files  # and no temporary file stays


def test_many_threads_may_fill_one_cache(root, tmp_path):
    data = VideoFolder(root, 3, (8, 8), cache=tmp_path)
    expected = VideoFolder(root, 3, (8, 8))[3][0]
    got = []
    readers = [threading.Thread(target=lambda: got.append(data[3][0])) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(got) == 6 and all(np.array_equal(clip, expected) for clip in got)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cache_that_cannot_be_written_costs_speed_only(root, tmp_path, monkeypatch):
    data = VideoFolder(root, 3, (8, 8), cache=tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.warns(UserWarning, match="decoded clip not kept: .*No space left"):
        assert data[1][0].shape == (3, 8, 8, 3)
    assert list(tmp_path.iterdir()) == []


def test_check_fills_the_cache(root, tmp_path):
    data = VideoFolder(root, 1, (8, 8), cache=tmp_path)
    assert data.check(progress=False) is data
    assert len(list(tmp_path.glob("*.npy"))) == 5
    ClipCache(tmp_path)  # an existing folder is taken over
