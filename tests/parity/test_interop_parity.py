"""Networks that go to PyTorch and come from there: same outputs, same training, same way back."""

import numpy as np
import pytest

import nn
from nn.interop import load_torch_state, torch_state
from video.models import FrameCNN

torch = pytest.importorskip("torch")
theirs = torch.nn

TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def plain_kernels():
    """Layouts are looked at here; the fast kernels are compared elsewhere."""
    with nn.kernels.using("reference"):
        yield


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def channels_first(x):
    """(N, *S, C) → PyTorch's (N, C, *S), as a tensor; features (N, D) stay as they are."""
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def channels_last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def arrays(network):
    """What a PyTorch network would be saved as."""
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def scramble(network):
    """Give every parameter and running average values of its own, batch counts included."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(5)
            else:
                values = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.copy_((values - 0.5 if "running" not in name else values) + 0.2)
    return network.double()


def assert_close(mine, other, tolerance=TOLERANCE):
    assert mine.shape == other.shape
    assert np.abs(mine - other).max() <= tolerance * max(np.abs(other).max(), 1)


# ---- the networks: ours, PyTorch's, and the shape of one input ------------------------------


class OurBlocks(nn.Module):
    """Modules in lists and attributes; a residual block; one module in two places."""

    def __init__(self):
        self.stem = nn.Sequential(nn.Conv2d(3, 4, (3, 2), padding=1, bias=False), nn.BatchNorm(4))
        body = nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm(6), nn.SiLU()
        self.block = nn.Residual(*body, shortcut=nn.Conv2d(4, 6, 1))
        self.shared = nn.Conv2d(6, 6, 3, padding="same", dilation=2)
        self.norm = nn.GroupNorm(3, 6)
        self.again = self.shared
        self.parts = [nn.MaxPool2d(2), nn.GlobalAvgPool(), nn.LayerNorm(6), nn.Linear(6, 5)]
        self.all = None

    def layers(self):
        return [self.stem, self.block, self.shared, self.norm, self.again, *self.parts]

    def forward(self, x):
        for layer in self.layers():
            x = layer(x)
        return x

    def backward(self, dy, need_input_grad=True):
        for layer in reversed(self.layers()):
            dy = layer.backward(dy)
        return dy


class TheirBlock(theirs.Module):
    def __init__(self):
        super().__init__()
        self.body = theirs.Sequential(
            theirs.Conv2d(4, 6, 3, padding=1, groups=2), theirs.BatchNorm2d(6), theirs.SiLU()
        )
        self.shortcut = theirs.Conv2d(4, 6, 1)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class TheirMean(theirs.Module):
    def forward(self, x):
        return x.mean((2, 3))


class TheirBlocks(theirs.Module):
    def __init__(self):
        super().__init__()
        conv = theirs.Conv2d(3, 4, (3, 2), padding=1, bias=False)
        self.stem = theirs.Sequential(conv, theirs.BatchNorm2d(4))
        self.block = TheirBlock()
        self.shared = theirs.Conv2d(6, 6, 3, padding="same", dilation=2)
        self.norm = theirs.GroupNorm(3, 6)
        self.again = self.shared
        self.parts = theirs.ModuleList(
            [theirs.MaxPool2d(2), TheirMean(), theirs.LayerNorm(6), theirs.Linear(6, 5)]
        )

    def forward(self, x):
        for layer in [self.stem, self.block, self.shared, self.norm, self.again, *self.parts]:
            x = layer(x)
        return x


class TheirFrameCNN(theirs.Module):
    def __init__(self):
        super().__init__()
        self.features = theirs.Sequential(
            theirs.Conv2d(3, 6, 3, padding=1), theirs.ReLU(), theirs.MaxPool2d(2),
            theirs.Conv2d(6, 7, 3, padding=1), theirs.ReLU(), theirs.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = theirs.Sequential(
            theirs.Flatten(), theirs.Linear(3 * 2 * 7, 11), theirs.ReLU(), theirs.Linear(11, 5)
        )

    def forward(self, clips):  # (N, C, T, H, W)
        frames = clips.transpose(1, 2)
        scores = self.classifier(self.features(frames.flatten(0, 1)))
        return scores.unflatten(0, frames.shape[:2]).mean(1)


class OurFrames(nn.Module):
    """A network for each frame, whose flattened features a convolution over time reads."""

    def __init__(self):
        self.frame = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 8))
        self.flat = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.BatchNorm(18))
        self.time = nn.Conv1d(18, 4, 2)
        self.end = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
        self.mean = nn.Linear(8, 5)

    def forward(self, x):
        N, T, H, W, C = x.shape
        self.save(N, T)
        frames = x.reshape(N * T, H, W, C)
        slow = self.frame(frames).reshape(N, T, -1).mean(axis=1)
        return self.mean(slow) + self.end(self.time(self.flat(frames).reshape(N, T, -1)))

    def backward(self, dy, need_input_grad=True):
        N, T = self.take()
        dflat = self.time.backward(self.end.backward(dy))
        dx = self.flat.backward(dflat.reshape(N * T, -1))
        dslow = np.repeat(self.mean.backward(dy) / T, T, axis=0)
        dx = dx + self.frame.backward(dslow)
        return dx.reshape(N, T, *dx.shape[1:])


class TheirFrames(theirs.Module):
    def __init__(self):
        super().__init__()
        self.frame = theirs.Sequential(
            theirs.Conv2d(2, 3, 2), theirs.Tanh(), theirs.Flatten(), theirs.Linear(18, 8)
        )
        self.flat = theirs.Sequential(
            theirs.Conv2d(2, 3, 2), theirs.Flatten(), theirs.BatchNorm1d(18)
        )
        self.time = theirs.Conv1d(18, 4, 2)
        self.end = theirs.Sequential(theirs.ReLU(), theirs.Flatten(), theirs.Linear(16, 5))
        self.mean = theirs.Linear(8, 5)

    def forward(self, x):  # (N, C, T, H, W)
        x = x.transpose(1, 2)
        N, T = x.shape[:2]
        frames = x.flatten(0, 1)
        slow = self.frame(frames).unflatten(0, (N, T)).mean(1)
        steps = self.flat(frames).unflatten(0, (N, T)).transpose(1, 2)
        return self.mean(slow) + self.end(self.time(steps))


class OurDecoder(nn.Module):
    """An image to a few features and back: flattened on the way in, folded on the way out."""

    def __init__(self):
        self.encode = nn.Sequential(
            nn.Conv2d(3, 4, 2, stride=2), nn.GELU(), nn.Dropout(0.3, rng=0), nn.Flatten(),
            nn.Dropout(0.3, rng=1), nn.LayerNorm(24), nn.LeakyReLU(), nn.Linear(24, 5),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(5, 24), nn.BatchNorm(24), nn.ReLU())
        self.decode = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), nn.Sigmoid())

    def forward(self, x):
        return self.decode(self.dense(self.encode(x)).reshape(-1, 3, 2, 4))

    def backward(self, dy, need_input_grad=True):
        dh = self.decode.backward(dy)
        return self.encode.backward(self.dense.backward(dh.reshape(len(dh), -1)))


class TheirDecoder(theirs.Module):
    def __init__(self):
        super().__init__()
        self.encode = theirs.Sequential(
            theirs.Conv2d(3, 4, 2, stride=2), theirs.GELU(), theirs.Dropout(0.3), theirs.Flatten(),
            theirs.Dropout(0.3), theirs.LayerNorm(24), theirs.LeakyReLU(), theirs.Linear(24, 5),
        )  # fmt: skip
        self.dense = theirs.Sequential(theirs.Linear(5, 24), theirs.BatchNorm1d(24), theirs.ReLU())
        deconv = theirs.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.decode = theirs.Sequential(deconv, theirs.Sigmoid())

    def forward(self, x):
        return self.decode(self.dense(self.encode(x)).unflatten(1, (4, 3, 2)))


def sequential(of):
    """The same list of layers, from `nn` or from `torch.nn`, over three axes and then one."""
    if of is nn:
        norm, flatten = nn.BatchNorm(6), nn.Flatten()
        rest = [nn.AvgPool3d(2), flatten, nn.Tanh(), nn.Linear(2 * 2 * 1 * 6, 7), nn.BatchNorm(7)]
    else:
        norm, flatten = of.BatchNorm3d(6), of.Flatten()
        rest = [of.AvgPool3d(2), flatten, of.Tanh(), of.Linear(24, 7), of.BatchNorm1d(7)]
    return of.Sequential(
        of.Conv3d(2, 4, (1, 2, 3), groups=2),
        of.ConvTranspose3d(4, 6, (2, 1, 2), dilation=(1, 1, 1)),
        norm,
        *rest,
        of.ReLU(),
        of.Linear(7, 5, bias=False),
    )


def one_axis(of):
    last = [nn.LayerNorm(12), nn.Softmax()] if of is nn else [of.LayerNorm(12), of.Softmax(1)]
    return of.Sequential(
        of.Conv1d(2, 3, 3, stride=2),
        of.ConvTranspose1d(3, 4, 2, output_padding=0, groups=1),
        of.MaxPool1d(2),
        of.Flatten(),
        *last,
        of.Linear(12, 5),
    )


NETWORKS = {
    "one axis": (lambda: one_axis(nn), lambda: one_axis(theirs), (11, 2)),
    "three axes": (lambda: sequential(nn), lambda: sequential(theirs), (3, 5, 4, 2)),
    "blocks": (OurBlocks, TheirBlocks, (7, 6, 3)),
    "frames": (OurFrames, TheirFrames, (5, 4, 3, 2)),
    "decoder": (OurDecoder, TheirDecoder, (6, 4, 3)),
    "FrameCNN": (
        lambda: FrameCNN(5, size=(13, 10), frames=2, channels=(3, 6, 7, 11), rng=0),
        TheirFrameCNN,
        (2, 13, 10, 3),
    ),
}

each_network = pytest.mark.parametrize(
    ("build", "build_theirs", "shape"), NETWORKS.values(), ids=NETWORKS
)


@each_network
def test_a_pytorch_network_comes_over_and_goes_back(build, build_theirs, shape):
    our, other = build().astype(np.float64), scramble(build_theirs())
    state = arrays(other)
    load_torch_state(our, state, shape)
    x = array(4, *shape)

    our.eval(), other.eval()
    mine, expected = our(x), other(channels_first(x))
    assert_close(mine, channels_last(expected) if mine.ndim > 2 else expected.detach().numpy())

    back = torch_state(our, shape)
    assert list(back) == list(state)  # the same names in the same order
    for name, values in back.items():
        if name.endswith("num_batches_tracked"):
            assert values.dtype == state[name].dtype and values == 0
        else:
            assert np.array_equal(values, state[name]), name
    build_theirs().double().load_state_dict({n: torch.from_numpy(a) for n, a in back.items()})


@each_network
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_it_trains_on_as_it_would_have_there(build, build_theirs, shape, optimizer):
    """Six steps on both sides from the same weights: same losses, same weights after them."""
    our, other = build().astype(np.float64).train(), scramble(build_theirs()).train()
    for side in (our.named_modules(), other.named_modules()):
        for _, module in side:
            if isinstance(module, nn.Dropout | theirs.Dropout):
                module.eval()  # the two draw from different generators
    load_torch_state(our, arrays(other), shape)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    ours = getattr(nn.optim, optimizer)(our.parameters(), lr=0.01, **options)
    their = getattr(torch.optim, optimizer)(other.parameters(), lr=0.01, **options)

    x = array(6, *shape, seed=1)
    target = array(*nn_output_shape(our, x), seed=2)
    loss, their_loss = nn.MSELoss(), theirs.MSELoss()
    their_target = channels_first(target) if target.ndim > 2 else torch.from_numpy(target)
    first = None
    for _ in range(6):
        ours.zero_grad(), their.zero_grad()
        value = loss(our(x), target)
        our.backward(loss.backward())
        their_value = their_loss(other(channels_first(x)), their_target)
        their_value.backward()
        assert value == pytest.approx(their_value.item(), rel=1e-9)
        ours.step(), their.step()
        first = first or value
    assert value < first

    state = arrays(other)
    for name, values in torch_state(our, shape).items():
        if not name.endswith("num_batches_tracked"):
            assert_close(values, state[name], 1e-7)


def nn_output_shape(model, x):
    """The shape of model(x), found on a run that leaves no trace in running averages."""
    model.eval()
    with nn.inference():
        shape = model(x).shape
    model.train()
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return shape


def test_an_embedding_comes_over():
    our = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3)).astype(np.float64)
    other = theirs.Sequential(theirs.Embedding(9, 4), theirs.Flatten(), theirs.Linear(20, 3))
    load_torch_state(our, arrays(other.double()), (5,))
    ids = np.random.default_rng(0).integers(0, 9, (6, 5))
    assert_close(our(ids), other(torch.from_numpy(ids)).detach().numpy())


def test_tensors_themselves_are_taken_too():
    """`state_dict()` without turning tensors into arrays, and float32 into a float64 network."""
    our, other = nn.Linear(3, 2).astype(np.float64), theirs.Linear(3, 2)
    load_torch_state(our, other.state_dict())
    assert our.weight.data.dtype == np.float64
    assert np.array_equal(our.weight.data, other.weight.detach().numpy().T)
