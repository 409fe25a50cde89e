"""Erasing, reversal and jitter in time, MixUp and CutMix: one draw for what belongs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
import video
from video import transforms as tf


def clip_of(rng, T=5, H=9, W=14, C=3):
    return rng.integers(1, 256, (T, H, W, C), dtype=np.uint8)


# ---- erasing ----------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 17), st.integers(0, 10**6))
def test_erasing_covers_one_rectangle_in_all_frames_and_in_the_mask(H, W, seed):
    rng = np.random.default_rng(seed)
    clip, mask = clip_of(rng, T=3, H=H, W=W), rng.integers(1, 4, (3, H, W))
    before = clip.copy()
    erase = tf.RandomErasing(p=1.0, area=(0.1, 0.4), value=0, mask_value=255)
    y, moved = erase(clip, np.random.default_rng(seed), mask=mask)
    gone = (y == 0).all(axis=-1)
    assert np.array_equal(clip, before) and (mask < 255).all()  # the input is left alone
    assert np.array_equal(gone, moved == 255) and (gone == gone[0]).all()
    rows, columns = gone[0].any(axis=1), gone[0].any(axis=0)
    assert np.array_equal(gone[0], np.outer(rows, columns))
    assert np.diff(np.flatnonzero(rows)).max(initial=1) == 1
    assert np.diff(np.flatnonzero(columns)).max(initial=1) == 1
    assert np.array_equal(y[~gone], clip[~gone]) and np.array_equal(moved[~gone], mask[~gone])


def test_erasing_has_the_area_and_the_aspect_asked_for():
    erase = tf.RandomErasing(p=1.0, area=(0.05, 0.2), aspect=(0.5, 2.0), value=0.0)
    clip = np.ones((1, 100, 80, 1), np.float32)
    rng = np.random.default_rng(3)
    shares, aspects = [], []
    for _ in range(300):
        gone = erase(clip, rng)[0, :, :, 0] == 0
        shares.append(gone.mean())
        aspects.append(gone.any(axis=1).sum() / gone.any(axis=0).sum())
    assert 0.045 < min(shares) < 0.06 and 0.18 < max(shares) < 0.21
    assert 0.45 < min(aspects) < 0.6 and 1.7 < max(aspects) < 2.2


def test_erasing_paints_the_mean_colour_unless_told():
    rng = np.random.default_rng(0)
    clip = clip_of(rng)
    y = tf.RandomErasing(p=1.0)(clip, np.random.default_rng(1))
    changed = (y != clip).any(axis=-1)
    assert 0 < changed.mean() < 0.5
    np.testing.assert_array_equal(y[changed][0], np.rint(clip.mean(axis=(0, 1, 2))))
    kept = [tf.RandomErasing(p=0.3)(clip, rng) is clip for _ in range(200)]
    assert 0.6 < np.mean(kept) < 0.8
    colours = tf.RandomErasing(p=1.0, value=(1, 2, 3))(clip, np.random.default_rng(1))
    assert (colours[changed] == (1, 2, 3)).all()
    with pytest.raises(ValueError, match="channels"):
        tf.RandomErasing(p=1.0, value=(1, 2))(clip, rng)
    for wrong in ({"p": 1.1}, {"area": (0.3, 0.2)}, {"aspect": (0, 1)}, {"value": "median"}):
        with pytest.raises(ValueError, match="RandomErasing"):
            tf.RandomErasing(**wrong)


# ---- time -------------------------------------------------------------------------------


def test_reversal_turns_clip_mask_and_label_together():
    rng = np.random.default_rng(0)
    clip, mask = clip_of(rng), rng.integers(0, 4, (5, 9, 14))
    back = tf.TimeReverse(p=1.0, swap={"sit down": "stand up"})
    y, moved, label = back(clip, rng, mask=mask, label="stand up")
    assert np.array_equal(y, clip[::-1]) and np.array_equal(moved, mask[::-1])
    assert label == "sit down" and back(clip, rng, label="wave")[1] == "wave"
    assert back.class_names == {"sit down", "stand up"}
    assert tf.TimeReverse(p=0.0)(clip, rng) is clip
    turned = [tf.TimeReverse(p=0.3)(clip, rng)[0, 0, 0, 0] != clip[0, 0, 0, 0] for _ in range(200)]
    assert 0.2 < np.mean(turned) < 0.4


def test_what_turns_time_needs_a_time_axis():
    image = np.zeros((9, 14, 3), np.uint8)
    for transform in (tf.TimeReverse(1.0), tf.TemporalJitter()):
        with pytest.raises(ValueError, match=r"\(T, H, W, C\)"):
            transform(image, np.random.default_rng(0))
    with pytest.raises(ValueError, match="pair"):
        tf.TimeReverse(swap={"a": "b", "c": "b"})
    with pytest.raises(ValueError, match="TemporalJitter"):
        tf.TemporalJitter(speed=-0.1)


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.floats(0, 1.5),
    st.floats(0, 0.5),
    st.floats(0, 3),
    st.integers(0, 10**6),
)
def test_jitter_is_its_formula_and_keeps_the_order(T, speed, shift, jitter, seed):
    clip = np.arange(T)[:, None, None, None] * np.ones((1, 2, 3, 1), np.int64)
    transform = tf.TemporalJitter(speed, shift, jitter)
    y, mask = transform(clip, np.random.default_rng(seed), mask=clip[..., 0])
    seen = y[:, 0, 0, 0]
    assert np.array_equal(mask[:, 1, 2], seen) and y.shape == clip.shape

    rng = np.random.default_rng(seed)
    v = (1 + speed) ** rng.uniform(-1, 1)
    d = shift * T * rng.uniform(-1, 1)
    e = jitter * rng.uniform(-1, 1, T)
    places = sorted((T - 1) / 2 + v * (k - (T - 1) / 2) + d + e[k] for k in range(T))
    expected = np.clip(places, 0, T - 1)
    assert np.abs(seen - expected).max() <= 0.5 + 1e-9
    assert (np.diff(seen) >= 0).all()


def test_no_jitter_changes_nothing():
    clip = clip_of(np.random.default_rng(0), T=6)
    still = tf.TemporalJitter(speed=0, shift=0, jitter=0)
    assert np.array_equal(still(clip, np.random.default_rng(0)), clip)


# ---- batches ----------------------------------------------------------------------------


def batch_of(rng, N=7, T=2, H=8, W=11, C=3):
    """Clip i is i + 1 all over, so that one sees what came from where."""
    clips = np.ones((N, T, H, W, C), np.float32) * np.arange(1, N + 1, dtype=np.float32).reshape(
        -1, 1, 1, 1, 1
    )
    return clips, rng.permutation(N)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_mixup_mixes_labels_as_it_mixes_clips(alpha):
    rng = np.random.default_rng(1)
    clips, labels = batch_of(rng)
    before = clips.copy()
    x, y = tf.MixUp(7, alpha)((clips, labels), np.random.default_rng(2))
    assert x.dtype == y.dtype == np.float32 and y.shape == (7, 7)
    assert np.array_equal(clips, before)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
    value = np.empty(7)  # the value of the clip of each class
    value[labels] = np.arange(1, 8)
    np.testing.assert_allclose(x, np.ones_like(x) * (y @ value)[:, None, None, None, None], 1e-5)
    assert len(np.unique(np.round(y.max(axis=1), 4))) > 2  # a share of its own for each clip


def test_cutmix_weighs_labels_by_the_pixels_that_are_seen():
    rng = np.random.default_rng(1)
    clips, labels = batch_of(rng)
    masks = (clips[..., 0] * 10).astype(np.uint8)
    before = clips.copy()
    x, moved, y = tf.CutMix(7)((clips, masks, labels), np.random.default_rng(5))
    assert np.array_equal(clips, before)
    np.testing.assert_array_equal(moved, (x[..., 0] * 10).astype(np.uint8))
    assert (x == x[:, :1]).all()  # the same in all frames
    for i in range(7):
        expected = np.zeros(7)
        for j in range(7):
            expected[labels[j]] += np.mean(x[i] == j + 1)
        np.testing.assert_allclose(y[i], expected, atol=1e-6)
        foreign = x[i, 0, :, :, 0] != i + 1
        assert np.array_equal(foreign, np.outer(foreign.any(axis=1), foreign.any(axis=0)))
    assert (y.max(axis=1) < 1).sum() >= 4


def test_cutmix_cuts_masks_that_are_the_labels():
    rng = np.random.default_rng(1)
    clips = rng.random((4, 3, 8, 9, 3), np.float32)
    masks = np.rint(clips[..., 0] * 5).astype(np.int64)
    x, y = tf.CutMix(6)((clips, masks), np.random.default_rng(0))
    np.testing.assert_array_equal(y, np.rint(x[..., 0] * 5))
    assert not np.array_equal(x, clips)


def test_cutmix_area_follows_the_beta_distribution():
    """For alpha = 1 the area s² of the rectangle is uniform, before it is cut at the edges."""
    clips = np.zeros((400, 1, 40, 60, 1), np.float32)
    labels = np.arange(400)
    _, y = tf.CutMix(400)((clips, labels), np.random.default_rng(0))
    kept = y[labels, labels]
    # Of a side s around a uniform place, s - s²/4 lies inside on average, on each axis.
    s = np.sqrt(np.linspace(0, 1, 10001))
    expected = 1 - np.mean((s - s * s / 4) ** 2)
    assert abs(kept.mean() - expected) < 3 * kept.std() / 20


def test_mixing_says_what_it_cannot_do():
    rng = np.random.default_rng(0)
    clips, labels = batch_of(rng)
    masks = np.zeros(clips.shape[:-1], np.uint8)
    with pytest.raises(ValueError, match="ToFloat"):
        tf.MixUp(7)((clips.astype(np.uint8), labels), rng)
    for batch in ((clips, masks, labels), (clips, masks)):
        with pytest.raises(ValueError, match="CutMix"):
            tf.MixUp(7)(batch, rng)
    with pytest.raises(ValueError, match="0 to 6 for 5 classes"):
        tf.CutMix(5)((clips, labels), rng)
    with pytest.raises(ValueError, match="masks"):
        tf.CutMix(7)((clips, labels, labels), rng)
    for kind in (tf.MixUp, tf.CutMix):
        with pytest.raises(ValueError, match=kind.__name__):
            kind(3, alpha=0)
        assert repr(kind(3, alpha=0.5)) == f"{kind.__name__}(3, alpha=0.5)"


class Clips:
    """A data set of float clips whose class is their brightness."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        noise = np.random.default_rng(i).normal(0, 0.1, (2, 4, 4, 1)).astype(np.float32)
        return noise + np.float32(i % 2), i % 2


