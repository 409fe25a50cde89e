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
    # For this loss PyTorch has the classes on axis 1, here they are on the last.
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


DIFFERENCES = [
    (nn.MSELoss(), torch.nn.MSELoss()),
    (nn.L1Loss(), torch.nn.L1Loss()),
    (nn.HuberLoss(), torch.nn.HuberLoss()),
    (nn.HuberLoss(0.3), torch.nn.HuberLoss(delta=0.3)),
]


@on_both_dtypes
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
@pytest.mark.parametrize(("loss", "theirs"), DIFFERENCES, ids=lambda loss: repr(loss))
def test_differences(loss, theirs, shape, dtype, tolerance):
    rng = np.random.default_rng(2)
    outputs, targets = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    outputs.flat[0] = targets.flat[0]  # where L1 has no derivative
    their_targets = torch.from_numpy(targets)
    assert_same(loss, theirs, outputs, targets, their_targets, tolerance)


@on_both_dtypes
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 2, 5)])
@pytest.mark.parametrize("pos_weight", [1.0, 3.5, WEIGHT], ids=["1", "3.5", "per class"])
def test_binary_cross_entropy(pos_weight, shape, dtype, tolerance):
    rng = np.random.default_rng(3)
    logits = (5 * rng.standard_normal(shape)).astype(dtype)
    targets = np.where(rng.random(shape) < 0.5, rng.random(shape), rng.integers(0, 2, shape))
    targets = targets.astype(dtype)
    theirs = torch.nn.BCEWithLogitsLoss(
        pos_weight=torch.from_numpy(np.asarray(pos_weight).astype(dtype))
    )
    ours = nn.BCEWithLogitsLoss(pos_weight)
    assert_same(ours, theirs, logits, targets, torch.from_numpy(targets), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("seed", range(12))
def test_drawn_shapes_and_options(seed, dtype, tolerance):
    rng = np.random.default_rng(seed)
    K = int(rng.integers(2, 9))
    leading = tuple(rng.integers(1, 6, rng.integers(1, 4)))
    x = (rng.uniform(0.1, 5) * rng.standard_normal((*leading, K))).astype(dtype)
    t = rng.standard_normal(x.shape).astype(dtype)
    delta, smoothing = float(rng.uniform(0.1, 2)), float(rng.uniform(0, 0.5))
    weight = rng.uniform(0.1, 3, K).astype(dtype)
    ids = rng.integers(0, K, leading)
    their_weight, their_ids = torch.from_numpy(weight), torch.from_numpy(ids)
    yes = rng.random(x.shape).astype(dtype)
    for ours, theirs, target in (
        (nn.L1Loss(), torch.nn.L1Loss(), t),
        (nn.MSELoss(), torch.nn.MSELoss(), t),
        (nn.HuberLoss(delta), torch.nn.HuberLoss(delta=delta), t),
        (nn.BCEWithLogitsLoss(weight), torch.nn.BCEWithLogitsLoss(pos_weight=their_weight), yes),
    ):
        assert_same(ours, theirs, x, target, torch.from_numpy(target), tolerance)
    ours = nn.CrossEntropyLoss(smoothing, weight)
    theirs = torch.nn.CrossEntropyLoss(their_weight, label_smoothing=smoothing)
    assert_same(ours, theirs, x, ids, their_ids, tolerance)


# ---- against expressions in PyTorch's own differentiation -----------------------------------


def dice_of(p, g, smooth):
    """Rows (…, K), averaged over the K columns."""
    p, g = p.reshape(-1, p.shape[-1]), g.reshape(-1, g.shape[-1])
    return 1 - ((2 * (p * g).sum(0) + smooth) / (p.sum(0) + g.sum(0) + smooth)).mean()


@on_both_dtypes
@pytest.mark.parametrize("leading", [(9,), (2, 3, 4)])
@pytest.mark.parametrize("smooth", [1.0, 0.1])
@pytest.mark.parametrize("ignore", [None, 255, 1])
def test_dice_on_ids(ignore, smooth, leading, dtype, tolerance):
    rng = np.random.default_rng(4)
    logits = (2 * rng.standard_normal((*leading, 5))).astype(dtype)
    ids = rng.integers(0, 5, leading)
    if ignore is not None:
        ids.flat[::4] = ignore

    def theirs(z, ids):
        counted = torch.ones_like(ids, dtype=bool) if ignore is None else ids != ignore
        g = torch.nn.functional.one_hot(ids[counted], 5).to(z.dtype)
        return dice_of(z[counted].softmax(-1), g, smooth)

    ours = nn.DiceLoss(smooth, ignore_index=ignore)
    assert_same(ours, theirs, logits, ids, torch.from_numpy(ids), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("shape", [(9, 1), (2, 3, 4, 3)])
def test_dice_on_masks(shape, dtype, tolerance):
    rng = np.random.default_rng(5)
    logits, masks = rng.standard_normal(shape).astype(dtype), rng.random(shape) < 0.4

    def theirs(z, g):
        return dice_of(z.sigmoid(), g.to(z.dtype), 1.0)

    assert_same(nn.DiceLoss(), theirs, logits, masks, torch.from_numpy(masks), tolerance)


def assert_same_of_several(loss, theirs, arrays, tolerance):
    """As `assert_same`, for losses that take several arrays and give a gradient for each."""
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]
    their_value = theirs(*tensors)
    their_value.backward()
    assert loss(*arrays) == pytest.approx(their_value.item(), rel=tolerance)
    for dx, tensor in zip(loss.backward(), tensors, strict=True):
        their_dx = tensor.grad.numpy()
        assert dx.dtype == their_dx.dtype == tensor.detach().numpy().dtype
        assert np.abs(their_dx).max() > 0
        assert np.abs(dx - their_dx).max() <= tolerance * np.abs(their_dx).max()


@on_both_dtypes
@pytest.mark.parametrize("shape", [(1, 4), (6, 3), (5, 17)])
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_triplet(margin, shape, dtype, tolerance):
    rng = np.random.default_rng(6)
    anchor, positive, negative = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    if margin == 1.0:
        positive[0] = anchor[0]  # no distance at all
    negative[0] = anchor[0] + 0.01  # inside the margin
    theirs = torch.nn.TripletMarginLoss(margin=margin)
    if dtype == np.float32:
        tolerance = 2e-5  # differences of near rows have fewer digits
    assert_same_of_several(nn.TripletLoss(margin), theirs, (anchor, positive, negative), tolerance)


@on_both_dtypes
@pytest.mark.parametrize("shape", [(2, 3), (7, 5)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce(temperature, shape, dtype, tolerance):
    rng = np.random.default_rng(7)
    queries, keys = (3 * rng.standard_normal(shape).astype(dtype) for _ in range(2))

    def theirs(q, k):
        q, k = (torch.nn.functional.normalize(x, dim=1) for x in (q, k))
        return torch.nn.functional.cross_entropy(q @ k.T / temperature, torch.arange(len(q)))

    if dtype == np.float32:
        tolerance = 2e-5  # the division by τ enlarges rounding
    assert_same_of_several(nn.InfoNCELoss(temperature), theirs, (queries, keys), tolerance)
