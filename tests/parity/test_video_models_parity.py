"""The networks over time beside the same networks in PyTorch: logits, all gradients, averages.

Weights go from PyTorch to Backreel through `nn.interop`, by name.
"""

import copy

import numpy as np
import pytest

import nn
from nn.positional import sinusoids
from video import models

torch = pytest.importorskip("torch")
theirs = torch.nn

K, TOLERANCE = 4, 1e-10


@pytest.fixture(autouse=True)
def plain_kernels():
    """Networks are compared here; the fast kernels have tests of their own."""
    with nn.kernels.using("reference"):
        yield


# ---- the same networks in PyTorch ----------------------------------------------------------


def conv3d(*arguments, **options):
    return theirs.Conv3d(*arguments, bias=False, **options)


def whole_block(A, B, stride):
    return theirs.Sequential(
        conv3d(A, B, 3, stride=(stride, 1, 1), padding=1),
        theirs.BatchNorm3d(B),
        theirs.ReLU(),
        theirs.MaxPool3d((1, 2, 2)),
    )


def block_in_two_parts(A, B, stride):
    M = 27 * A * B // (9 * A + 3 * B)
    return theirs.Sequential(
        conv3d(A, M, (1, 3, 3), padding=(0, 1, 1)),
        theirs.BatchNorm3d(M),
        theirs.ReLU(),
        conv3d(M, B, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0)),
        theirs.BatchNorm3d(B),
        theirs.ReLU(),
        theirs.MaxPool3d((1, 2, 2)),
    )


class TheirConvNet(theirs.Module):
    def __init__(self, block, channels):
        super().__init__()
        pairs = zip(channels, channels[1:], strict=False)
        self.features = theirs.Sequential(
            *[block(a, b, 1 + (i > 0)) for i, (a, b) in enumerate(pairs)]
        )
        self.classifier = theirs.Linear(channels[-1], K)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3, 4)))


class TheirEarlyFusion(theirs.Module):
    def __init__(self, frames, channels):
        super().__init__()
        C, *widths = channels
        pairs = zip((frames * C, *widths), widths, strict=False)
        self.features = theirs.Sequential(
            *[
                theirs.Sequential(
                    theirs.Conv2d(a, b, 3, padding=1, bias=False),
                    theirs.BatchNorm2d(b),
                    theirs.ReLU(),
                    theirs.MaxPool2d(2),
                )
                for a, b in pairs
            ]
        )
        self.classifier = theirs.Linear(widths[-1], K)

    def forward(self, x):
        return self.classifier(self.features(x.transpose(1, 2).flatten(1, 2)).mean((2, 3)))


class TheirBasicBlock(theirs.Module):
    """As in torchvision's `video/resnet.py`."""

    def __init__(self, A, B, stride):
        super().__init__()
        self.conv1 = theirs.Sequential(
            conv3d(A, B, 3, stride=stride, padding=1), theirs.BatchNorm3d(B), theirs.ReLU()
        )
        self.conv2 = theirs.Sequential(conv3d(B, B, 3, padding=1), theirs.BatchNorm3d(B))
        self.downsample = None
        if stride != 1 or A != B:
            self.downsample = theirs.Sequential(
                conv3d(A, B, 1, stride=stride), theirs.BatchNorm3d(B)
            )

    def forward(self, x):
        straight = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.conv2(self.conv1(x)) + straight)


class TheirResNet(theirs.Module):
    """torchvision's `r3d_18`, narrow."""

    def __init__(self, channels):
        super().__init__()
        C, A, *_ = channels
        stem = conv3d(C, A, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3))
        self.stem = theirs.Sequential(stem, theirs.BatchNorm3d(A), theirs.ReLU())
        for i, B in enumerate(channels[1:], start=1):
            first = TheirBasicBlock(A, B, stride=1 + (i > 1))
            setattr(self, f"layer{i}", theirs.Sequential(first, TheirBasicBlock(B, B, 1)))
            A = B
        self.fc = theirs.Linear(A, K)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(x.mean((2, 3, 4)))