@pytest.mark.parametrize("mix", [tf.MixUp(2), tf.CutMix(2), tf.Compose([])])
def test_a_trainer_learns_from_mixed_batches(mix):
    """The loader mixes, the loss takes soft labels, and both are drawn anew in each epoch."""
    if isinstance(mix, tf.Compose):  # MixUp after CutMix: labels that are soft already
        mix = lambda batch, rng: tf.MixUp(2)(tf.CutMix(2)(batch, rng), rng)  # noqa: E731
    loader = video.DataLoader(Clips(), 5, shuffle=True, workers=0, batch_transform=mix)
    (x, y), *_ = loader
    (x_again, y_again), *_ = loader
    assert y.shape == (5, 2) and not np.array_equal(x, x_again)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 2, rng=0))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.2)
    trainer = nn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    plain = video.DataLoader(Clips(), 5, workers=0)
    trainer.fit(loader, plain, epochs=30, monitor="val_loss", quiet=True)
    assert trainer.evaluate(plain)["accuracy"] == 1.0
    assert "train_accuracy" not in trainer.history[0]  # soft labels have no right answer


# ---- parts of the picture, scaled up; differences ---------------------------------------


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 10**6))
def test_resized_crop_shows_the_window_it_drew_in_clip_and_mask(H, W, seed):
    rng = np.random.default_rng(seed)
    clip, mask = clip_of(rng, T=2, H=H, W=W), rng.integers(0, 9, (2, H, W))
    crop = tf.RandomResizedCrop((7, 5), area=(0.3, 0.8))
    rows, columns = crop.draw(np.random.default_rng(seed), clip.shape)
    y, moved = crop(clip, np.random.default_rng(seed), mask=mask)
    assert np.array_equal(y, tf.Resize((7, 5))(clip[:, rows, columns]))
    assert y.dtype == np.uint8 and moved.shape == (2, 7, 5)
    assert set(np.unique(moved)) <= set(np.unique(mask[:, rows, columns]))


