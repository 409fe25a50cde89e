"""Twenty steps of each optimiser beside PyTorch's, from equal weights on equal gradients."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")

OPTIMIZERS = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, weight_decay=0.05)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ("SGD", dict(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.05)),
    ("AdamW", dict(lr=0.01)),
    ("AdamW", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    ("AdamW", dict(lr=0.05, weight_decay=0.0)),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIMIZERS]


def networks(dtype):
    """The same two-layer network twice."""
    ours = nn.Sequential(nn.Linear(5, 7, rng=0), nn.Tanh(), nn.Linear(7, 3, rng=1)).astype(dtype)
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).to(
        getattr(torch, np.dtype(dtype).name)
    )
    with torch.no_grad():
        for i in (0, 2):
            theirs[i].weight.copy_(torch.from_numpy(ours[i].weight.data.T.copy()))
            theirs[i].bias.copy_(torch.from_numpy(ours[i].bias.data))
    return ours, theirs


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_twenty_steps(name, options, dtype, tolerance):
    ours, theirs = networks(dtype)
    optimizer = getattr(nn.optim, name)(ours.parameters(), **options)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **options)
    loss, their_loss = nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    rng = np.random.default_rng(2)
    before = ours[0].weight.data.copy()
    for step in range(20):
        x, labels = rng.standard_normal((6, 5)).astype(dtype), rng.integers(0, 3, 6)
        if step == 10:  # as a schedule would
            optimizer.lr /= 2
            their_optimizer.param_groups[0]["lr"] /= 2
        optimizer.zero_grad()
        loss(ours(x), labels)
        ours.backward(loss.backward())
        optimizer.step()
        their_optimizer.zero_grad()
        their_loss(theirs(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        their_optimizer.step()
    assert np.abs(ours[0].weight.data - before).max() > 0.01  # something was learned
    for i in (0, 2):
        for mine, other in (
            (ours[i].weight.data, theirs[i].weight.detach().numpy().T),
            (ours[i].bias.data, theirs[i].bias.detach().numpy()),
        ):
            assert mine.dtype == dtype
            assert np.abs(mine - other).max() <= tolerance * np.abs(other).max()


def test_a_frozen_parameter_stays_as_in_pytorch():
    ours, theirs = networks(np.float64)
    ours[0].weight.trainable = False
    theirs[0].weight.requires_grad_(False)
    frozen = ours[0].weight.data.copy()
    optimizer = nn.optim.AdamW(ours.parameters(), lr=0.1)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.1)
    x = np.random.default_rng(0).standard_normal((4, 5))
    for _ in range(3):
        optimizer.zero_grad()
        ours.backward(2 * ours(x))
        optimizer.step()
        their_optimizer.zero_grad()
        (theirs(torch.from_numpy(x)) ** 2).sum().backward()
        their_optimizer.step()
    np.testing.assert_array_equal(ours[0].weight.data, frozen)
    np.testing.assert_allclose(ours[2].weight.data, theirs[2].weight.detach().numpy().T, rtol=1e-10)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_clipping_the_gradient_norm(max_norm):
    ours, theirs = networks(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 5))
    ours.backward(2 * ours(x))
    (theirs(torch.from_numpy(x)) ** 2).sum().backward()
    norm = nn.optim.clip_grad_norm(ours.parameters(), max_norm)
    their_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert norm == pytest.approx(their_norm.item(), rel=1e-12)
    for i in (0, 2):  # PyTorch adds 1e-6 to the norm before it divides
        np.testing.assert_allclose(ours[i].weight.grad, theirs[i].weight.grad.numpy().T, rtol=2e-5)
