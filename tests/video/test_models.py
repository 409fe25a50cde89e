"""The article's network, and networks in files: what goes in comes out, and nothing else."""

import copy
import math
import signal

import numpy as np
import pytest

import nn
import video
from nn import checkpoint
from video import models, transforms

CLASSES = ["circle", "ring", "square"]
SCALE = {"mean": [0.4, 0.5, 0.45], "std": [0.2, 0.25, 0.3]}


@pytest.fixture(autouse=True)
def reference_kernels():
    """The networks here are tiny: compiling kernels would take longer than running them."""
    with nn.kernels.using("reference"):
        yield


def network(seed=0, **options):
    options = {"size": (9, 14), "frames": 5, "channels": (3, 4, 5, 6), **options}
    return models.FrameCNN(len(CLASSES), rng=seed, **options)


def clips(N=2, T=5, H=9, W=14, C=3, seed=0):
    return np.random.default_rng(seed).standard_normal((N, T, H, W, C)).astype(np.float32)


# ---- FrameCNN -------------------------------------------------------------------------------


def test_a_clip_is_the_mean_of_its_frames():
    model, x = network(), clips()
    with nn.inference():
        logits = model(x)
        frames = np.stack([model(x[:, t : t + 1]) for t in range(5)])
    assert logits.shape == (2, 3)
    np.testing.assert_allclose(logits, frames.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_the_order_of_frames_does_not_matter():
    model, x = network(), clips()
    with nn.inference():
        np.testing.assert_allclose(model(x[:, [3, 0, 4, 1, 2]]), model(x), rtol=1e-5, atol=1e-6)
        assert not np.allclose(model(x[:, :, ::-1]), model(x), atol=1e-4), "but places do"


def test_the_network_of_the_article():
    """§4 with its first dense layer corrected: 64×64 frames pooled twice leave 16×16."""
    model = models.FrameCNN(10, rng=0)
    assert {name: p.shape for name, p in model.named_parameters()} == {
        "features.0.weight": (3, 3, 3, 32),
        "features.0.bias": (32,),
        "features.3.weight": (3, 3, 32, 64),
        "features.3.bias": (64,),
        "classifier.1.weight": (64 * 16 * 16, 512),
        "classifier.1.bias": (512,),
        "classifier.3.weight": (512, 10),
        "classifier.3.bias": (10,),
    }


def test_the_loss_starts_at_log_k():
    model, loss = models.FrameCNN(6, size=(16, 16), rng=0), nn.CrossEntropyLoss()
    with nn.inference():
        value = loss(model(clips(20, 1, 16, 16)), np.arange(20) % 6)
    assert abs(value - math.log(6)) < 0.1


def test_gradients_of_the_whole_network():
    """Central differences along a random direction of each parameter, and of the input."""
    model = network().astype(np.float64)
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape)  # biases off zero, logits off the small
    x, dy, eps = clips(T=2).astype(np.float64), rng.standard_normal((2, 3)), 1e-6

    def slope(array, v):
        ends = []
        for sign in (1, -1):
            array += sign * eps * v
            with nn.inference():
                ends.append((model(x) * dy).sum())
            array -= sign * eps * v
        return (ends[0] - ends[1]) / (2 * eps)

    model(x)
    tensors = [(p.data, p) for p in model.parameters()]
    dx = model.backward(dy)
    assert dx.shape == x.shape
    for array, grad in [*((a, p.grad) for a, p in tensors), (x, dx)]:
        v = rng.standard_normal(array.shape)
        np.testing.assert_allclose((grad * v).sum(), slope(array, v), rtol=1e-5, atol=1e-9)
    full = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(x)
    assert model.backward(dy, need_input_grad=False) is None
    for p, g in zip(model.parameters(), full, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_wrong_clips_and_sizes_are_named():
    with pytest.raises(ValueError, match=r"FrameCNN: expected clips \(N, T, 9, 14, 3\), got"):
        network()(clips(H=10))
    with pytest.raises(ValueError, match=r"expected clips"):
        network()(clips()[0])
    with pytest.raises(ValueError, match="3×20 are too small"):
        network(size=(3, 20))


class Shapes:
    """A data set in memory: what is drawn depends on (epoch, index) alone."""

    def __len__(self):
        return 22

    def __getitem__(self, i):
        return self.example(i, 0)

    def example(self, i, epoch):
        rng = np.random.default_rng([i, epoch])
        return rng.standard_normal((2, 9, 14, 3)).astype(np.float32) + i % 3, i % 3


def test_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    """Trainer, DataLoader and network together: Ctrl-C in the second epoch, resumed elsewhere."""

    def run(directory, stop_at=None, resume=False):
        model = network(seed=4)
        optimizer = nn.optim.AdamW(model.parameters(), 1e-2)
        steps = []

        def metric(outputs, labels):
            steps.append(model.training)
            if sum(steps) == stop_at:
                signal.raise_signal(signal.SIGINT)
            return nn.metrics.accuracy(outputs, labels)

        trainer = nn.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optimizer,
            nn.optim.OneCycleLR(optimizer, 1e-2, 18),
            metrics={"accuracy": metric},
            directory=directory,
        )
        if resume:
            trainer.resume()
        train = video.DataLoader(Shapes(), 4, shuffle=True, seed=1)
        trainer.fit(train, video.DataLoader(Shapes(), 5, workers=0), epochs=3, quiet=True)
        return trainer

    whole = run(tmp_path / "whole")
    for stop_at in (8, 12):  # amid the second epoch, and with its last step
        directory = tmp_path / str(stop_at)
        with pytest.raises(KeyboardInterrupt):
            run(directory, stop_at=stop_at)
        resumed = run(directory, resume=True)
        for p, q in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            np.testing.assert_array_equal(p.data, q.data)
        for a, b in zip(whole.history, resumed.history, strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}
        files = [(d / "best.npz").read_bytes() for d in (tmp_path / "whole", directory)]
        assert files[0] == files[1]