def test_resized_crop_has_the_area_and_the_aspect_asked_for():
    crop = tf.RandomResizedCrop((8, 8), area=(0.5, 0.7), aspect=(0.9, 1.2))
    for seed in range(50):
        rows, columns = crop.draw(np.random.default_rng(seed), (4, 100, 80, 3))
        height, width = (rows.stop - rows.start) / 100, (columns.stop - columns.start) / 80
        assert 0.48 < height * width < 0.72 and 0.88 < width / height < 1.23
        assert 0 <= rows.start and rows.stop <= 100 and columns.stop <= 80
    whole = tf.RandomResizedCrop((100, 80), area=(1.0, 1.0), aspect=(1.0, 1.0))
    clip = clip_of(np.random.default_rng(0), H=100, W=80)
    assert np.array_equal(whole(clip, np.random.default_rng(1)), clip)
    for wrong in ({"area": (0.0, 1.0)}, {"area": (0.9, 0.5)}, {"aspect": (2.0, 1.0)}):
        with pytest.raises(ValueError, match="RandomResizedCrop"):
            tf.RandomResizedCrop(8, **wrong)


def test_differences_are_appended_and_begin_with_zero():
    clip = np.random.default_rng(0).standard_normal((5, 3, 4, 2)).astype(np.float32)
    y = tf.Differences()(clip)
    assert y.shape == (5, 3, 4, 4) and y.dtype == np.float32
    assert np.array_equal(y[..., :2], clip) and not y[0, ..., 2:].any()
    assert np.array_equal(y[1:, ..., 2:], clip[1:] - clip[:-1])
    with pytest.raises(ValueError, match="floats"):
        tf.Differences()(clip_of(np.random.default_rng(0)))
