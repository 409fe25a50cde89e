"""Transforms against plain loops; and one draw for clip, mask and label."""

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video import transforms as tf

sizes = st.integers(1, 13)


def clip_of(rng, T=3, H=9, W=11, C=3):
    return rng.integers(0, 256, (T, H, W, C), dtype=np.uint8)


def resized_axis(x, n_out):
    """`Resize` along the first axis as its docstring has it, pixel by pixel."""
    n_in = len(x)
    s = n_in / n_out
    y = np.zeros((n_out, *x.shape[1:]))
    for o in range(n_out):
        total = 0.0
        for i in range(n_in):
            w = max(0.0, 1 - abs(i + 0.5 - (o + 0.5) * s) / max(1, s))
            y[o] += w * x[i]
            total += w
        y[o] /= total
    return y


@settings(deadline=None)
@given(sizes, sizes, sizes, sizes, st.sampled_from([1, 3, 4]), st.integers(0, 10**6))
def test_resize_is_its_formula(H, W, H_out, W_out, C, seed):
    x = np.random.default_rng(seed).normal(size=(2, H, W, C))
    y = tf.Resize((H_out, W_out))(x)
    expected = resized_axis(x.transpose(1, 2, 0, 3), H_out)
    expected = resized_axis(expected.transpose(1, 0, 2, 3), W_out).transpose(2, 1, 0, 3)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_resize_keeps_uint8_flat_colours_and_ramps():
    flat = np.full((2, 7, 5, 3), 201, np.uint8)
    assert tf.Resize((3, 11))(flat).dtype == np.uint8
    assert (tf.Resize((3, 11))(flat) == 201).all()
    ramp = np.arange(8.0)[None, :, None, None] * np.ones((1, 1, 6, 1))
    halved = tf.Resize((4, 6))(ramp)[0, :, 0, 0]
    np.testing.assert_allclose(halved[1:3], [2.5, 4.5])  # pairs (2, 3) and (4, 5)


def test_resize_moves_masks_by_the_nearest_pixel():
    mask = np.array([[[0, 7], [3, 11]]], np.uint8)
    clip = np.zeros((1, 2, 2, 3), np.uint8)
    _, grown = tf.Resize((4, 6))(clip, mask=mask)
    assert grown.tolist() == [np.repeat(np.repeat(mask[0], 2, 0), 3, 1).tolist()]
    big = np.arange(60).reshape(1, 6, 10)
    _, small = tf.Resize((2, 5))(np.zeros((1, 6, 10, 1), np.uint8), mask=big)
    assert small[0].tolist() == [[11, 13, 15, 17, 19], [41, 43, 45, 47, 49]]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 11), st.integers(0, 10**6))
def test_random_crop_cuts_clip_and_mask_at_one_place(h, w, seed):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 10**9, (3, 9, 11))
    clip = mask[..., None] * np.array([1, 2])
    cut, cut_mask = tf.RandomCrop((h, w))(clip, rng, mask=mask)
    assert cut.shape == (3, h, w, 2)
    np.testing.assert_array_equal(cut, cut_mask[..., None] * np.array([1, 2]))
    places = [
        (i, j)
        for i in range(9 - h + 1)
        for j in range(11 - w + 1)
        if np.array_equal(mask[:, i : i + h, j : j + w], cut_mask)
    ]
    assert places


def test_random_crop_reaches_every_place_and_center_crop_the_middle():
    places = np.indices((4, 5)).transpose(1, 2, 0)[None]  # (1, H, W, 2): a pixel's own place
    rng = np.random.default_rng(0)
    corners = {tuple(tf.RandomCrop((3, 2))(places, rng)[0, 0, 0].tolist()) for _ in range(200)}
    assert corners == {(i, j) for i in range(2) for j in range(4)}
    assert tf.CenterCrop((2, 2))(places)[0, 0, 0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="4 x 5 pixels .* smaller than the crop; put a Resize"):
        tf.CenterCrop(5)(places)


def test_flip_turns_clip_mask_and_label_together():
    rng = np.random.default_rng(1)
    clip, mask = clip_of(rng), rng.integers(0, 5, (3, 9, 11))
    flip = tf.RandomHorizontalFlip(0.5, swap={"left": "right"})
    outcomes = []
    for seed in range(40):
        y, m, name = flip(clip, np.random.default_rng(seed), mask=mask, label="right")
        flipped = name == "left"
        outcomes.append(flipped)
        np.testing.assert_array_equal(y, clip[:, :, ::-1] if flipped else clip)
        np.testing.assert_array_equal(m, mask[:, :, ::-1] if flipped else mask)
    assert 8 < sum(outcomes) < 32
    always = tf.RandomHorizontalFlip(1.0, swap={"left": "right", "in": "out"})
    names = [always(clip, rng, label=name)[1] for name in ("left", "right", "out", "up")]
    assert names == ["right", "left", "in", "up"]
    assert always.class_names == {"left", "right", "in", "out"}


