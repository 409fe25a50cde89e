"""The motion set: pairs of classes that only the direction of time tells apart."""

import json
from dataclasses import replace

import numpy as np
import pytest

import video
from video.sampling import uniform
from video.synthetic import (
    PAIRS,
    SEEN,
    UNSEEN,
    MotionWorld,
    ShapeMotionWorld,
    World,
    render,
    write_folder,
)
from video.synthetic.motion import path_length, pose, reverse

TINY = MotionWorld(size=(32, 32), frames=(7, 9))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion") / "clips"
    return write_folder(root, train=6, test=2, seed=4, world=TINY, progress=False)


def rows(root):
    return json.loads((root / "manifest.json").read_text(encoding="utf-8"))["clips"]


def test_there_are_at_least_ten_classes_in_pairs():
    world = MotionWorld()
    assert len(world.classes) == len(set(world.classes)) == 2 * len(PAIRS) >= 10
    for name in world.classes:
        assert world.partners[world.partners[name]] == name != world.partners[name]
    assert [world.scene(0, i).class_name for i in range(24)] == [*world.classes] * 2


def test_a_pair_is_one_scene_in_two_directions():
    for index in range(0, 36, 2):
        forth, back = TINY.scene(3, index), TINY.scene(3, index + 1)
        assert replace(back, backwards=False, class_name=forth.class_name) == forth
        a, b = render(forth), render(back)
        assert np.array_equal(a.frames, b.frames[::-1])
        assert np.array_equal(a.masks, b.masks[::-1])
        assert np.array_equal(a.positions, b.positions[::-1])
        assert not np.array_equal(a.frames, b.frames)


def test_files_of_a_pair_hold_the_same_pictures_in_reverse_order(drawn):
    """To the last bit: not even compression knows the direction."""
    files = {row["index"]: row for row in rows(drawn)}
    for index in [index for index in files if index % 2 == 0][::3]:
        forth, back = files[index], files[index + 1]
        assert (forth["class"], back["class"]) in PAIRS
        a, b = video.read(drawn / forth["file"]), video.read(drawn / back["file"])
        assert np.array_equal(a, b[::-1])


def test_a_quality_that_adapts_would_tell_the_direction(tmp_path):
    """Why the set is not written as other clips are."""
    frames = render(MotionWorld().scene(3, 0)).frames
    for name, clip in (("forth", frames), ("back", frames[::-1])):
        video.write(tmp_path / f"{name}.mp4", clip, fps=15)
    a, b = video.read(tmp_path / "forth.mp4"), video.read(tmp_path / "back.mp4")
    assert np.abs(a.astype(int) - b[::-1]).max() > 5


@pytest.mark.parametrize("n", [1, 3, 4, 8, 12, 16, 17])
def test_uniform_sampling_looks_at_the_same_frames_in_both_directions(n):
    for T in MotionWorld().frames:
        seen = uniform(T, n)
        assert sorted(T - 1 - seen) == seen.tolist()
    with pytest.raises(ValueError, match="odd"):
        MotionWorld(frames=(16,))


def bags(indices, unseen):
    """What frames say without their order, (N, D): of each pixel the mean, the deviation, the
    least and the greatest value over a clip; and the class of each clip."""
    clips = [render(TINY.scene(5, i, unseen)) for i in indices]
    x = [clip.frames[:, ::2, ::2].reshape(clip.scene.frames, -1) / 255 for clip in clips]
    features = [np.concatenate([f.mean(0), f.std(0), f.min(0), f.max(0)]) for f in x]
    return np.array(features), np.array([clip.scene.class_name for clip in clips])


def test_bags_of_frames_say_nothing_within_pairs():
    """A classifier of frame bags stays at chance where no scene is seen in both directions."""
    rng = np.random.default_rng(0)
    x, y = bags(2 * np.arange(72) + rng.integers(0, 2, 72), unseen=False)
    x_test, y_test = bags(2 * np.arange(5000, 5060) + rng.integers(0, 2, 60), unseen=True)
    right = []
    for features, label in zip(x_test, y_test, strict=True):
        gap = np.abs(x - features).sum(axis=1)
        own, other = gap[y == label].min(), gap[y == TINY.partners[label]].min()
        right.append(0.5 if np.isclose(own, other) else float(own < other))
    assert abs(np.mean(right) - 0.5) < 2 * 0.5 / np.sqrt(len(right))


