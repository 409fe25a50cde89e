"""The synthetic world: what it draws is what it says it draws."""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from video.synthetic import (
    BACKWARDS,
    COLOURS,
    MOTIONS,
    SEEN,
    SHAPES,
    UNSEEN,
    Motion,
    Object,
    Scene,
    Texture,
    World,
    draw,
    render,
    reverse,
)
from video.synthetic.camera import Light, Shake, brightness, sway
from video.synthetic.motion import draw_motion, path_length, pose
from video.synthetic.shapes import coverage
from video.synthetic.textures import mix, paint, unlike

SMALL = World(sizes=((34, 46), (46, 34), (40, 40)), seconds=(0.5, 0.8))


def plain(colour, pattern="stripes"):
    """A texture whose two colours are one."""
    return Texture(pattern, 0.2, 0.3, (0.1, 0.2), (colour, colour), 0)


def still_scene(**options):
    thing = Object("heart", "red", plain((250, 0, 0)), Motion("still", (0.05, -0.1), 0.0), 0.3, 0.4)
    options = {
        "size": (60, 84),
        "frames": 3,
        "fps": 10,
        "class_name": "heart",
        "objects": (thing,),
        "background": plain((0, 90, 0)),
    } | options
    return Scene(**options)


# --- shapes ---


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_its_centroid_at_the_origin_and_fits_the_unit_circle(shape):
    grid = (np.arange(1201) - 600) / 500
    rows, columns = np.nonzero(SHAPES[shape](grid[:, None], grid[None, :]) < 0)
    y, x = grid[rows], grid[columns]
    assert abs(y.mean()) < 2e-3 and abs(x.mean()) < 2e-3
    assert 0.99 < np.hypot(y, x).max() <= 1.001


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_slope_one_at_its_edge(shape):
    """Otherwise the soft edge is wider than a pixel, or ragged."""
    grid, step = np.linspace(-1.1, 1.1, 331), 1e-6
    y, x = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    d = SHAPES[shape]
    near = np.abs(d(y, x)) < 0.02
    down = (d(y + step, x) - d(y - step, x))[near] / (2 * step)
    right = (d(y, x + step) - d(y, x - step))[near] / (2 * step)
    assert near.sum() > 200
    # Corners, where two edges meet, have no slope of their own.
    assert np.mean(np.abs(np.hypot(down, right) - 1) < 1e-3) > 0.98


def test_coverage_of_a_circle_sums_to_its_area():
    y, x = (np.arange(81) - 40)[:, None] / 27.3, (np.arange(81) - 40)[None, :] / 27.3
    covered = coverage("circle", y, x, 27.3)
    assert ((covered > 0) & (covered < 1)).any()
    np.testing.assert_allclose(covered.sum(), np.pi * 27.3**2, rtol=2e-3)


# --- textures ---


def test_seen_and_unseen_textures_are_disjoint():
    assert SEEN and UNSEEN
    assert not set(SEEN) & set(UNSEEN)
    assert not set(SEEN.values()) & set(UNSEEN.values())
    for index in range(40):
        for unseen, allowed in ((False, SEEN), (True, UNSEEN)):
            scene = SMALL.scene(3, index, unseen)
            used = {scene.background.pattern, *(thing.texture.pattern for thing in scene.objects)}
            assert used <= set(allowed)


@pytest.mark.parametrize("name", [*SEEN, *UNSEEN])
def test_texture_varies_and_stays_between_its_two_colours(name):
    y, x = np.linspace(-0.5, 0.5, 57)[:, None], np.linspace(-0.7, 0.7, 73)[None, :]
    first, second = (10, 200, 30), (110, 50, 30)
    image = paint(Texture(name, 0.21, 0.8, (1.3, 0.4), (first, second), 5), y, x)
    assert image.shape == (57, 73, 3)
    share = (image[..., 0] - 10) / 100
    assert share.min() >= -1e-5 and share.max() <= 1 + 1e-5 and share.std() > 0.1
    np.testing.assert_allclose(image[..., 1], 200 - 150 * share, atol=1e-2)
    np.testing.assert_allclose(image[..., 2], 30, atol=1e-3)


@pytest.mark.parametrize("name", [*SEEN, *UNSEEN])
def test_texture_is_a_function_of_the_place(name):
    """A part drawn alone is the same part: so a texture moves without changing."""
    texture = Texture(name, 0.17, 1.1, (0.3, 2.4), ((0, 0, 0), (255, 255, 255)), 7)
    y, x = np.linspace(-0.5, 0.5, 31)[:, None], np.linspace(-0.5, 0.5, 29)[None, :]
    np.testing.assert_array_equal(
        paint(texture, y, x)[4:9, 11:20], paint(texture, y[4:9], x[:, 11:20])
    )


