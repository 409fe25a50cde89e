"""The networks that see more than one frame: gradients, sizes, files, and what they can learn."""

import numpy as np
import pytest

import nn
import video
from video import models
from video.models.r2plus1d import middle_channels
from video.models.storage import MODELS

K = 3
# Tiny ones of every network: its options, with sizes that are odd and unequal.
TINY = {
    "FrameCNN": {"size": (9, 13), "frames": 3, "channels": (2, 3, 4, 5)},
    "EarlyFusionCNN": {"size": (9, 13), "frames": 3, "channels": (2, 4, 5)},
    "Conv3dNet": {"size": (9, 13), "frames": 5, "channels": (2, 3, 4, 5)},
    "R2Plus1DNet": {"size": (9, 13), "frames": 5, "channels": (2, 3, 4, 5)},
    "ResNet3D": {"size": (7, 9), "frames": 3, "channels": (2, 3, 4)},
    "SmallResNet3D": {"size": (9, 13), "frames": 5, "channels": (2, 3, 4)},
    "CNNRNN": {"size": (9, 13), "frames": 4, "channels": (2, 3, 4, 5)},
    "CNNAttention": {"size": (9, 13), "frames": 4, "channels": (2, 3, 4, 6), "heads": 2},
    "VideoTransformer": {
        "size": (9, 13),
        "frames": 3,
        "channels": (2, 6),
        "patch": 5,
        "depth": 2,
        "heads": 2,
    },
}
each_network = pytest.mark.parametrize("name", list(TINY))


@pytest.fixture(autouse=True)
def reference_kernels():
    """The networks here are tiny: compiling kernels would take longer than running them."""
    with nn.kernels.using("reference"):
        yield


def network(name, seed=0, **options):
    return MODELS[name](K, rng=seed, **{**TINY[name], **options})


def clips(model, N=2, seed=0, **sizes):
    H, W = model.size
    shape = {"T": model.frames, "H": H, "W": W, "C": model.channels[0], **sizes}
    x = np.random.default_rng(seed).standard_normal((N, *shape.values()))
    return x.astype(np.float32)


def test_every_network_is_tried_here():
    assert set(TINY) == set(MODELS)
    assert all(getattr(models, name) is kind for name, kind in MODELS.items())


@each_network
def test_gradients(name):
    """Two entries of each tensor and random directions; dropped inputs; calls on a stack."""
    model = network(name)
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(np.float32)
    report = nn.check_gradients(model, clips(model), elements=2)
    assert report.passed, report


@each_network
def test_arguments(name):
    """Every network takes the same ones, has defaults, and says what it was built with."""
    model = MODELS[name](10, size=(33, 50), frames=7)
    assert (model.num_classes, model.size, model.frames) == (10, (33, 50), 7)
    assert model.channels[0] == 3
    assert repr(model).startswith(f"{name}(10, size=(33, 50), frames=7")


