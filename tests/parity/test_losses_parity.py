"""Losses beside PyTorch's: values and gradients, with every option."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")

on_both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-6)], ids=["float64", "float32"]
)
WEIGHT = np.array([0.5, 2.0, 1.0, 0.2, 3.0])


def assert_same(loss, theirs, x, target, their_target, tolerance):
    their_x = torch.from_numpy(x.copy()).requires_grad_()
    # PyTorch has the classes on axis 1, here they are on the last.
    moved = their_x.movedim(-1, 1) if isinstance(loss, nn.CrossEntropyLoss) else their_x
    their_value = theirs(moved, their_target)
    their_value.backward()
    assert loss(x, target) == pytest.approx(their_value.item(), rel=tolerance)
    dx, their_dx = loss.backward(), their_x.grad.numpy()
    assert dx.dtype == their_dx.dtype == x.dtype
    assert np.abs(dx - their_dx).max() <= tolerance * np.abs(their_dx).max()


@on_both_dtypes
@pytest.mark.parametrize("leading", [(7,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, 2, -1])
def test_cross_entropy_on_ids(leading, smoothing, weighted, ignore, dtype, tolerance):
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((*leading, 5))).astype(dtype)
    ids = rng.integers(0, 5, leading)
    if ignore is not None:
        ids.flat[::3] = ignore
    weight = WEIGHT if weighted else None
    theirs = torch.nn.CrossEntropyLoss(
        label_smoothing=smoothing,
        weight=None if weight is None else torch.from_numpy(weight.astype(dtype)),
        ignore_index=-100 if ignore is None else ignore,
    )
    ours = nn.CrossEntropyLoss(label_smoothing=smoothing, weight=weight, ignore_index=ignore)
    assert_same(ours, theirs, logits, ids, torch.from_numpy(ids), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("leading", [(6,), (2, 3, 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_on_probabilities(leading, smoothing, weighted, dtype, tolerance):
    rng = np.random.default_rng(1)
    logits = (3 * rng.standard_normal((*leading, 5))).astype(dtype)
    targets = rng.dirichlet(np.ones(5), leading).astype(dtype)
    weight = WEIGHT if weighted else None
    theirs = torch.nn.CrossEntropyLoss(
        label_smoothing=smoothing,
        weight=None if weight is None else torch.from_numpy(weight.astype(dtype)),
    )
    ours = nn.CrossEntropyLoss(label_smoothing=smoothing, weight=weight)
    their_targets = torch.from_numpy(targets).movedim(-1, 1)
    assert_same(ours, theirs, logits, targets, their_targets, tolerance)


@on_both_dtypes
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
def test_mse(shape, dtype, tolerance):
    rng = np.random.default_rng(2)
    outputs, targets = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    their_targets = torch.from_numpy(targets)
    assert_same(nn.MSELoss(), torch.nn.MSELoss(), outputs, targets, their_targets, tolerance)
