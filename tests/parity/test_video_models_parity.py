"""The networks over time beside the same networks in PyTorch: logits, all gradients, averages.

Weights go from PyTorch to Backreel through `nn.interop`, by name.
"""

import copy

import numpy as np
import pytest

import nn
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


T, H, W = 5, 12, 17
NARROW = (3, 4, 5, 6, 7)
PAIRS = {
    "EarlyFusionCNN": lambda: TheirEarlyFusion(T, NARROW[:4]),
    "Conv3dNet": lambda: TheirConvNet(whole_block, NARROW[:4]),
    "R2Plus1DNet": lambda: TheirConvNet(block_in_two_parts, NARROW[:4]),
    "ResNet3D": lambda: TheirResNet(NARROW),
}
CHANNELS = {"ResNet3D": NARROW}


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
    channels = CHANNELS.get(name, NARROW[:4])
    model = getattr(models, name)(K, size=(H, W), frames=T, channels=channels, rng=0)
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
        assert_close(mine[key], parameter.grad.numpy(), key)
    after = nn.interop.torch_state(model, input_shape=(T, H, W, 3))
    for key, tensor in other.state_dict().items():
        if "running" in key:
            assert_close(after[key], tensor.numpy(), key)
