"""The networks over time beside the same networks in PyTorch: logits, all gradients, averages.

Weights go from PyTorch to Backreel through `nn.interop`, by name.
"""

import copy

import numpy as np
import pytest

import nn
from video import models

torch = pytest.importorskip("torch")
torch_video_models = pytest.importorskip("nn.bench.torch_video_models")

K, T, H, W = 4, 5, 12, 17
TOLERANCE = 1e-10
NARROW = (3, 4, 5, 6)
CASES = [
    ("FrameCNN", NARROW, {}),
    ("EarlyFusionCNN", NARROW, {}),
    ("Conv3dNet", NARROW, {}),
    ("R2Plus1DNet", NARROW, {}),
    ("ResNet3D", (*NARROW, 7), {}),
    ("SmallResNet3D", NARROW, {}),
    ("CNNRNN", NARROW, {"cell": "rnn"}),
    ("CNNRNN", NARROW, {"cell": "lstm"}),
    ("CNNRNN", NARROW, {"cell": "gru"}),
    ("CNNAttention", NARROW, {"heads": 2}),
    ("VideoTransformer", (3, 6), {"patch": 5, "depth": 2, "heads": 2}),
]


@pytest.fixture(autouse=True)
def plain_kernels():
    """Networks are compared here; the fast kernels have tests of their own."""
    with nn.kernels.using("reference"):
        yield


def test_every_network_has_its_twin():
    assert set(torch_video_models.NETWORKS) == set(models.storage.MODELS)


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
@pytest.mark.parametrize(
    ("name", "channels", "options"), CASES, ids=[" ".join(map(str, case[::2])) for case in CASES]
)
def test_same_network(name, channels, options, training):
    options = {"size": (H, W), "frames": T, "channels": channels, **options}
    other = scrambled(torch_video_models.build(name, K, **options)).train(training)
    model = getattr(models, name)(K, rng=0, **options).astype(np.float64).train(training)
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
        if "bias_hh" in key and options["cell"] != "gru":
            continue  # PyTorch's second bias, which here is part of the first
        assert_close(mine[key], parameter.grad.numpy(), key)
    after = nn.interop.torch_state(model, input_shape=(T, H, W, 3))
    for key, tensor in other.state_dict().items():
        if "running" in key:
            assert_close(after[key], tensor.numpy(), key)
