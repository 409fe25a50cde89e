"""The article's network beside the same network in PyTorch: logits, loss and all gradients."""

import numpy as np
import pytest

import nn
from video.models.frame_cnn import FrameCNN

torch = pytest.importorskip("torch")

N, T, H, W, K = 3, 2, 13, 10, 5  # 13 and 10 pool to 3 and 2: what does not fit is dropped
C1, C2, HIDDEN = 6, 7, 11


class TheirFrameCNN(torch.nn.Module):
    """The article's program, corrected, in PyTorch: frames folded into the batch."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, C1, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(C1, C2, 3, padding=1)
        self.fc1 = torch.nn.Linear(C2 * (H // 4) * (W // 4), HIDDEN)
        self.fc2 = torch.nn.Linear(HIDDEN, K)

    def forward(self, clips):  # (N, T, C, H, W)
        x = clips.flatten(0, 1)
        for conv in (self.conv1, self.conv2):
            x = torch.max_pool2d(torch.relu(conv(x)), 2)
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc2(x).unflatten(0, (-1, T)).mean(1)


def dense_from_flattened_map(weight):
    """(H·W·C, D) → PyTorch's (D, C·H·W): here the channels run fastest, there the columns do."""
    maps = weight.reshape(H // 4, W // 4, C2, HIDDEN)
    return maps.transpose(3, 2, 0, 1).reshape(HIDDEN, -1)


def layouts(network):
    """(our parameter, name of PyTorch's, how ours is turned into PyTorch's layout)."""
    conv1, conv2 = network.features[0], network.features[3]
    fc1, fc2 = network.classifier[1], network.classifier[3]

    def taps_last(weight):
        return np.moveaxis(weight, (-1, -2), (0, 1))

    return [
        (conv1.weight, "conv1.weight", taps_last),
        (conv1.bias, "conv1.bias", np.asarray),
        (conv2.weight, "conv2.weight", taps_last),
        (conv2.bias, "conv2.bias", np.asarray),
        (fc1.weight, "fc1.weight", dense_from_flattened_map),
        (fc1.bias, "fc1.bias", np.asarray),
        (fc2.weight, "fc2.weight", np.transpose),
        (fc2.bias, "fc2.bias", np.asarray),
    ]


@pytest.mark.parametrize(
    ("kernels", "dtype", "tolerance"),
    [("reference", np.float64, 1e-12), ("fast", np.float64, 1e-12), ("fast", np.float32, 2e-5)],
)
def test_frame_cnn(kernels, dtype, tolerance):
    ours = FrameCNN(K, size=(H, W), frames=T, channels=(3, C1, C2, HIDDEN), rng=0).astype(dtype)
    rng = np.random.default_rng(1)
    theirs = TheirFrameCNN().to(getattr(torch, np.dtype(dtype).name))
    for parameter, name, to_theirs in layouts(ours):
        parameter.data += 0.1 * rng.standard_normal(parameter.shape).astype(dtype)
        values = np.ascontiguousarray(to_theirs(parameter.data))
        with torch.no_grad():
            theirs.get_parameter(name).copy_(torch.from_numpy(values))
    clips, labels = rng.random((N, T, H, W, 3)).astype(dtype), rng.integers(0, K, N)

    with nn.kernels.using(kernels):
        loss = nn.CrossEntropyLoss()
        logits = ours(clips)
        value = loss(logits, labels)
        dx = ours.backward(loss.backward())
    their_x = torch.from_numpy(np.moveaxis(clips, -1, 2).copy()).requires_grad_()
    their_logits = theirs(their_x)
    their_value = torch.nn.functional.cross_entropy(their_logits, torch.from_numpy(labels))
    their_value.backward()

    def assert_close(mine, other):
        assert mine.shape == other.shape and mine.dtype == other.dtype
        assert np.abs(mine - other).max() <= tolerance * np.abs(other).max()

    assert_close(logits, their_logits.detach().numpy())
    assert value == pytest.approx(their_value.item(), rel=tolerance)
    assert_close(dx, np.moveaxis(their_x.grad.numpy(), 2, -1))
    for parameter, name, to_theirs in layouts(ours):
        assert_close(to_theirs(parameter.grad), theirs.get_parameter(name).grad.numpy())