def test_test_clips_wear_unseen_textures(drawn):
    for row in rows(drawn):
        scene = TINY.scene(4, row["index"], row["unseen"])
        used = {scene.background.pattern, *(thing.texture.pattern for thing in scene.objects)}
        assert used <= set(UNSEEN if row["file"].startswith("test/") else SEEN)


def test_objects_stay_in_the_frame_and_apart():
    world = MotionWorld(noise=(0.0, 0.0), shake=(0.0, 0.0))
    for index in range(0, 120, 2):
        scene = world.scene(8, index)
        s = np.linspace(0, 1, scene.frames)
        places = []
        for thing in scene.objects:
            down, right, scale = pose(thing.motion, s)
            assert (np.abs(down) + thing.radius * scale).max() < 0.5 + 1e-9
            assert (np.abs(right) + thing.radius * scale).max() < 0.5 + 1e-9
            places.append(np.stack([down, right]))
        if len(places) == 2:
            gap = np.hypot(*(places[0] - places[1])) - sum(o.radius for o in scene.objects)
            assert gap.min() > 0
            if scene.class_name == "meeting":
                assert gap[-1] == pytest.approx(gap.min()) and gap[0] > gap[-1] + 0.15


def test_the_circle_hops_first():
    index = 2 * PAIRS.index(("circle_then_cross", "cross_then_circle"))
    for backwards in (0, 1):
        clip = render(MotionWorld(shake=(0.0, 0.0)).scene(2, index + backwards))
        rise = clip.positions[0, :, 0] - clip.positions[:, :, 0]  # (T, 2)
        when = rise.argmax(axis=0)
        shapes = [thing.shape for thing in clip.scene.objects]
        assert shapes == ["circle", "cross"]
        assert (when[0] < when[1]) == (not backwards)
        hop = clip.scene.objects[0].motion
        assert path_length(hop) == 2 * hop.extent
        s = np.linspace(0, 1, 11)
        np.testing.assert_allclose(pose(reverse(hop), s), np.array(pose(hop, s))[:, ::-1])


def test_labels_of_a_reversed_scene_name_the_reversed_motion():
    forth, back = MotionWorld().scene(0, 0), MotionWorld().scene(0, 1)
    assert [label["motion"] for label in forth.labels()] == ["right"]
    assert [label["motion"] for label in back.labels()] == ["left"]


def test_other_worlds_are_stored_as_before():
    assert not getattr(World(), "intra_only", False)
    with pytest.raises(ValueError, match="pairs"):
        MotionWorld(pairs=(("left", "right"),))


# ---- shapes and motions -----------------------------------------------------------------


def test_a_class_is_a_shape_and_a_motion():
    world = ShapeMotionWorld(pairs=(("right", "left"), ("growing", "shrinking")))
    assert len(world.classes) == len(set(world.classes)) == 16
    for index in range(35):
        scene = world.scene(5, index)
        assert scene.class_name == world.classes[index % 16]
        (thing,) = scene.objects
        assert scene.class_name.startswith(thing.shape + "_")
        partner = world.scene(5, index ^ 1)  # the same scene in the other direction
        assert world.partners[scene.class_name] == partner.class_name
        assert np.array_equal(render(scene).frames, render(partner).frames[::-1])


def test_what_says_no_shape_is_refused():
    for wrong in ({"pairs": (("meeting", "parting"),)}, {"shapes": ("egg",)}, {"shapes": ()}):
        with pytest.raises(ValueError, match="ShapeMotionWorld"):
            ShapeMotionWorld(**wrong)


def test_their_files_tell_no_direction(tmp_path):
    world = ShapeMotionWorld(shapes=("star",), size=(32, 32), frames=(7,))
    root = write_folder(tmp_path / "clips", train=1, test=1, world=world, progress=False)
    forth, back = (video.read(next((root / "train" / name).iterdir())) for name in world.classes)
    assert np.array_equal(forth, back[::-1])