# ---- files ----------------------------------------------------------------------------------


def test_a_network_comes_back_whole(tmp_path):
    path = tmp_path / "model.npz"
    model = network()
    models.save(model, path, classes=CLASSES, preprocessing={**SCALE, "fps": 12})
    loaded = video.models.load(path)
    assert type(loaded) is models.FrameCNN and not loaded.training
    assert loaded.classes == model.classes == CLASSES
    assert loaded.preprocessing == {**SCALE, "fps": 12}
    assert (loaded.size, loaded.frames, loaded.channels) == ((9, 14), 5, (3, 4, 5, 6))
    assert repr(loaded) == repr(model)
    clip = np.random.default_rng(3).integers(0, 256, (5, 9, 14, 3)).astype(np.uint8)
    with nn.inference():
        np.testing.assert_array_equal(
            loaded(loaded.prepare(clip)), model.eval()(model.prepare(clip))
        )


def test_prepare_does_as_in_training():
    model = network()
    clip = np.random.default_rng(3).integers(0, 256, (5, 9, 14, 3)).astype(np.uint8)
    plain = model.prepare(clip)
    assert plain.shape == (1, 5, 9, 14, 3) and plain.dtype == np.float32
    np.testing.assert_allclose(plain[0], clip / 255, atol=1e-6)
    model.preprocessing = SCALE
    steps = [transforms.ToFloat(), transforms.Normalize(SCALE["mean"], SCALE["std"])]
    np.testing.assert_array_equal(model.prepare(clip)[0], transforms.Compose(steps)(clip))
    model.preprocessing = {"mean": 0.5, "std": 0.5}
    np.testing.assert_allclose(model.prepare(clip)[0], clip / 127.5 - 1, atol=1e-6)
    model.preprocessing = {"standardize": True}
    own = transforms.Compose([transforms.ToFloat(), transforms.Standardize()])
    np.testing.assert_array_equal(model.prepare(clip)[0], own(clip))
    with pytest.raises(ValueError, match=r"expected a clip \(T, H, W, C\) to prepare"):
        model.prepare(clip[0])


def test_weights_of_another_training_of_the_same_network(tmp_path):
    models.save(network(seed=0), tmp_path / "a.npz", CLASSES)
    other = network(seed=1)
    assert nn.load(other, tmp_path / "a.npz")["classes"] == CLASSES
    np.testing.assert_array_equal(other.features[0].weight.data, network().features[0].weight.data)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(ValueError, match=r"model\.npz: 2 class names for a FrameCNN of 3 classes"):
        models.save(network(), path, CLASSES[:2])
    with pytest.raises(ValueError, match="a Sequential cannot be saved as one of FrameCNN"):
        models.save(nn.Sequential(nn.Tanh()), path, CLASSES)

    class FrameCNN(models.FrameCNN):
        """Of the same name, but another network."""

    with pytest.raises(ValueError, match="cannot be saved"):
        models.save(FrameCNN(3, size=(9, 14), rng=0), path, CLASSES)
    assert not path.exists()


def refused(path, reason):
    with pytest.raises(ValueError) as error:
        models.load(path)
    text = str(error.value)
    assert str(path) in text and reason in text and "\n" not in text


def test_files_that_hold_no_network(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        models.load(path)
    path.write_bytes(b"no weights")
    refused(path, "no .npz file")
    np.savez(path, **network().state_dict())
    refused(path, "not written by Backreel")
    nn.save(network(), path, classes=CLASSES)
    refused(path, "without its arguments and preprocessing; expected a file written by video.mod")


def test_files_that_were_tampered_with(tmp_path):
    path = tmp_path / "model.npz"
    models.save(network(), path, CLASSES)
    header, arrays = checkpoint.read(path)

    def write(**changes):
        changed = copy.deepcopy(header)
        changed["module"] = changes.pop("module", header["module"])
        changed["metadata"].update(changes)
        checkpoint.write(path, arrays[""], changed)

    write(module="Unknown")
    refused(path, "holds the network Unknown, expected one of FrameCNN")
    write(classes=["one"])
    refused(path, "1 class names for 3 classes")
    arguments = header["metadata"]["arguments"]
    write(arguments={**arguments, "depth": 3})
    refused(path, "no FrameCNN can be built from its arguments")
    write(arguments={**arguments, "size": [2, 2]})
    refused(path, "too small")
    write(arguments=[1, 2])
    refused(path, "no FrameCNN can be built")
    write(arguments={**arguments, "size": [9, 20]})
    refused(path, "these weights do not fit FrameCNN: classifier.1.weight has shape")
    write()
    assert models.load(path).classes == CLASSES
