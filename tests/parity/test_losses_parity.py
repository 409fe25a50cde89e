"""Losses beside PyTorch's: values and gradients, with every option."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")

on_both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-6)], ids=["float64", "float32"]
)
WEIGHT = np.array([0.5, 2.0, 1.0, 0.2, 3.0])
TORCH = {np.float32: torch.float32, np.float64: torch.float64}


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


# ---- the others ---------------------------------------------------------------------------


@on_both_dtypes
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.L1Loss(), torch.nn.L1Loss()),
        (nn.HuberLoss(), torch.nn.HuberLoss()),
        (nn.HuberLoss(0.3), torch.nn.HuberLoss(delta=0.3)),
        (nn.HuberLoss(2.5), torch.nn.HuberLoss(delta=2.5)),
    ],
    ids=["L1", "Huber", "Huber(0.3)", "Huber(2.5)"],
)
def test_distances(ours, theirs, shape, dtype, tolerance):
    rng = np.random.default_rng(3)
    outputs, targets = ((2 * rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    targets.flat[0] = outputs.flat[0]  # met exactly: no slope there, and both say 0
    assert_same(ours, theirs, outputs, targets, torch.from_numpy(targets), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 4, 5)])
@pytest.mark.parametrize("pos_weight", [None, 3.0, WEIGHT], ids=["none", "one", "each"])
def test_binary_cross_entropy(shape, pos_weight, dtype, tolerance):
    rng = np.random.default_rng(4)
    logits = (5 * rng.standard_normal(shape)).astype(dtype)
    logits.flat[:2] = [80, -80]
    targets = rng.integers(0, 5, shape).astype(dtype) / 4
    options = {} if pos_weight is None else dict(pos_weight=pos_weight)
    theirs = torch.nn.BCEWithLogitsLoss(
        pos_weight=None if pos_weight is None else torch.tensor(pos_weight, dtype=TORCH[dtype])
    )
    ours = nn.BCEWithLogitsLoss(**options)
    assert_same(ours, theirs, logits, targets, torch.from_numpy(targets), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce(temperature, dtype, tolerance):
    """PyTorch has it in three pieces: normalise, compare, cross-entropy."""
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal((6, 4)).astype(dtype) for _ in range(2)]
    q, k = (torch.from_numpy(a).requires_grad_() for a in arrays)
    similarity = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(k).T
    theirs = torch.nn.functional.cross_entropy(similarity / temperature, torch.arange(6))
    theirs.backward()
    ours = nn.InfoNCELoss(temperature)
    assert ours(*arrays) == pytest.approx(theirs.item(), rel=tolerance)
    assert_gradients(ours.backward(), (q, k), 4 * tolerance)


@on_both_dtypes
@pytest.mark.parametrize("margin", [0.2, 1.0, 5.0])
def test_triplet(margin, dtype, tolerance):
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal((9, 4)).astype(dtype) for _ in range(3)]
    arrays[1][0] = arrays[0][0]  # an anchor that equals its positive
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    theirs = torch.nn.TripletMarginLoss(margin)(*tensors)
    theirs.backward()
    ours = nn.TripletLoss(margin)
    assert ours(*arrays) == pytest.approx(theirs.item(), rel=tolerance)
    assert_gradients(ours.backward(), tensors, 4 * tolerance)


@on_both_dtypes
@pytest.mark.parametrize("of_classes", [True, False])
def test_dice(of_classes, dtype, tolerance):
    """PyTorch has none; its own arithmetic, differentiated by autograd, is the oracle."""
    rng = np.random.default_rng(7)
    logits = (2 * rng.standard_normal((2, 3, 4, 5))).astype(dtype)
    z = torch.from_numpy(logits).requires_grad_()
    if of_classes:
        targets = rng.integers(0, 5, (2, 3, 4))
        p, g = torch.softmax(z, -1), torch.nn.functional.one_hot(torch.from_numpy(targets), 5)
    else:
        targets = rng.integers(0, 2, logits.shape)
        p, g = torch.sigmoid(z), torch.from_numpy(targets)
    places = (0, 1, 2)
    overlap, areas = (p * g).sum(places), p.sum(places) + g.sum(places)
    theirs = 1 - ((2 * overlap + 0.5) / (areas + 0.5)).mean()
    theirs.backward()
    ours = nn.DiceLoss(smooth=0.5)
    assert ours(logits, targets) == pytest.approx(theirs.item(), rel=tolerance)
    assert_gradients((ours.backward(),), (z,), 4 * tolerance)


def assert_gradients(ours, tensors, tolerance):
    for gradient, t in zip(ours, tensors, strict=True):
        theirs = t.grad.numpy()
        assert gradient.dtype == theirs.dtype
        assert np.abs(gradient - theirs).max() <= tolerance * np.abs(theirs).max()
