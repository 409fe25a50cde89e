"""Folders that are not as they should be: rows 17 and 18 of the table of faults."""

import os
import shutil
import warnings

import numpy as np
import pytest

import video
from video import VideoError, VideoFolder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """One small healthy clip, to be copied."""
    path = tmp_path_factory.mktemp("one") / "clip.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (24, 48, 64, 3), dtype=np.uint8)
    video.write(path, frames, fps=12)
    return path


@pytest.fixture
def fill(clip, tmp_path):
    """fill("a/x.mp4", ...) copies the clip to these names below a root, and returns the root."""

    def fill(*names, root=tmp_path / "root"):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif name.endswith(".mp4") or name.endswith(".MOV"):
                shutil.copyfile(clip, path)
            else:
                path.write_text("something else")
        return root

    return fill


def link(path, target):
    try:
        os.symlink(target, path, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("symbolic links are not allowed here")


def names(data):
    return [f"{path.parent.name}/{path.name}" for path, _ in data.samples]


def test_row17_root_missing_or_a_file(fill, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        VideoFolder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"x\.mp4: a file; expected a folder"):
        VideoFolder(fill("a/x.mp4") / "a" / "x.mp4")


def test_row17_class_with_no_clips(fill):
    root = fill("a/x.mp4", "b/x.mp4", "c/notes.txt")
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="root.c: a class with no clips; .*root.empty: a class"):
        VideoFolder(root)
    data = VideoFolder(root, on_error="skip")
    assert data.classes == ["a", "b", "c", "empty"]  # numbers do not depend on what is in them
    assert [(path.name, reason) for path, reason in data.skipped] == [
        ("c", "a class with no clips"),
        ("empty", "a class with no clips"),
    ]
    assert names(data) == ["a/x.mp4", "b/x.mp4"] and "2 skipped" in repr(data)


def test_row17_a_level_too_high(fill):
    with pytest.raises(ValueError, match="train: a class with no clips; it holds folders, so"):
        VideoFolder(fill("train/a/x.mp4", "train/b/x.mp4", "test/a/x.mp4"))