class TheirFrameFeatures(theirs.Module):
    def __init__(self, channels):
        super().__init__()
        C, A, B, D = channels
        self.maps = theirs.Sequential(*[self.block(a, b) for a, b in ((C, A), (A, B))])
        dense = theirs.Linear((H // 4) * (W // 4) * B, D)
        self.vector = theirs.Sequential(theirs.Flatten(), dense, theirs.LayerNorm(D))

    def block(self, a, b):
        conv = theirs.Conv2d(a, b, 3, padding=1, bias=False)
        return theirs.Sequential(conv, theirs.BatchNorm2d(b), theirs.ReLU(), theirs.MaxPool2d(2))

    def forward(self, x):  # (N, C, T, H, W)
        frames = x.transpose(1, 2)
        return self.vector(self.maps(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])


class TheirCNNRNN(theirs.Module):
    def __init__(self, cell):
        super().__init__()
        D = NARROW[3]
        self.features = TheirFrameFeatures(NARROW[:4])
        self.rnn = cell(D, D, batch_first=True)
        self.classifier = theirs.Linear(D, K)

    def forward(self, x):
        return self.classifier(self.rnn(self.features(x))[0][:, -1])


class TheirCNNAttention(theirs.Module):
    def __init__(self):
        super().__init__()
        D = NARROW[3]
        self.features = TheirFrameFeatures(NARROW[:4])
        options = {"dropout": 0, "activation": "gelu", "norm_first": True, "batch_first": True}
        self.encoder = theirs.TransformerEncoderLayer(D, 2, 2 * D, **options)
        self.norm = theirs.LayerNorm(D)
        self.query = theirs.Parameter(torch.zeros(1, 1, D))
        self.ask = theirs.MultiheadAttention(D, 2, batch_first=True)
        self.classifier = theirs.Linear(D, K)

    def forward(self, x):
        v = self.features(x)
        v = v + torch.from_numpy(sinusoids(*v.shape[1:], dtype=np.float64))
        u = self.norm(self.encoder(v))
        return self.classifier(self.ask(self.query.expand(len(u), -1, -1), u, u)[0][:, 0])


class TheirLook(theirs.Module):
    """x + attention(norm(x)); the parts are called as those of our Residual."""

    def __init__(self, D):
        super().__init__()
        attention = theirs.MultiheadAttention(D, 2, batch_first=True)
        self.body = theirs.ModuleList([theirs.LayerNorm(D), attention])

    def forward(self, x):
        norm, attention = self.body
        x_norm = norm(x)
        return x + attention(x_norm, x_norm, x_norm)[0]


class TheirDense(theirs.Module):
    def __init__(self, D):
        super().__init__()
        self.body = theirs.Sequential(
            theirs.LayerNorm(D), theirs.Linear(D, 4 * D), theirs.GELU(), theirs.Linear(4 * D, D)
        )

    def forward(self, x):
        return x + self.body(x)


class TheirDividedBlock(theirs.Module):
    def __init__(self, D):
        super().__init__()
        self.time, self.space, self.dense = TheirLook(D), TheirLook(D), TheirDense(D)

    def forward(self, x):  # (N, T, S, D)
        N, T, S, D = x.shape
        x = self.time(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (N, S)).transpose(1, 2)
        x = self.space(x.flatten(0, 1)).unflatten(0, (N, T))
        return self.dense(x)


class TheirPositions(theirs.Module):
    def __init__(self, D, grid):
        super().__init__()
        self.time_weight = theirs.Parameter(torch.zeros(T, D))
        self.space_weight = theirs.Parameter(torch.zeros(*grid, D))

    def forward(self, x):
        return x + self.time_weight[:, None, None] + self.space_weight


class TheirVideoTransformer(theirs.Module):
    def __init__(self, C=3, D=6, P=5):
        super().__init__()
        self.P, grid = P, (-(-H // P), -(-W // P))
        self.embed = theirs.Linear(P * P * C, D)
        self.positions = TheirPositions(D, grid)
        self.blocks = theirs.Sequential(TheirDividedBlock(D), TheirDividedBlock(D))
        self.norm = theirs.LayerNorm(D)
        self.classifier = theirs.Linear(D, K)

    def forward(self, x):  # (N, C, T, H, W)
        P = self.P
        x = theirs.functional.pad(x, (0, -W % P, 0, -H % P)).permute(0, 2, 3, 4, 1)
        x = x.unfold(2, P, P).unfold(3, P, P)  # (N, T, H', W', C, P, P)
        x = self.embed(x.permute(0, 1, 2, 3, 5, 6, 4).flatten(4))
        x = self.blocks(self.positions(x).flatten(2, 3))
        return self.classifier(self.norm(x).mean((1, 2)))


T, H, W = 5, 12, 17
NARROW = (3, 4, 5, 6, 7)
PAIRS = {
    "EarlyFusionCNN": lambda: TheirEarlyFusion(T, NARROW[:4]),
    "Conv3dNet": lambda: TheirConvNet(whole_block, NARROW[:4]),
    "R2Plus1DNet": lambda: TheirConvNet(block_in_two_parts, NARROW[:4]),
    "ResNet3D": lambda: TheirResNet(NARROW),
    "CNNRNN rnn": lambda: TheirCNNRNN(theirs.RNN),
    "CNNRNN lstm": lambda: TheirCNNRNN(theirs.LSTM),
    "CNNRNN gru": lambda: TheirCNNRNN(theirs.GRU),
    "CNNAttention": TheirCNNAttention,
    "VideoTransformer": TheirVideoTransformer,
}
OPTIONS = {
    "ResNet3D": {"channels": NARROW},
    "CNNRNN rnn": {"cell": "rnn"},
    "CNNRNN lstm": {"cell": "lstm"},
    "CNNRNN gru": {"cell": "gru"},
    "CNNAttention": {"heads": 2},
    "VideoTransformer": {"channels": (3, 6), "patch": 5, "depth": 2, "heads": 2},
}


# ---- the comparison ------------------------------------------------------------------------


def scrambled(network):
    """Values of its own for every parameter and running average."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.double().state_dict().items():
            if not name.endswith("num_batches_tracked"):
                values = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.copy_((values if "running" in name else values - 0.5) + 0.1)
    return network


def gradients(model):
    """{PyTorch's name: gradient in PyTorch's layout}."""
    holder = copy.deepcopy(model)
    for p, q in zip(holder.parameters(), model.parameters(), strict=True):
        p.data = q.grad
    return nn.interop.torch_state(holder, input_shape=(T, H, W, 3))


def assert_close(mine, other, what):
    assert mine.shape == other.shape, what
    assert np.abs(mine - other).max() <= TOLERANCE * max(1, np.abs(other).max()), what


@pytest.mark.parametrize("training", [True, False], ids=["training", "in use"])
@pytest.mark.parametrize("name", list(PAIRS))
def test_same_network(name, training):
    other = scrambled(PAIRS[name]()).train(training)
    options = {"size": (H, W), "frames": T, "channels": NARROW[:4], **OPTIONS.get(name, {})}
    model = getattr(models, name.split()[0])(K, rng=0, **options)
    model.astype(np.float64).train(training)
    state = {key: tensor.numpy().copy() for key, tensor in other.state_dict().items()}
    nn.interop.load_torch_state(model, state, input_shape=(T, H, W, 3))

    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((3, T, H, W, 3)), rng.standard_normal((3, K))
    y = model(x)
    dx = model.backward(dy)
    their_x = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    their_y = other(their_x)
    their_y.backward(torch.from_numpy(dy))

    assert_close(y, their_y.detach().numpy(), "logits")
    assert_close(dx, np.moveaxis(their_x.grad.numpy(), 1, -1), "dx")
    mine = gradients(model)
    for key, parameter in other.named_parameters():
        if "bias_hh" in key and "gru" not in name:
            continue  # PyTorch's second bias, which here is part of the first
        assert_close(mine[key], parameter.grad.numpy(), key)
    after = nn.interop.torch_state(model, input_shape=(T, H, W, 3))
    for key, tensor in other.state_dict().items():
        if "running" in key:
            assert_close(after[key], tensor.numpy(), key)