def test_flip_refuses_what_is_no_exchange():
    with pytest.raises(ValueError, match="does not pair"):
        tf.RandomHorizontalFlip(0.5, swap={"a": "b", "b": "c"})
    with pytest.raises(ValueError, match="0 <= p <= 1"):
        tf.RandomHorizontalFlip(1.5)


def test_to_float_and_normalize():
    rng = np.random.default_rng(2)
    clip = clip_of(rng)
    x = tf.ToFloat()(clip)
    assert x.dtype == np.float32 and x.max() <= 1
    np.testing.assert_allclose(x, clip / 255.0, rtol=1e-6)
    mean, std = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
    y = tf.Normalize(mean, std)(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(tf.Normalize(0.5, 2)(x), (x - 0.5) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="put ToFloat before"):
        tf.Normalize(0, 1)(clip)
    with pytest.raises(ValueError, match="2 values of mean for 3 channels"):
        tf.Normalize([0, 0], 1)(x)
    with pytest.raises(ValueError, match="std > 0"):
        tf.Normalize(0, [1, 0, 1])


def jittered(x, b, c, s, angle):
    """`ColorJitter` step by step, for RGB in 0..1."""
    luma = [0.299, 0.587, 0.114]
    y = b * x
    m = (y @ luma).mean()
    y = m + c * (y - m)
    gray = (y @ luma)[..., None]
    y = gray + s * (y - gray)
    yiq = y @ tf.color.TO_YIQ
    turned = (yiq[..., 1] + 1j * yiq[..., 2]) * np.exp(1j * angle)
    yiq[..., 1], yiq[..., 2] = turned.real, turned.imag
    return np.clip(yiq @ np.linalg.inv(tf.color.TO_YIQ), 0, 1)


def test_color_jitter_is_its_four_steps():
    rng = np.random.default_rng(3)
    x = rng.uniform(0.2, 0.8, (2, 5, 4, 3))
    jitter = tf.ColorJitter(0.4, 0.5, 0.6, 0.3)
    for seed in range(20):
        drawn = jitter.draw(np.random.default_rng(seed), x.shape)
        y = jitter(x, np.random.default_rng(seed))
        np.testing.assert_allclose(y, jittered(x, *drawn), atol=1e-9)
        bytes_ = np.rint(255 * x).astype(np.uint8)
        as_bytes = jitter(bytes_, np.random.default_rng(seed))
        assert as_bytes.dtype == np.uint8
        expected = 255 * jittered(bytes_ / 255, *drawn)
        np.testing.assert_allclose(as_bytes, expected, atol=0.5 + 1e-3)


def test_color_jitter_turns_the_hue_alone_and_leaves_gray_alone():
    jitter = tf.ColorJitter(hue=0.5)
    x = np.full((1, 2, 2, 3), [0.6, 0.45, 0.4])
    turned = [jitter(x, np.random.default_rng(seed))[0, 0, 0] for seed in range(60)]
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in turned]
    assert np.unique(np.floor(np.array(hues) * 6)).size == 6  # all the way round
    np.testing.assert_allclose(np.array(turned) @ [0.299, 0.587, 0.114], 0.4893, atol=1e-3)
    gray = np.full((1, 2, 2, 3), 0.3)
    np.testing.assert_allclose(jitter(gray, np.random.default_rng(0)), gray, atol=1e-12)
    alone = np.random.default_rng(0).uniform(size=(2, 3, 3, 1))
    np.testing.assert_allclose(jitter(alone, np.random.default_rng(0)), alone)


def test_color_jitter_treats_all_frames_alike_and_says_where_it_belongs():
    still = np.repeat(clip_of(np.random.default_rng(4), T=1), 4, axis=0)
    y = tf.ColorJitter(0.5, 0.5, 0.5, 0.1)(still, np.random.default_rng(0))
    assert (y == y[0]).all() and not np.array_equal(y, still)
    with pytest.raises(ValueError, match="put it before Normalize"):
        tf.ColorJitter(0.1)(np.full((1, 2, 2, 3), -0.5), np.random.default_rng(0))