def test_row17_no_class(fill, tmp_path):
    with pytest.raises(ValueError, match="expected one folder per class, found README.txt$"):
        VideoFolder(fill("README.txt"))
    with pytest.raises(ValueError, match="expected one folder per class, found x.mp4, README.txt"):
        VideoFolder(fill("x.mp4"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="expected one folder per class, found nothing"):
        VideoFolder(tmp_path / "bare")
    (tmp_path / "hollow" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="hollow: no clips in a"):
        VideoFolder(tmp_path / "hollow", on_error="skip")


def test_row17_stray_clip_in_root(fill):
    root = fill("a/x.mp4", "b/x.mp4", "stray.mp4")
    with pytest.raises(ValueError, match=r"stray\.mp4: a clip outside the class folders"):
        VideoFolder(root)
    data = VideoFolder(root, on_error="skip")
    assert [path.name for path, _ in data.skipped] == ["stray.mp4"] and len(data) == 2


def test_row17_other_files_are_ignored_and_counted(fill):
    root = fill("README.txt", "a/x.mp4", "a/labels.csv", "a/deeper/y.mp4", "b/Y.MOV")
    data = VideoFolder(root)
    assert names(data) == ["a/x.mp4", "b/Y.MOV"]
    assert {(path.name, reason) for path, reason in data.ignored} == {
        ("README.txt", "not in a class folder"),
        ("labels.csv", "not a video file by its name"),
        ("deeper", "a folder inside a class folder"),
    }
    assert "3 other files ignored" in repr(data)


def test_row17_hidden_files_and_folders(fill):
    root = fill("a/x.mp4", "a/._x.mp4", "b/x.mp4", ".git/x.mp4", ".hidden.mp4")
    data = VideoFolder(root)
    assert data.classes == ["a", "b"] and names(data) == ["a/x.mp4", "b/x.mp4"]
    assert data.ignored == []


def test_row17_one_class(fill):
    root = fill("only/x.mp4")
    with pytest.warns(UserWarning, match="one class only, 'only'"):
        assert len(VideoFolder(root)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert VideoFolder(root, classes=["more", "only"]).samples[0][1] == 1


def test_row17_given_classes(fill):
    root = fill("a/x.mp4", "c/x.mp4")
    data = VideoFolder(root, classes=["c", "b", "a"])  # b has no clips here: allowed
    assert [label for _, label in data.samples] == [2, 0]
    with pytest.raises(ValueError, match=r"root.c: not one of the given classes \(a, b\)"):
        VideoFolder(root, classes=["a", "b"])
    with pytest.raises(ValueError, match="expected different names"):
        VideoFolder(root, classes=["a", "a", "c"])


def test_row17_symbolic_links(fill, tmp_path):
    root = fill("a/x.mp4", "b/x.mp4")
    outside = fill("c/secret.mp4", root=tmp_path / "elsewhere")
    link(root / "a" / "inside.mp4", root / "b" / "x.mp4")
    assert names(VideoFolder(root)) == ["a/inside.mp4", "a/x.mp4", "b/x.mp4"]

    link(root / "a" / "out.mp4", outside / "c" / "secret.mp4")
    link(root / "c", outside / "c")
    link(root / "b" / "lost.mp4", tmp_path / "gone.mp4")
    with pytest.raises(ValueError, match=r"out\.mp4: a link out of the folder, to .*elsewhere"):
        VideoFolder(root)
    data = VideoFolder(root, on_error="skip")
    assert sorted(path.name for path, _ in data.skipped) == ["c", "lost.mp4", "out.mp4"]
    assert data.classes == ["a", "b"] and len(data) == 3

    (root / "b" / "lost.mp4").unlink()
    data = VideoFolder(root, follow_links=True)
    assert data.classes == ["a", "b", "c"] and len(data) == 5
    link(tmp_path / "entrance", root)  # the root itself may be reached by a link
    assert len(VideoFolder(tmp_path / "entrance", on_error="skip")) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_row17_a_pipe_named_like_a_clip_is_no_clip(fill):
    root = fill("a/x.mp4", "b/x.mp4")
    os.mkfifo(root / "a" / "pipe.mp4")
    assert names(VideoFolder(root)) == ["a/x.mp4", "b/x.mp4"]


@pytest.fixture
def spoiled(fill):
    """Nine clips in two classes, two of them unreadable."""
    root = fill(*(f"a/{k}.mp4" for k in range(5)), *(f"b/{k}.mp4" for k in range(4)))
    (root / "a" / "3.mp4").write_bytes(b"")
    (root / "b" / "1.mp4").write_text("no video at all")
    return root


def test_row18_raise_names_every_bad_file_before_training(spoiled):
    data = VideoFolder(spoiled, frames=1, size=(8, 8))
    with pytest.raises(VideoError) as caught:
        data.check(progress=False)
    told = str(caught.value)
    assert "2 of 9 clips cannot be read" in told
    lines = told.splitlines()[1:]
    assert len(lines) == 2
    assert os.path.join("a", "3.mp4") in lines[0] and os.path.join("b", "1.mp4") in lines[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_row18_raise_names_the_file_when_it_is_met_unchecked(spoiled, workers):
    data = VideoFolder(spoiled, frames=1, size=(8, 8))
    with pytest.raises(VideoError, match=r"a.3\.mp4"):
        data[3]
    with pytest.raises(VideoError, match=r"a.3\.mp4"):
        list(video.DataLoader(data, 2, workers=workers))


def test_row18_skip_counts_and_lists(spoiled, tmp_path, capsys):
    data = VideoFolder(spoiled, 1, (8, 8), on_error="skip", cache=tmp_path / "cache")
    assert len(data) == 7 and "2 skipped" in repr(data)
    assert [path.name for path, _ in data.skipped] == ["3.mp4", "1.mp4"]
    assert all(path.name in reason for path, reason in data.skipped)
    assert sum(len(labels) for _, labels in video.DataLoader(data, 3)) == 7


def test_row18_a_class_that_loses_all_its_clips_keeps_its_number(fill):
    root = fill("a/x.mp4", "b/x.mp4", "c/x.mp4")
    (root / "b" / "x.mp4").write_bytes(b"")
    data = VideoFolder(root, 1, (8, 8), on_error="skip")
    assert data.classes == ["a", "b", "c"]
    assert [label for _, label in data.samples] == [0, 2]
    for name in "ac":
        (root / name / "x.mp4").write_bytes(b"")
    with pytest.raises(VideoError, match="none of 3 clips can be read"):
        VideoFolder(root, 1, (8, 8), on_error="skip")


@pytest.mark.filterwarnings("default")
def test_row18_damage_is_told_whenever_the_clip_is_decoded(fill, tmp_path):
    root = fill("a/x.mp4", "b/x.mp4")
    path = root / "a" / "x.mp4"
    data = bytearray(path.read_bytes())
    middle, tenth = len(data) // 2, len(data) // 10
    data[middle : middle + tenth] = bytes(tenth)
    path.write_bytes(data)

    cached = VideoFolder(root, 1, (8, 8), cache=tmp_path / "cache")
    for _ in range(2):  # a damaged clip is not kept, so it is told each time
        with pytest.warns(UserWarning, match=r"x\.mp4"):
            cached[0]
    cached.replace(frames=2)[1]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(VideoError, match=r"x\.mp4"):
        VideoFolder(root, on_damage="raise").check(progress=False)
    skipped = VideoFolder(root, on_error="skip", on_damage="raise").skipped
    assert [path.parent.name for path, _ in skipped] == ["a"]