@pytest.mark.parametrize("name", [*SEEN, *UNSEEN])
def test_texture_turns_clockwise_as_a_whole(name):
    straight = Texture(name, 0.23, 0.0, (0.3, 1.4), ((0, 0, 0), (255, 255, 255)), 7)
    down, right = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 200, 1))
    # Turned by a quarter and a half quarter: what was to the right is now below, and so on.
    cos, sin = np.cos(3 * np.pi / 8), np.sin(3 * np.pi / 8)
    turned = paint(
        replace(straight, angle=3 * np.pi / 8), sin * right + cos * down, cos * right - sin * down
    )
    np.testing.assert_allclose(turned, paint(straight, down, right), atol=0.01)


def test_background_colours_differ_from_the_objects():
    for name in COLOURS:
        others = unlike(name)
        assert others and name not in others
        assert all(np.linalg.norm(np.subtract(COLOURS[k], COLOURS[name])) >= 120 for k in others)
    assert mix((10, 20, 30), (110, 20, 0), 0.25) == (35, 20, 22.5)


# --- motions ---


@pytest.mark.parametrize("name", MOTIONS)
def test_reverse_is_the_motion_played_backwards(name):
    motion = Motion(name, (0.03, -0.07), 0.35, 0.9)
    s = np.linspace(0, 1, 13)
    np.testing.assert_allclose(
        pose(reverse(motion), s), np.array(pose(motion, s))[:, ::-1], atol=1e-12
    )
    assert reverse(reverse(motion)) == motion


def test_directions_are_what_their_names_say():
    start, later = 0.0, 0.1
    moved = {}
    for name in MOTIONS:
        a, b = (np.array(pose(Motion(name, (0.0, 0.0), 0.4, 0.0), s)) for s in (start, later))
        moved[name] = b - a  # (down, right, scale)
    assert moved["left"][1] < 0 < moved["right"][1]
    assert moved["up"][0] < 0 < moved["down"][0]
    assert moved["shrinking"][2] < 0 < moved["growing"][2]
    assert moved["bounce"][0] < 0  # off the ground
    # A circle begun at its top: clockwise goes right, and down.
    assert moved["clockwise"][1] > 0 and moved["clockwise"][0] > 0
    assert moved["anticlockwise"][1] < 0 and moved["anticlockwise"][0] > 0
    assert not moved["still"].any()
    assert set(MOTIONS) == {"still", "bounce", *BACKWARDS, *BACKWARDS.values()}


@pytest.mark.parametrize("name", MOTIONS)
def test_path_length_and_room(name):
    rng = np.random.default_rng(11)
    s = np.linspace(0, 1, 4001)
    for _ in range(20):
        room = tuple(rng.uniform(0.05, 0.4, 2))
        motion = draw_motion(rng, name, room)
        down, right, scale = pose(motion, s)
        assert np.abs(down).max() <= room[0] + 1e-9 and np.abs(right).max() <= room[1] + 1e-9
        assert scale.min() > 0.4 and scale.max() <= 1
        travelled = np.hypot(np.diff(down), np.diff(right)).sum()
        np.testing.assert_allclose(path_length(motion), travelled, rtol=1e-4, atol=1e-12)


def test_unknown_motion_is_named():
    with pytest.raises(ValueError, match="'sideways'.*clockwise"):
        pose(Motion("sideways", (0, 0), 0.1), 0.5)


@pytest.mark.parametrize("back, forward", BACKWARDS.items())
def test_reversed_clip_is_the_clip_of_the_reversed_motion(back, forward):
    """Pixel by pixel, where nothing but the object moves."""
    scene = still_scene(frames=5)
    thing = scene.objects[0]
    clips = [
        render(
            replace(scene, objects=(replace(thing, motion=Motion(name, (0.02, 0.01), 0.3, 0.7)),))
        )
        for name in (back, forward)
    ]
    assert np.abs(np.diff(clips[0].frames.astype(int), axis=0)).max() > 50
    difference = clips[0].frames.astype(int) - clips[1].frames[::-1]
    assert np.abs(difference).max() <= 1  # rounding
    np.testing.assert_allclose(clips[0].positions, clips[1].positions[::-1], atol=1e-9)


# --- camera ---


