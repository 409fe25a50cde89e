"""Classification in parts: mirrors, views, running predictions, frozen bodies, folds."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import nn
import video
from nn.activation import softmax
from video import models, sampling
from video.models.storage import MODELS
from video.tasks import classification, folds, ladder, recipe

SMALL = {  # channels that make each network small
    "FrameCNN": (3, 4, 5, 8),
    "EarlyFusionCNN": (3, 4, 5),
    "Conv3dNet": (3, 4, 5),
    "R2Plus1DNet": (3, 4, 5),
    "ResNet3D": (3, 4, 5),
    "SmallResNet3D": (3, 4, 5),
    "CNNRNN": (3, 4, 5, 8),
    "CNNAttention": (3, 4, 5, 8),
    "VideoTransformer": (3, 8),
}
FRAMES, SIZE = 6, (9, 11)


def small(name, num_classes=3, rng=0, inputs=3):
    return MODELS[name](num_classes, SIZE, FRAMES, (inputs, *SMALL[name][1:]), rng=rng)


def clips(N, T=FRAMES, seed=1):
    return np.random.default_rng(seed).standard_normal((N, T, *SIZE, 3)).astype(np.float32)


# ---- mirrors ----------------------------------------------------------------------------


def test_names_that_speak_of_sides_are_paired():
    assert recipe.mirrored_classes(["sit", "stand"]) == {}
    found = recipe.mirrored_classes(["star_left", "star_right", "up", "Turn Left", "Turn Right"])
    assert found["star_left"] == "star_right" and found["Turn Right"] == "Turn Left"
    assert "up" not in found
    for other in ("anticlockwise", "counterclockwise", "counter-clockwise"):
        assert recipe.mirrored_classes(["clockwise", other]) == {
            "clockwise": other,
            other: "clockwise",
        }


@pytest.mark.parametrize("lonely", ["left", "turnright", "clockwise", "anti-clockwise"])
def test_a_side_without_its_partner_allows_no_mirrors(lonely):
    with pytest.warns(UserWarning, match=f"{lonely}.*--flip-swap"):
        assert recipe.mirrored_classes([lonely, "walk"]) is None
    pairs = recipe.mirrored_classes([lonely, "walk"], {lonely: lonely})
    assert pairs[lonely] == lonely


def test_words_that_hold_a_side_and_speak_of_none():
    words = ["bright", "sit_upright", "SitUpright", "Copyright", "leftover", "cleft chin"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recipe.mirrored_classes(words) == {}
        found = recipe.mirrored_classes(["bright_left", "bright_right", "upright", "upleft"])
    assert found["bright_left"] == "bright_right" and found["upright"] == "upleft"
    for lonely in ("jumpright", "leftwards", "bright_left"):  # their mirror would be mislabelled
        with pytest.warns(UserWarning, match=lonely):
            assert recipe.mirrored_classes([lonely, "bright"]) is None


def test_given_pairs_count_and_must_be_classes():
    assert recipe.mirrored_classes(["a", "b", "c"], {"a": "b"}) == {"a": "b", "b": "a"}
    with pytest.raises(ValueError, match="d: no such class"):
        recipe.mirrored_classes(["a", "b"], {"a": "d"})


def test_no_flip_and_the_article_show_no_mirror():
    settings = recipe.Settings(data="", views=3)
    shown = recipe.views(settings, {})
    assert len(shown) == 6 and sum(mirrored for _, mirrored in shown) == 3
    assert [offset.u for offset, mirrored in shown if mirrored] == [1 / 6, 3 / 6, 5 / 6]
    assert len(recipe.views(settings, None)) == 3
    assert recipe.mirrors(["left", "right"], replace(settings, flip=False)) is None


# ---- views ------------------------------------------------------------------------------


class Brighter(nn.Module):
    """Logits for (left, right, neither): how bright each half of the frames is."""

    def forward(self, x):
        W = x.shape[3] // 2
        left, right = x[..., :W, :].mean((1, 2, 3, 4)), x[..., -W:, :].mean((1, 2, 3, 4))
        return np.stack([left, 3 * right, 0 * left], axis=1)


class Fixed:
    """A data set of clips (T, H, W, C) at hand, as `judge` uses one."""

    classes = ["left", "right", "none"]

    def __init__(self, arrays, sampling=None, transform=None):
        self.arrays, self.sampling, self.transform = arrays, sampling, transform

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        rng = np.random.default_rng(0)
        clip = self.arrays[i]
        return self.transform(clip[self.sampling(len(clip), 4, rng)], rng), i % 3

    def replace(self, sampling, transform):
        return Fixed(self.arrays, sampling, transform)


def test_views_are_averaged_and_mirrored_classes_change_back():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (11, 4, 6, 3)).astype(np.uint8) for _ in range(3)]
    scaled = {"mean": 0.0, "std": 1.0}
    settings = recipe.Settings(data="", views=2, input=scaled, workers=0).settled(3)
    got, labels = classification.judge(
        Brighter(), Fixed(arrays), settings, {"left": "right", "right": "left"}
    )
    for i, clip in enumerate(arrays):
        expected = 0
        for u in (0.25, 0.75):
            seen = clip[((np.arange(4) + u) * 11 / 4).astype(int)][None] / np.float32(255)
            p = softmax(Brighter()(seen))[0]
            mirrored = softmax(Brighter()(seen[..., ::-1, :]))[0]
            expected = expected + (p + mirrored[[1, 0, 2]]) / 4
        np.testing.assert_allclose(got[i], expected, rtol=1e-5)
    assert labels.tolist() == [0, 1, 2]


# ---- networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("T", [4, 17])
@pytest.mark.parametrize("name", MODELS)
def test_running_prediction_ends_with_the_whole_clip(name, T, differences):
    model = small(name, inputs=6 if differences else 3).eval()
    clip = np.random.default_rng(2).integers(0, 256, (T, *SIZE, 3)).astype(np.uint8)
    model.preprocessing = {"standardize": True, "differences": differences}
    running = classification.running_prediction(model, clip)
    assert running.shape == (T, 3)
    np.testing.assert_allclose(running.sum(axis=1), 1, rtol=1e-5)
    seen = clip[sampling.uniform(T, FRAMES)]
    if model.any_length:
        seen = clip[np.unique(sampling.uniform(T, FRAMES))]
    moments = np.unique(sampling.uniform(T, FRAMES))
    begun = clip[moments[:2]]  # up to the second of them
    if not model.any_length:
        begun = np.concatenate([begun, *[begun[-1:]] * (FRAMES - 2)])  # the film stands still
    with nn.inference():
        for t, frames in ((-1, seen), (moments[1], begun)):
            expected = softmax(model(model.prepare(frames)))[0]
            np.testing.assert_allclose(running[t], expected, rtol=1e-4)
    assert np.abs(np.diff(running, axis=0)).max() > 0


@pytest.mark.parametrize("name", MODELS)
def test_head_only_trains_the_head_and_leaves_the_rest(name):
    model, x, labels = small(name), clips(4), np.array([0, 1, 2, 0])
    whole = model.eval()
    loss = nn.CrossEntropyLoss()
    logits = whole(x)
    loss(logits, labels)
    whole.backward(loss.backward(), need_input_grad=False)
    learner = models.HeadOnly(model)
    expected = [p.grad.copy() for p in learner.head.parameters()]
    before = learner.body.state_dict()

    learner.zero_grad()
    learner.train()
    np.testing.assert_allclose(learner(x), logits, rtol=1e-4, atol=1e-6)
    loss(logits, labels)
    learner.backward(loss.backward())
    for p, grad in zip(learner.head.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.grad, grad, rtol=1e-3, atol=1e-6)
    assert not any(p.has_grad for p in learner.body.parameters())
    assert not any(module._saved for _, module in learner.body.named_modules())
    nn.optim.SGD(learner.head.parameters(), lr=1.0).step()
    after = learner.body.state_dict()  # running averages of batch norm included
    assert all(np.array_equal(before[key], after[key]) for key in before)

    released = learner.release()
    assert released is model
    changed = released(x)
    np.testing.assert_allclose(changed, learner_output(released, x), rtol=1e-5)
    assert np.abs(changed - logits).max() > 1e-3
    released.forget()


def learner_output(model, x):
    """Logits of the network rebuilt from its weights: the head is where it belongs."""
    twin = small(type(model).__name__, rng=5).eval()
    twin.load_state_dict(model.state_dict())
    with nn.inference():
        return twin(x)


@pytest.mark.parametrize("name", MODELS)
def test_a_new_head_keeps_all_else(name):
    old = small(name)
    before = old.state_dict()
    new = models.with_new_head(old, 5, rng=1)
    assert new.num_classes == 5 and new.eval()(clips(2)).shape == (2, 5)
    now = new.state_dict()
    differ = [key for key in before if not np.array_equal(before[key], now[key])]
    assert len(differ) == 2 and len({key.rpartition(".")[0] for key in differ}) == 1
    assert all(np.array_equal(before[key], array) for key, array in old.state_dict().items())


@pytest.mark.parametrize(
    "name", ["CNNRNN:cell=gru", "CNNRNN", "VideoTransformer:patch=4,heads=2", "FrameCNN"]
)
def test_weights_bring_the_options_of_their_network(name, tmp_path):
    given = recipe.Settings(data="", size=(16, 17), frames=4)
    model = ladder.build(name, 2, given, rng=0)
    models.save(model, tmp_path / "model.npz", ["a", "b"])
    settings = classification.from_weights(replace(given, weights=str(tmp_path / "model.npz")))
    assert settings.model == ladder.name_of(model) == name


def test_differences_enter_as_channels():
    model = models.Conv3dNet(3, SIZE, FRAMES, (6, 4, 5))
    model.preprocessing = {"mean": 0.5, "std": 0.5, "differences": True}
    clip = np.random.default_rng(0).integers(0, 256, (FRAMES, *SIZE, 3)).astype(np.uint8)
    x = model.prepare(clip)
    assert x.shape == (1, FRAMES, *SIZE, 6)
    assert not x[0, 0, ..., 3:].any()
    np.testing.assert_allclose(x[0, 1:, ..., 3:], np.diff(clip / 127.5 - 1, axis=0), atol=1e-6)


# ---- folds ------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path):
    """Two classes, four recordings of two or three clips each."""
    for i in range(20):
        name = tmp_path / "sit stand".split()[i % 2] / f"rec{i // 2 % 4}_{i}.mp4"
        name.parent.mkdir(exist_ok=True)
        name.write_bytes(b"not looked at")
    return video.VideoFolder(tmp_path)


def test_each_clip_is_tested_once_and_recordings_stay_whole(recordings):
    divided = folds.divide(recordings, 4, r"^rec\d", seed=2)
    tested = [sample for _, test in divided for sample in test.samples]
    assert sorted(tested) == sorted(recordings.samples)
    for train, test in divided:
        assert len(train) + len(test) == len(recordings)
        seen, held_out = ({path.name[:4] for path, _ in part.samples} for part in (train, test))
        assert not seen & held_out
    with pytest.raises(ValueError, match="4 groups"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folds.divide(recordings, 5, r"^rec\d")


def test_numbers_of_all_folds(tmp_path):
    results = [
        {"accuracy": 0.5, "commonest_class": 0.75, "labels": [0, 0, 0, 1], "answers": [0, 0, 1, 0]},
        {"accuracy": 1.0, "commonest_class": 0.5, "labels": [0, 1], "answers": [0, 1]},
    ]
    results = [r | {"fold": k, "seconds": 30.0} for k, r in enumerate(results, start=1)]
    metrics = folds.report(tmp_path, results, ["sit", "stand"], recipe.Settings(data=""))
    assert metrics["mean"] == 0.75 and metrics["sd"] == pytest.approx(np.sqrt(0.125))
    assert metrics["pooled"] == pytest.approx(4 / 6)
    assert metrics["commonest_class"] == pytest.approx(4 / 6)
    assert metrics["confusion_matrix"] == [[3, 1], [1, 1]]
    assert (tmp_path / "confusion.png").read_bytes()[:4] == b"\x89PNG"


def test_settings_decide_by_what_the_network_sees():
    clips_of_all = recipe.Settings(data="", model="CNNRNN:cell=gru").settled(100)
    frames = recipe.Settings(data="", model="FrameCNN").settled(100)
    assert clips_of_all.epochs == round(recipe.VISITS / 100)
    assert frames.epochs == round(recipe.FRAME_VISITS / 100) and frames.batch_size == 32
    assert recipe.Settings(data="", epochs=3).settled(7).epochs == 3
    assert recipe.Settings(data="", recipe="article").settled(7).epochs == 10


def test_networks_of_clips_are_given_differences():
    for model, options, inputs in (
        ("Conv3dNet", {}, 6),
        ("CNNRNN:cell=gru", {}, 6),
        ("Conv3dNet", {"differences": False}, 3),
        ("FrameCNN", {}, 3),
        ("Conv3dNet", {"recipe": "article"}, 3),
    ):
        settings = recipe.Settings(data="", model=model, size=(16, 17), frames=4, **options)
        network, said = classification.new_model(settings, ["a", "b"])
        assert network.channels[0] == inputs and said.startswith(model)
        assert bool(recipe.preprocessing(settings).get("differences")) == (inputs == 6)