@pytest.mark.parametrize("shrink", [tf.Resize((7, 9)), tf.RandomResizedCrop((7, 9))])
def test_white_may_be_resized_before_its_colours_change(shrink):
    white = np.ones((2, 48, 53, 3), np.float32)
    largest = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        small = shrink(white, rng)
        largest = max(largest, small.max())
        assert tf.ColorJitter(0.5, 0.5, 0.5, 0.1)(small, rng).max() <= 1
    assert largest > 1  # or nothing was tested


def test_compose_gives_each_step_the_same_generator_in_turn():
    rng = np.random.default_rng(5)
    clip, mask = clip_of(rng), rng.integers(0, 5, (3, 9, 11))

    def darker(clip, rng):  # a plain function among the steps
        return clip // 2

    steps = [tf.RandomCrop(6), darker, tf.RandomHorizontalFlip(0.5, {"l": "r"}), tf.ToFloat()]
    got = tf.Compose(steps)(clip, np.random.default_rng(7), mask=mask, label="l")
    rng = np.random.default_rng(7)
    x, m = steps[0](clip, rng, mask=mask)
    x, m, label = steps[2](x // 2, rng, mask=m, label="l")
    np.testing.assert_array_equal(got[0], tf.ToFloat()(x))
    np.testing.assert_array_equal(got[1], m)
    assert got[2] == label
    assert tf.Compose(steps).class_names == {"l", "r"}
    assert isinstance(tf.Compose(steps)(clip, rng), np.ndarray)  # the clip alone gives it alone


def test_draws_do_not_depend_on_what_is_taken_along():
    clip, mask = clip_of(np.random.default_rng(6)), np.zeros((3, 9, 11), int)
    for step in (tf.RandomCrop(4), tf.RandomHorizontalFlip(), tf.ColorJitter(0.5, hue=0.2)):
        alone = step(clip, np.random.default_rng(0))
        both, _ = step(clip, np.random.default_rng(0), mask=mask)
        np.testing.assert_array_equal(alone, both)


def test_all_work_on_a_single_image_too():
    image = clip_of(np.random.default_rng(8))[0]
    for step in (tf.Resize(4), tf.CenterCrop(4), tf.RandomCrop(4), tf.ColorJitter(0.3)):
        as_clip = step(image[None], np.random.default_rng(0))[0]
        np.testing.assert_array_equal(step(image, np.random.default_rng(0)), as_clip)


def test_what_cannot_be_done_is_said():
    clip = clip_of(np.random.default_rng(9))
    with pytest.raises(TypeError, match="draws at random: give rng="):
        tf.RandomCrop(3)(clip)
    with pytest.raises(ValueError, match=r"mask of shape \(3, 9, 11\).*got \(3, 9, 10\)"):
        tf.CenterCrop(3)(clip, mask=np.zeros((3, 9, 10)))
    with pytest.raises(ValueError, match=r"expected a clip \(T, H, W, C\)"):
        tf.Resize(3)(clip[0, 0])
    for size in [0, (3, -1), 2.5]:
        with pytest.raises(ValueError, match="whole pixels"):
            tf.Resize(size)
    with pytest.raises(TypeError, match="expected transforms"):
        tf.Compose([3])


def test_reprs_say_how_they_were_made():
    step = tf.Compose([tf.RandomCrop(6), tf.Normalize(0.5, [1, 2, 3])])
    expected = "Compose([RandomCrop(size=(6, 6)), Normalize(mean=0.5, std=[1.0, 2.0, 3.0])])"
    assert repr(step) == expected


def test_standardize_takes_brightness_away_and_leaves_colour():
    clip = np.random.default_rng(0).random((2, 5, 7, 3)).astype(np.float32)
    clip[..., 0] += 0.5  # red
    y = tf.Standardize()(clip)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    deviation = clip.std(axis=(1, 2, 3))
    np.testing.assert_allclose(y.std(axis=(1, 2, 3)), deviation / (deviation + 0.05), rtol=1e-5)
    assert (y[..., 0].mean(axis=(1, 2)) > 0.5).all()
    brighter = clip + np.array([0.3, -0.1], np.float32)[:, None, None, None]  # frame by frame
    np.testing.assert_allclose(tf.Standardize()(brighter), y, atol=1e-5)
    np.testing.assert_array_equal(tf.Standardize()(np.ones((1, 4, 4, 3), np.float32)), 0)
    with pytest.raises(ValueError, match="ToFloat before"):
        tf.Standardize()(np.zeros((1, 4, 4, 3), np.uint8))