@each_network
def test_the_seed_gives_the_weights(name):
    for p, q in zip(network(name).parameters(), network(name).parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    pairs = zip(network(name).parameters(), network(name, seed=1).parameters(), strict=True)
    assert any((p.data != q.data).any() for p, q in pairs)


@each_network
@pytest.mark.parametrize(("size", "frames"), [((8, 8), 1), ((17, 8), 2), ((11, 30), 9)])
def test_any_sensible_size(name, size, frames):
    model = network(name, size=size, frames=frames)
    with nn.inference():
        assert model(clips(model)).shape == (2, K)
        assert model.summary((frames, *size, 2))


@each_network
def test_other_frame_counts(name):
    """A clip may be longer or shorter than `frames`, where a network has no weights per frame."""
    model = network(name).eval()
    refused = {"EarlyFusionCNN": r"\(N, 3,", "VideoTransformer": "of at most 3 frames"}
    for T in (1, model.frames + 2):
        if name in refused and (T > model.frames or name == "EarlyFusionCNN"):
            with pytest.raises(ValueError, match=f"{name}: expected clips {refused[name]}"):
                model(clips(model, T=T))
        else:
            with nn.inference():
                assert model(clips(model, T=T)).shape == (2, K)


@each_network
def test_what_does_not_fit_is_named(name):
    model = network(name)
    for x in (clips(model, C=5), clips(model)[0]):
        with pytest.raises(ValueError, match=rf"{name}: expected clips \(N, .*got \("):
            model(x)
    with pytest.raises(ValueError, match=f"{name}: frames must be an integer"):
        network(name, frames=0)
    with pytest.raises(ValueError, match=f"{name}: size must be"):
        network(name, size=(9, 9, 9))
    with pytest.raises(ValueError, match=rf"{name}: size must be \(H, W\), got 64"):
        MODELS[name](3, size=64)
    with pytest.raises(ValueError, match=f"{name}: channels must be .*, got 3"):
        MODELS[name](3, channels=3)
    with pytest.raises(ValueError, match=f"{name}: channels must be"):
        network(name, channels=(3,))


@pytest.mark.parametrize(
    "name", ["FrameCNN", "EarlyFusionCNN", "Conv3dNet", "R2Plus1DNet", "CNNRNN", "CNNAttention"]
)
def test_frames_too_small_to_be_pooled(name):
    with pytest.raises(ValueError, match=f"{name}: frames of 3×20 are too small, expected at leas"):
        network(name, size=(3, 20))


@each_network
def test_overfits_a_few_clips(name):
    """Labels of noise: only a network whose gradients reach everything learns them by heart."""
    model, loss = network(name), nn.CrossEntropyLoss()
    x, labels = clips(model, N=6), np.arange(6) % K
    optimizer = nn.optim.Adam(model.parameters(), 0.01)
    for step in range(120):
        value = loss(model(x), labels)
        model.zero_grad()
        model.backward(loss.backward(), need_input_grad=False)
        optimizer.step()
        if step == 0:
            assert abs(value - np.log(K)) < 0.35
        if value < 0.1:
            break
    assert value < 0.1


@each_network
def test_comes_back_from_a_file(name, tmp_path):
    model = network(name)
    x = clips(model)
    model(x)  # moves running averages off where they start
    model.forget()
    preprocessing = {"standardize": True}
    models.save(model, tmp_path / "model.npz", ["a", "b", "c"], preprocessing)
    loaded = video.models.load(tmp_path / "model.npz")
    assert type(loaded) is MODELS[name] and not loaded.training
    assert (loaded.classes, loaded.preprocessing) == (["a", "b", "c"], preprocessing)
    assert repr(loaded) == repr(model)
    with nn.inference():
        np.testing.assert_array_equal(loaded(x), model.eval()(x))


# ---- what each of them sees of time --------------------------------------------------------


@each_network
def test_who_sees_the_order_of_frames(name):
    model = network(name).eval()
    x = clips(model)
    with nn.inference():
        y, y_reversed = model(x), model(x[:, ::-1])
    assert np.allclose(y, y_reversed, atol=1e-5) == (name == "FrameCNN")


def test_early_fusion_is_a_convolution_over_all_frames_at_once():
    model = network("EarlyFusionCNN")
    assert model.features[0][0].weight.shape == (3, 3, 3 * 2, 4)
    x = clips(model)
    with nn.watch(model.features) as seen, nn.inference():
        model(x)
    pictures = np.concatenate([x[:, t] for t in range(3)], axis=-1)  # frames side by side
    with nn.inference():
        np.testing.assert_array_equal(model.features(pictures), seen[model.features].output)


@pytest.mark.parametrize("name", ["Conv3dNet", "R2Plus1DNet"])
@pytest.mark.parametrize(("convolutions", "field"), [(1, 3), (2, 5), (3, 9)])
def test_how_far_a_feature_sees_in_time(name, convolutions, field):
    """3, 5, 9 frames: the middle feature depends on so many frames, and on no other."""
    model = network(name, size=(8, 8), frames=33, channels=(2,) + (4,) * convolutions).eval()
    y = model.features(clips(model, N=1))
    dy = np.zeros_like(y)
    dy[:, y.shape[1] // 2] = np.random.default_rng(1).standard_normal(dy[:, 0].shape)
    dx = model.features.backward(dy)
    assert np.count_nonzero(np.abs(dx).sum(axis=(0, 2, 3, 4))) == field


@pytest.mark.parametrize(("name", "field"), [("SmallResNet3D", 25), ("ResNet3D", 53)])
def test_how_far_three_stages_see_in_time(name, field):
    model = network(name, size=(8, 8), frames=65, channels=(2, 8, 8, 8)).eval()
    layers = model.layers()[:-2]  # all but the mean and the dense layer
    h = clips(model, N=1)
    for layer in layers:
        h = layer(h)
    dy = np.zeros_like(h)
    dy[:, h.shape[1] // 2] = np.random.default_rng(1).standard_normal(dy[:, 0].shape)
    for layer in reversed(layers):
        dy = layer.backward(dy)
    assert np.count_nonzero(np.abs(dy).sum(axis=(0, 2, 3, 4))) == field


def test_a_pattern_is_found_whenever_it_happens():
    """One convolution and no stride in time: later by two frames, found later by two frames."""
    model = network("Conv3dNet", frames=9, channels=(2, 4)).eval()
    x = np.zeros((1, 9, 9, 13, 2), np.float32)
    x[:, 2:5] = clips(model, N=1, T=3)
    with nn.inference():
        now, later = model(x), model(np.roll(x, 2, axis=1))
    np.testing.assert_allclose(now, later, rtol=1e-5)
    assert np.abs(now - model.classifier.bias.data).max() > 1e-3


@pytest.mark.parametrize(("A", "B"), [(3, 16), (16, 32), (64, 128)])
def test_the_two_parts_have_as_many_weights_as_the_whole(A, B):
    M = middle_channels(A, B)
    assert 9 * A * M + 3 * M * B <= 27 * A * B < 9 * A * (M + 1) + 3 * (M + 1) * B


def test_the_18_layers_of_resnet3d():
    """Names and shapes of torchvision's r3d_18, and its 33,371,472 weights for 400 classes."""
    model = models.ResNet3D(400, size=(112, 112), rng=0)
    assert model.num_parameters == 33_371_472
    state = nn.interop.torch_state(model)
    assert len(state) == 20 * 6 + 2  # a weight and five arrays of its norm; fc
    shapes = {name: array.shape for name, array in state.items()}
    assert shapes["stem.0.weight"] == (64, 3, 3, 7, 7)
    assert shapes["layer1.0.conv1.0.weight"] == (64, 64, 3, 3, 3)
    assert shapes["layer1.1.conv2.0.weight"] == (64, 64, 3, 3, 3)
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1, 1)
    assert shapes["layer4.0.conv1.1.running_var"] == (512,)
    assert shapes["fc.weight"] == (400, 512)
    assert "layer1.0.downsample.0.weight" not in shapes
    small = models.ResNet3D(4, size=(30, 33), frames=9, channels=(3, 4, 4, 4, 4), rng=0)
    with nn.inference(), nn.watch(small.layer4) as seen:
        small(clips(small))
    assert seen[small.layer4].output.shape == (2, 2, 2, 3, 4)  # ⌈9/8⌉, ⌈30/16⌉, ⌈33/16⌉


# ---- recurrent layers and attention over frames ---------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_each_cell(cell, tmp_path):
    model = network("CNNRNN", cell=cell)
    assert type(model.rnn).__name__.lower() == cell
    report = nn.check_gradients(model, clips(model), elements=2)
    assert report.passed, report
    models.save(model, tmp_path / "model.npz", ["a", "b", "c"])
    loaded = video.models.load(tmp_path / "model.npz")
    assert loaded.cell == cell and repr(loaded) == repr(model)


def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="CNNRNN: cell must be one of rnn, lstm, gru, got 'elman'"):
        network("CNNRNN", cell="elman")


@pytest.mark.parametrize("name", ["CNNRNN", "CNNAttention"])
def test_features_of_all_frames_at_once_are_those_of_each(name):
    features = network(name).eval().features
    x = clips(network(name))
    with nn.inference():
        one_by_one = [features(x[:, t : t + 1]) for t in range(x.shape[1])]
        np.testing.assert_allclose(features(x), np.concatenate(one_by_one, axis=1), atol=1e-5)


def test_the_last_frame_is_read_last():
    """What is known after t frames does not depend on later ones."""
    model = network("CNNRNN").eval()
    x = clips(model)
    with nn.inference():
        h = model.rnn(model.features(x))
        np.testing.assert_allclose(model(x[:, :2]), model.classifier(h[:, 1]), atol=1e-6)
        np.testing.assert_allclose(model(x), model.classifier(h[:, -1]), atol=1e-6)


def test_which_frames_answered():
    model = network("CNNAttention").eval()
    with nn.inference(), nn.watch(model.ask) as seen:
        model(clips(model))
    weights = seen[model.ask].weights
    assert weights.shape == (2, 2, 1, 4)  # clips, heads, one question, frames
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)