def test_shake_and_light():
    t = np.arange(200) / 25
    shake = Shake(0.02, ((0.5, 3.0), (0.8, 2.2)), ((0.1, 0.2), (1.0, 2.0)))
    moved = sway(shake, t)
    assert moved.shape == (200, 2) and 0.012 < np.abs(moved).max() <= 0.02
    assert not np.allclose(moved[:, 0], moved[:, 1])
    assert not sway(Shake(), t).any()
    light = Light(swing=0.2, rate=1.0, phase=0.0, slope=(0.0, 0.5))
    y, x = np.zeros((3, 1)), np.array([[-0.4, 0.0, 0.4]])
    np.testing.assert_allclose(brightness(light, 0.25, y, x)[1], [0.96, 1.2, 1.44])
    np.testing.assert_allclose(brightness(light, 0.75, y, x)[1], [0.64, 0.8, 0.96])


def test_shake_moves_the_whole_picture():
    """A pixel of shake is a pixel of everything, the background too."""
    texture = Texture("clouds", 0.3, 0.0, (0, 0), ((0, 0, 0), (255, 255, 255)), 3)
    scene = still_scene(background=texture)
    up, right = ((-np.pi / 2, -np.pi / 2), (np.pi / 2, np.pi / 2))
    shake = Shake(1 / 60, ((0, 0), (0, 0)), (up, right))
    before, after = render(scene), render(replace(scene, shake=shake))
    shifted = after.frames[:, :-1, 1:].astype(int) - before.frames[:, 1:, :-1]
    assert np.abs(shifted).max() <= 1
    np.testing.assert_allclose(after.positions, before.positions + [-1, 1])


def test_background_drifts():
    """Two pixels down and one to the left for each frame, and the object stays."""
    texture = Texture("clouds", 0.3, 0.0, (0, 0), ((0, 0, 0), (255, 255, 255)), 3)
    clip = render(still_scene(background=texture, drift=(2 * 10 / 60, -1 * 10 / 60)))
    frames = clip.frames.astype(int)
    assert np.abs(frames[1, 2:12, :-1] - frames[0, :10, 1:]).max() <= 1
    assert np.abs(frames[2, 4:12, :-2] - frames[0, :8, 2:]).max() <= 1
    assert frames[0, :12].std() > 20 and not clip.masks[:, :12].any()
    assert (clip.positions == clip.positions[0]).all()


# --- scenes ---


def test_still_scene_pixel_by_pixel():
    clip = render(still_scene())
    assert clip.frames.shape == (3, 60, 84, 3) and clip.frames.dtype == np.uint8
    assert clip.masks.shape == (3, 60, 84) and clip.masks.dtype == np.uint8
    assert clip.positions.shape == (3, 1, 2)
    red, green = clip.frames[..., 0], clip.frames[..., 1]
    clear = red != 125  # half covered, to within rounding: either answer is right
    np.testing.assert_array_equal(clip.masks[clear], red[clear] > 125)
    assert set(np.unique(green[clip.masks == 0])) > {90}  # the soft edge
    np.testing.assert_allclose(red / 250 + green / 90, 1, atol=0.02)  # shares sum to one
    assert clip.positions[0, 0].tolist() == [0.05 * 60 + 29.5, -0.1 * 60 + 41.5]


def test_later_objects_lie_over_earlier_ones():
    def disc(colour, right):
        return Object("circle", "blue", plain(colour), Motion("still", (0.0, right), 0.0), 0.3)

    clip = render(still_scene(objects=(disc((9, 9, 9), -0.15), disc((200, 200, 200), 0.15))))
    assert set(np.unique(clip.masks)) == {0, 1, 2}
    assert clip.masks[0, 30, 42] == 2 and clip.frames[0, 30, 42].tolist() == [200, 200, 200]
    assert clip.masks[0, 30, 20] == 1 and clip.frames[0, 30, 20].tolist() == [9, 9, 9]
    assert clip.positions[0].tolist() == [[29.5, 32.5], [29.5, 50.5]]
    # Moved so far that it leaves the frame, an object leaves no trace, and raises nothing.
    gone = render(still_scene(objects=(disc((9, 9, 9), -3.0),)))
    assert not gone.masks.any() and (gone.frames == [0, 90, 0]).all()


@pytest.mark.parametrize("index", range(16))
def test_masks_and_positions_agree_with_what_is_drawn(index):
    clip = draw(5, index, SMALL, unseen=index % 2 == 1)
    empty = render(replace(clip.scene, objects=()))
    T, H, W = clip.masks.shape
    inside = clip.masks == 1
    changed = (clip.frames != empty.frames).any(axis=-1)
    # Rounding aside an object's pixel differs; its soft edge reaches a pixel over the mask, and
    # 0.5 / sin(half its angle) pixels over a sharp corner, of which the mask lacks the very tip.
    assert changed[inside].mean() > 0.99
    r = {"star": 2, "triangle": 2, "crescent": 3}.get(clip.scene.objects[0].shape, 1)
    around = np.zeros_like(inside)
    padded = np.pad(inside, ((0, 0), (r, r), (r, r)))
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            around |= padded[:, i : i + H, j : j + W]
    assert not changed[~around].any()
    # Nothing of the object leaves the frame, so that its mask is whole.
    rim = np.ones((H, W), bool)
    rim[1:-1, 1:-1] = False
    assert not inside[:, rim].any()
    for t in range(T):
        centroid = np.argwhere(inside[t]).mean(axis=0)
        assert np.abs(centroid - clip.positions[t, 0]).max() < 0.7


