"""Folders of drawn clips: whole, the same each time, gone on with when interrupted."""

import json
import time
from collections import Counter

import numpy as np
import pytest

import video
from video.synthetic import SEEN, UNSEEN, World, draw, folders, write_folder

TINY = World(
    shapes=("circle", "star", "cross"),
    sizes=((32, 32), (32, 48)),
    frame_rates=(12, 25),
    seconds=(0.3, 0.5),
    noise=(0.0, 1.0),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "clips"
    assert write_folder(root, train=3, test=2, seed=6, world=TINY, progress=False) == root
    return root


def rows(root):
    return json.loads((root / folders.MANIFEST).read_text(encoding="utf-8"))["clips"]


def clips_in(root):
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*.mp4")}


def test_folder_holds_what_its_manifest_says(drawn):
    assert set(clips_in(drawn)) == {row["file"] for row in rows(drawn)}
    assert not list(drawn.rglob(".*")) and not list(drawn.rglob("*.part"))
    counts = Counter((row["file"].split("/")[0], row["class"]) for row in rows(drawn))
    per_class = {("train", name): 3 for name in TINY.shapes}
    assert counts == per_class | {("test", name): 2 for name in TINY.shapes}
    assert len({row["index"] for row in rows(drawn)}) == len(rows(drawn))


def test_files_show_the_drawn_frames(drawn):
    for row in rows(drawn):
        clip = draw(6, row["index"], TINY, row["unseen"])
        info = video.probe(drawn / row["file"])
        assert info.fps == pytest.approx(row["fps"], rel=1e-3)
        frames = video.read(drawn / row["file"])
        assert frames.shape == clip.frames.shape == (row["frames"], *row["size"], 3)
        assert row["objects"][0]["shape"] == row["class"] == clip.scene.class_name
        # H.264 loses something: colour at half resolution most of all, and noise.
        brightness = frames.mean(axis=-1), clip.frames.mean(axis=-1)
        assert np.abs(np.subtract(*brightness)).mean() < 8
        assert np.corrcoef(brightness[0].ravel(), brightness[1].ravel())[0, 1] > 0.97


def test_test_clips_wear_unseen_textures(drawn):
    for row in rows(drawn):
        scene = TINY.scene(6, row["index"], row["unseen"])
        used = {scene.background.pattern, scene.objects[0].texture.pattern}
        assert used <= set(UNSEEN if row["file"].startswith("test/") else SEEN)


def test_more_training_clips_leave_the_others_as_they_are():
    few, many = folders._plan(TINY, 6, 2, 2), folders._plan(TINY, 6, 5, 2)
    kept = [row for row in many if row in few]
    assert kept == few and len(many) == len(few) + 9


def test_complete_folder_is_left_alone(drawn, monkeypatch):
    def nothing(*_, **__):
        raise AssertionError("drawn again")

    monkeypatch.setattr(folders, "write", nothing)
    write_folder(drawn, train=3, test=2, seed=6, world=TINY, progress=False)


def test_lost_file_is_drawn_again(tmp_path, monkeypatch):
    options = {"train": 1, "test": 1, "world": TINY, "progress": False}
    write_folder(tmp_path, **options)
    before = {name: path.stat().st_mtime_ns for name, path in clips_in(tmp_path).items()}
    lost = sorted(before)[2]
    frames = video.read(tmp_path / lost)
    (tmp_path / lost).unlink()

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "write", fail)
        with pytest.raises(OSError, match="disk full"):
            write_folder(tmp_path, **options)
    assert not (tmp_path / folders.MANIFEST).exists()  # it would claim to be complete
    write_folder(tmp_path, **options)
    after = {name: path.stat().st_mtime_ns for name, path in clips_in(tmp_path).items()}
    assert {name for name in after if before[name] != after[name]} == {lost}
    np.testing.assert_array_equal(video.read(tmp_path / lost), frames)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_interrupted_folder_is_gone_on_with(tmp_path, monkeypatch, stop):
    options = {"train": 2, "test": 1, "seed": 2, "world": TINY, "workers": 1, "progress": False}
    whole_write, written, refused = folders.write, [], []

    def break_off(path, *arguments, **settings):
        if len(written) == 4:
            time.sleep(0.2 * len(refused))  # the time it takes to call off the others
            refused.append(path)
            raise stop
        written.append(path)
        whole_write(path, *arguments, **settings)

    monkeypatch.setattr(folders, "write", break_off)
    with pytest.raises(stop):
        write_folder(tmp_path, **options)
    assert len(refused) < 4  # of 5 that were left
    assert not (tmp_path / folders.MANIFEST).exists()
    assert set(clips_in(tmp_path).values()) == set(written) and len(written) == 4

    def carry_on(path, *arguments, **settings):
        assert path not in written
        whole_write(path, *arguments, **settings)

    monkeypatch.setattr(folders, "write", carry_on)
    write_folder(tmp_path, **options)
    assert set(clips_in(tmp_path)) == {row["file"] for row in rows(tmp_path)}
    assert not list(tmp_path.rglob(".*"))


def test_other_settings_never_mix(drawn):
    before = sorted(clips_in(drawn))
    with pytest.raises(FileExistsError, match="another seed; delete"):
        write_folder(drawn, train=3, test=2, seed=7, world=TINY, progress=False)
    with pytest.raises(FileExistsError, match="another train, world"):
        write_folder(drawn, train=4, test=2, seed=6, world=World(), progress=False)
    assert sorted(clips_in(drawn)) == before


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "train" / "cats").mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"train: exists, but no manifest"):
        write_folder(tmp_path, world=TINY, progress=False)
    (tmp_path / folders.MANIFEST).write_text('{"name": "an app"}', encoding="utf-8")
    with pytest.raises(FileExistsError, match="not a manifest"):
        write_folder(tmp_path, world=TINY, progress=False)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["cats", "manifest.json", "train"]


def test_counts_are_checked(tmp_path):
    with pytest.raises(ValueError, match="test must be at least 1 clip a class, got 0"):
        write_folder(tmp_path / "clips", test=0, world=TINY)
    assert not (tmp_path / "clips").exists()