def test_without_positions_frames_are_a_bag():
    model = network("CNNAttention").eval()
    x, order = clips(model), [2, 0, 3, 1]
    with nn.inference():
        assert not np.allclose(model(x[:, order]), model(x), atol=1e-4)
        model.positions.forward = lambda v: v
        np.testing.assert_allclose(model(x[:, order]), model(x), atol=1e-5)


def test_patches_are_cut_and_put_together():
    model = network("VideoTransformer")
    x = clips(model)
    patches = model.cut(x)
    assert patches.shape == (2, 3, 2, 3, 5 * 5 * 2)
    np.testing.assert_array_equal(patches[1, 2, 0, 1].reshape(5, 5, 2), x[1, 2, :5, 5:10])
    np.testing.assert_array_equal(patches[0, 0, 1, 2].reshape(5, 5, 2)[:4, :3], x[0, 0, 5:, 10:])
    assert not patches[0, 0, 1, 2].reshape(5, 5, 2)[4:].any()
    np.testing.assert_array_equal(model.put_together(patches), x)


def test_divided_attention_looks_along_one_axis_at_a_time():
    """Who notices that one place of the first frame changed? Together they reach everything."""
    block = network("VideoTransformer").blocks[0]
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    changed = x.copy()
    changed[0, 0, 1] = [3, -1, 2, 0, 1, -2]
    with nn.inference():
        moved = np.abs(block(changed) - block(x)).max(axis=(0, 3)) > 1e-6  # (T, S)
        assert moved.all()
        block.space.body[-1].out_proj.weight.data[...] = 0  # nobody looks over space
        moved = np.abs(block(changed) - block(x)).max(axis=(0, 3)) > 1e-6
        np.testing.assert_array_equal(moved, np.broadcast_to([False, True, False, False], (3, 4)))
        block = network("VideoTransformer").blocks[0]
        block.time.body[-1].out_proj.weight.data[...] = 0  # nobody looks along time
        moved = np.abs(block(changed) - block(x)).max(axis=(0, 3)) > 1e-6
        np.testing.assert_array_equal(moved, [[True] * 4, [False] * 4, [False] * 4])


@pytest.mark.parametrize(
    "name, option, message",
    [
        ("FrameCNN", {"channels": (3, 4, 5)}, r"channels must be \(input, .*, dense\), got"),
        ("VideoTransformer", {"channels": (3, 4, 5)}, r"channels must be \(input, D\), got"),
        ("VideoTransformer", {"patch": 0}, "patch must be an integer of at least 1, got 0"),
        ("VideoTransformer", {"depth": 1.5}, "depth must be an integer of at least 1, got 1.5"),
        ("VideoTransformer", {"heads": "x"}, "heads must be an integer of at least 1, got 'x'"),
        ("CNNAttention", {"heads": 0}, "heads must be an integer of at least 1, got 0"),
        ("CNNRNN", {"cell": ["lstm"]}, "cell must be one of rnn, lstm, gru, got"),
    ],
)
def test_options_that_cannot_be_are_named(name, option, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        MODELS[name](3, size=(16, 16), **option)