def test_objects_that_wander_stay_in_the_frame():
    """However large they are and however far they may go."""
    world = replace(SMALL, wander=0.9, diameter=(0.3, 0.9), shake=(0.0, 0.04))
    nearest = []
    for index in range(60):
        scene = replace(world.scene(2, index), frames=7)
        H, W = scene.size
        middle, radius = render(scene).positions[:, 0], scene.objects[0].radius * H
        # The frame reaches half a pixel over the centres of its outermost pixels.
        nearest += [(middle - radius).min() + 0.5, (np.array([H, W]) - 0.5 - middle - radius).min()]
    assert min(nearest) > -1e-9
    assert np.median(nearest) < 4  # pixels: they do come near


def test_noise_has_the_size_asked_for():
    grey = plain((128, 128, 128))
    frames = render(still_scene(objects=(), background=grey, noise=6.0, noise_seed=4)).frames
    assert 5.8 < frames.std() < 6.2 and 127.5 < frames.mean() < 128.5
    assert (frames[0] != frames[1]).any()


# --- the world ---


def test_clip_is_a_function_of_seed_and_index():
    orders = (range(6), reversed(range(6)))
    with ThreadPoolExecutor(2) as pool:
        forth, back = (list(pool.map(lambda i: draw(7, i, SMALL), order)) for order in orders)
    for a, b in zip(forth, reversed(back), strict=True):
        assert a.scene == b.scene
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.masks, b.masks)
        np.testing.assert_array_equal(a.positions, b.positions)
    assert draw(8, 0, SMALL).scene != forth[0].scene
    assert len({repr(clip.scene) for clip in forth}) == 6


def test_another_process_draws_the_same_scene():
    """Whatever the order in which Python hashes strings."""
    code = "from video.synthetic import World; print([World().scene(2, i) for i in range(9)])"
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "123", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip() == repr([World().scene(2, i) for i in range(9)])


@pytest.mark.parametrize("label", ["shape", "motion", "colour"])
def test_classes_are_balanced_and_named_by_the_label(label):
    world = World(label=label)
    K = len(world.classes)
    scenes = [world.scene(1, index) for index in range(3 * K)]
    assert Counter(scene.class_name for scene in scenes) == dict.fromkeys(world.classes, 3)
    assert all(scene.labels()[0][label] == scene.class_name for scene in scenes)


def test_only_the_label_depends_on_the_class():
    """Two worlds that differ in their order of classes draw the same clips otherwise."""
    world, other = World(), World(shapes=tuple(reversed(SHAPES)))
    for index in range(20):
        a, b = world.scene(4, index), other.scene(4, index)
        assert a.class_name != b.class_name
        same = replace(a.objects[0], shape=b.class_name)
        assert replace(a, class_name=b.class_name, objects=(same,)) == b


def test_clips_vary_in_all_that_is_not_the_class():
    scenes = [World().scene(0, index) for index in range(200)]
    things = [scene.objects[0] for scene in scenes]
    assert {scene.size for scene in scenes} == set(World().sizes)
    assert {scene.fps for scene in scenes} == set(World().frame_rates)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.motion.name for thing in things} == set(MOTIONS)
    assert {thing.texture.pattern for thing in things} == set(SEEN)
    assert all(0.95 <= scene.seconds <= 2.05 for scene in scenes)
    for quantity in (
        [thing.radius for thing in things],
        [scene.noise for scene in scenes],
        [scene.shake.size for scene in scenes],
        [scene.light.swing for scene in scenes],
        [np.hypot(*scene.drift) for scene in scenes],
        [scene.labels()[0]["speed"] for scene in scenes],
    ):
        assert np.std(quantity) > 0.2 * np.mean(quantity) or np.ptp(quantity) > 0.05


def test_speed_is_path_over_time():
    scene = still_scene(frames=20, fps=10)
    motion = Motion("clockwise", (0.0, 0.0), 0.2)
    scene = replace(scene, objects=(replace(scene.objects[0], motion=motion),))
    (label,) = scene.labels()
    assert label == {
        "shape": "heart",
        "colour": "red",
        "motion": "clockwise",
        "speed": pytest.approx(np.pi * 0.2 / 2.0),
    }
