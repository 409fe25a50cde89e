"""Losses by hand: values worked out on paper, options, and errors in one line."""

import numpy as np
import pytest

import nn

LOG2, LOG4 = np.log(2.0), np.log(4.0)
LOGITS = np.log(np.array([[1.0, 1, 2], [4, 2, 2]]))  # softmax: 1/4 1/4 1/2 and 1/2 1/4 1/4


def error_of(call, *args, **kwargs):
    with pytest.raises(ValueError) as error:
        call(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message and len(message) < 250
    return message


def test_cross_entropy_on_paper():
    loss = nn.CrossEntropyLoss()
    assert loss(LOGITS, np.array([2, 1])) == pytest.approx((LOG2 + LOG4) / 2)
    np.testing.assert_allclose(
        loss.backward(), np.array([[1 / 4, 1 / 4, -1 / 2], [1 / 2, -3 / 4, 1 / 4]]) / 2
    )


def test_cross_entropy_is_minus_the_log_of_softmax():
    rng = np.random.default_rng(0)
    logits, ids = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    softmax, loss = nn.Softmax(), nn.CrossEntropyLoss()
    p = softmax(logits)
    assert loss(logits, ids) == pytest.approx(-np.log(p[np.arange(5), ids]).mean())
    dp = np.zeros_like(p)
    dp[np.arange(5), ids] = -1 / p[np.arange(5), ids] / 5
    np.testing.assert_allclose(loss.backward(), softmax.backward(dp), atol=1e-15)


def test_uniform_logits_cost_log_k():
    assert nn.CrossEntropyLoss()(np.zeros((3, 10)), np.array([0, 5, 9])) == pytest.approx(
        np.log(10)
    )


def test_label_smoothing_on_paper():
    loss = nn.CrossEntropyLoss(label_smoothing=0.3)  # 0.8 for the label, 0.1 for the others
    value = loss(LOGITS[:1], np.array([2]))
    assert value == pytest.approx(0.8 * LOG2 + 0.2 * LOG4)
    np.testing.assert_allclose(loss.backward(), [[0.25 - 0.1, 0.25 - 0.1, 0.5 - 0.8]])


def test_class_weights_divide_by_their_sum():
    loss = nn.CrossEntropyLoss(weight=[1, 3, 2])
    assert loss(LOGITS, np.array([2, 1])) == pytest.approx((2 * LOG2 + 3 * LOG4) / 5)


def test_ignored_labels_count_for_nothing():
    loss = nn.CrossEntropyLoss(ignore_index=-1)
    assert loss(LOGITS, np.array([-1, 1])) == pytest.approx(LOG4)
    dz = loss.backward()
    assert not dz[0].any()
    np.testing.assert_allclose(dz[1], [1 / 2, -3 / 4, 1 / 4])


def test_all_labels_ignored():
    loss = nn.CrossEntropyLoss(ignore_index=1)
    assert loss(LOGITS, np.array([1, 1])) == 0
    assert not loss.backward().any()


def test_soft_targets_equal_the_mix_of_their_ids():
    q = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]])
    expected = np.mean([(LOG4 + LOG4) / 2, 0.25 * LOG4 + 0.75 * LOG4])
    assert nn.CrossEntropyLoss()(LOGITS, q) == pytest.approx(expected)
    one_hot = np.eye(3)[[2, 1]]
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    assert loss(LOGITS, one_hot) == pytest.approx(loss(LOGITS, np.array([2, 1])))
    np.testing.assert_allclose(loss.backward(), loss.backward())


def test_leading_axes_are_rows():
    rng = np.random.default_rng(1)
    logits, ids = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 5, (2, 3, 4))
    loss = nn.CrossEntropyLoss()
    value, dz = loss(logits, ids), loss.backward()
    assert value == pytest.approx(loss(logits.reshape(-1, 5), ids.ravel()))
    np.testing.assert_array_equal(dz.reshape(-1, 5), loss.backward())


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_ids_of_any_integer_type(dtype):
    assert nn.CrossEntropyLoss()(LOGITS, np.array([2, 1], dtype)) == pytest.approx(
        (LOG2 + LOG4) / 2
    )


def test_huge_logits_stay_finite():
    loss = nn.CrossEntropyLoss()
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    assert loss(logits, np.array([0, 1])) == pytest.approx(1e4)
    np.testing.assert_allclose(loss.backward(), [[0, 0], [0.5, -0.5]])


def test_mse_on_paper():
    loss = nn.MSELoss()
    assert loss(np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0], [0, 4]])) == 13 / 4
    np.testing.assert_array_equal(loss.backward(), [[0, 1], [1.5, 0]])


# ---- differences ----------------------------------------------------------------------------


def test_l1_on_paper():
    loss = nn.L1Loss()
    assert loss(np.array([[1.0, 2], [3, 4]]), np.array([[1.5, 0], [0, 4]])) == 5.5 / 4
    np.testing.assert_array_equal(loss.backward(), [[-0.25, 0.25], [0.25, 0]])


def test_huber_on_paper():
    """δ = 2, errors −1, 2, 3 and −6: 1/2, 2 (where both forms meet), 2 (3 − 1), 2 (6 − 1)."""
    loss = nn.HuberLoss(delta=2)
    assert loss(np.array([-1.0, 2, 3, -6]), np.zeros(4)) == pytest.approx((0.5 + 2 + 4 + 10) / 4)
    np.testing.assert_array_equal(loss.backward(), np.array([-1, 2, 2, -2]) / 4)


def test_huber_goes_from_half_the_square_to_the_absolute_difference():
    x, t = np.random.default_rng(0).standard_normal((2, 5, 3))
    assert nn.HuberLoss(delta=1e6)(x, t) == pytest.approx(nn.MSELoss()(x, t) / 2)
    small = 1e-6
    assert nn.HuberLoss(delta=small)(x, t) / small == pytest.approx(nn.L1Loss()(x, t), rel=1e-5)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()], ids=repr)
def test_bytes_as_targets_do_not_wrap_around(loss):
    """Frames are uint8; 3 − 5 in bytes would be 254."""
    outputs, frame = np.full((1, 2), 3.0, np.float32), np.full((1, 2), 5, np.uint8)
    assert loss(outputs, frame) == loss(outputs, np.full((1, 2), 5.0)) <= 4


# ---- binary cross-entropy -------------------------------------------------------------------

ODDS = np.log(np.array([[1.0, 3], [3, 1 / 3]]))  # probabilities 1/2, 3/4, 3/4, 1/4


def test_binary_cross_entropy_on_paper():
    loss = nn.BCEWithLogitsLoss()
    t = np.array([[1.0, 1], [0, 0]])
    expected = (np.log(2) + np.log(4 / 3) + np.log(4) + np.log(4 / 3)) / 4
    assert loss(ODDS, t) == pytest.approx(expected)
    np.testing.assert_allclose(loss.backward(), np.array([[-1 / 2, -1 / 4], [3 / 4, 1 / 4]]) / 4)


def test_pos_weight_counts_the_yeses():
    t = np.array([[1.0, 1], [0, 0]])
    loss = nn.BCEWithLogitsLoss(pos_weight=[2, 5])  # one for each class, the last axis
    expected = (2 * np.log(2) + 5 * np.log(4 / 3) + np.log(4) + np.log(4 / 3)) / 4
    assert loss(ODDS, t) == pytest.approx(expected)
    np.testing.assert_allclose(loss.backward(), np.array([[-1, -5 / 4], [3 / 4, 1 / 4]]) / 4)
    number = nn.BCEWithLogitsLoss(pos_weight=3)
    expected = (3 * np.log(2) + 3 * np.log(4 / 3) + np.log(4) + np.log(4 / 3)) / 4
    assert number(ODDS, t) == pytest.approx(expected)


def test_binary_cross_entropy_of_probabilities():
    """For t = 1/4 the gradient vanishes where σ(z) = 1/4, and the loss there is t's entropy."""
    loss = nn.BCEWithLogitsLoss()
    z, t = np.log(np.array([1 / 3])), np.array([0.25])
    assert loss(z, t) == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3))
    np.testing.assert_allclose(loss.backward(), [0], atol=1e-16)


def test_binary_is_cross_entropy_of_two_classes():
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal(9), rng.integers(0, 2, 9)
    both = np.stack([np.zeros(9), z], axis=1)
    binary, two = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()
    assert binary(z, labels) == pytest.approx(two(both, labels))
    np.testing.assert_allclose(binary.backward(), two.backward()[:, 1], atol=1e-15)


def test_sure_logits_stay_finite():
    loss = nn.BCEWithLogitsLoss()
    z = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    assert loss(z, np.array([1, 0, 0, 1])) == pytest.approx(5e3)
    np.testing.assert_array_equal(loss.backward(), [0, 0, 0.25, -0.25])


# ---- Dice -----------------------------------------------------------------------------------


def test_dice_of_masks_on_paper():
    """One mask, p = 1/2, 3/4, 1/4, g = 1, 1, 0, s = 1: I = 5/4, areas 3/2 + 2, so 1 − 3.5/4.5."""
    loss = nn.DiceLoss(smooth=1)
    z = np.log(np.array([[1.0], [3], [1 / 3]]))
    assert loss(z, np.array([[1], [1], [0]])) == pytest.approx(1 - 3.5 / 4.5)
    # dp = −2g/4.5 + 3.5/4.5², dz = dp p (1 − p)
    dp = np.array([[-2 / 4.5], [-2 / 4.5], [0]]) + 3.5 / 4.5**2
    np.testing.assert_allclose(loss.backward(), dp * np.array([[1 / 4], [3 / 16], [3 / 16]]))


def test_dice_of_classes_on_paper():
    """p as for LOGITS, ids 2 and 0, s = 0: overlaps 1, 0, 1 of areas 7/4, 1/2, 7/4."""
    loss = nn.DiceLoss(smooth=0)
    assert loss(LOGITS, np.array([2, 0])) == pytest.approx(1 - (4 / 7 + 0 + 4 / 7) / 3)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_dice_of_the_right_answer_is_zero(smooth):
    ids = np.array([[0, 1, 2], [2, 2, 1]])
    loss = nn.DiceLoss(smooth=smooth)
    assert loss(100.0 * np.eye(3)[ids], ids) == pytest.approx(0, abs=1e-12)
    assert loss(100.0 * np.eye(3)[(ids + 1) % 3], ids) > 0.6


def test_dice_without_ignored_pixels():
    rng = np.random.default_rng(0)
    z, ids = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 5, (2, 3, 4))
    ids[:, 1] = 255
    loss = nn.DiceLoss(ignore_index=255)
    value, dz = loss(z, ids), loss.backward()
    kept = ids != 255
    assert value == pytest.approx(loss(z[kept], ids[kept]))
    np.testing.assert_allclose(dz[kept], loss.backward(), atol=1e-15)
    assert not dz[~kept].any() and dz[kept].all()


def test_dice_of_many_pixels_keeps_its_digits():
    """Added row by row in float32, a million pixels would be off by 3e-7 here."""
    rng = np.random.default_rng(0)
    z, g = rng.standard_normal((1_000_000, 2)) - 3, rng.random((1_000_000, 2)) < 0.05
    with nn.inference():
        exact = nn.DiceLoss()(z, g)
        assert nn.DiceLoss()(z.astype(np.float32), g) == pytest.approx(exact, rel=2e-8)


# ---- what belongs together ------------------------------------------------------------------


def test_info_nce_on_paper():
    """Cosines 1, 0.6 and 0, 0.8, divided by τ = 1/2; lengths do not count."""
    q, k = np.array([[2.0, 0], [0, 5]]), np.array([[3.0, 0], [0.6, 0.8]])
    loss = nn.InfoNCELoss(temperature=0.5)
    expected = -(2 - np.log(np.exp(2) + np.exp(1.2)) + 1.6 - np.log(1 + np.exp(1.6))) / 2
    assert loss(q, k) == pytest.approx(expected)
    dq, dk = loss.backward()
    for x, dx in ((q, dq), (k, dk)):
        np.testing.assert_allclose((x * dx).sum(axis=1), 0, atol=1e-15)  # lengths do not count
    p = 1 / (1 + np.exp(0.8))  # what the first query gives to the wrong key
    assert dq[0, 1] == pytest.approx(p * 0.8 / 0.5 / 2 / 2)  # τ, N, |q|
    np.testing.assert_allclose(dq[0, 0], 0, atol=1e-15)


def test_info_nce_of_strangers_is_log_n():
    """Rows that are all alike: the partner is as likely as any other."""
    assert nn.InfoNCELoss()(np.ones((7, 3)), np.ones((7, 3))) == pytest.approx(np.log(7))


def test_triplet_on_paper():
    """Distances 5 and 4, 1 and 3; margin 1.5: the excess is 2.5, and nothing."""
    a = np.zeros((2, 2))
    p, n = np.array([[3.0, 4], [0, 1]]), np.array([[0.0, 4], [3, 0]])
    loss = nn.TripletLoss(margin=1.5)
    assert loss(a, p, n) == pytest.approx(2.5 / 2, rel=1e-5)
    da, dp, dn = loss.backward()
    u, v = np.array([-3 / 5, -4 / 5]), np.array([0.0, -1])
    for found, expected in ((da, u - v), (dp, -u), (dn, v)):
        np.testing.assert_allclose(found, [expected / 2, [0, 0]], atol=1e-6)


# ---- what all losses share ------------------------------------------------------------------

SHARED = [
    (nn.CrossEntropyLoss(0.1, weight=[1, 2, 3]), np.array([0, 2, 1, 1])),
    (nn.CrossEntropyLoss(), np.full((4, 3), 1 / 3)),
    (nn.MSELoss(), np.zeros((4, 3))),
    (nn.L1Loss(), np.zeros((4, 3))),
    (nn.HuberLoss(0.3), np.zeros((4, 3))),
    (nn.BCEWithLogitsLoss([1, 2, 3]), np.eye(4, 3)),
    (nn.DiceLoss(), np.array([0, 2, 1, 1])),
    (nn.DiceLoss(ignore_index=1), np.array([0, 2, 1, 1])),
    (nn.DiceLoss(), np.eye(4, 3, dtype=bool)),
    (nn.InfoNCELoss(), np.eye(4, 3, dtype=np.float32)),
]


@pytest.mark.parametrize(("loss", "target"), SHARED, ids=lambda value: repr(value)[:40])
def test_values_are_floats_and_gradients_keep_float32(loss, target):
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    assert type(loss(x, target)) is float
    gradients = loss.backward()
    for dx in gradients if isinstance(gradients, tuple) else (gradients,):
        assert dx.dtype == np.float32 and dx.shape == (4, 3) and dx.any()


def test_triplet_values_are_floats_and_gradients_keep_float32():
    a, p, n = np.random.default_rng(0).standard_normal((3, 4, 3)).astype(np.float32)
    loss = nn.TripletLoss()
    assert type(loss(a, p, n)) is float
    assert all(dx.dtype == np.float32 and dx.shape == (4, 3) for dx in loss.backward())


def test_several_losses_in_a_row_come_back_last_first():
    loss = nn.CrossEntropyLoss()
    loss(LOGITS, np.array([2, 1]))
    first = loss.backward()
    loss(LOGITS, np.array([2, 1]))
    loss(2 * LOGITS, np.array([0, 0]))
    loss.backward()
    np.testing.assert_array_equal(loss.backward(), first)


def test_errors():
    loss = nn.CrossEntropyLoss()
    assert error_of(loss, LOGITS, np.array([0, 3])) == (
        "CrossEntropyLoss: label 3 at position 1 is outside 0..2 (the model has 3 classes)"
    )
    assert "label -1 at position 0 is outside 0..2" in error_of(loss, LOGITS, np.array([-1, 0]))
    assert "logits (2, 3) need class ids (2,) or probabilities (2, 3), got int64 (3,)" in error_of(
        loss, LOGITS, np.array([0, 1, 2])
    )
    assert "got float64 (2,)" in error_of(loss, LOGITS, np.array([0.0, 1.0]))
    assert "2 class weights for 3 classes" in error_of(
        nn.CrossEntropyLoss(weight=[1, 2]), LOGITS, np.array([0, 1])
    )
    assert "label_smoothing" in error_of(nn.CrossEntropyLoss, label_smoothing=1.0)
    assert error_of(nn.MSELoss(), LOGITS, LOGITS[0]) == ("MSELoss: outputs (2, 3) but targets (3,)")
    with pytest.raises(RuntimeError, match="CrossEntropyLoss.*backward without a forward"):
        nn.CrossEntropyLoss().backward()


z23, no = np.zeros((2, 3)), np.zeros((4, 3))
WRONG = {
    "CrossEntropyLoss: expected weights (K,), got ()": lambda: nn.CrossEntropyLoss(weight=2.0),
    "L1Loss: outputs (2, 3) but targets (4, 3)": lambda: nn.L1Loss()(z23, no),
    "HuberLoss: outputs (2, 3) but targets (3,)": lambda: nn.HuberLoss()(z23, no[0]),
    "HuberLoss: delta must be above 0, got 0": lambda: nn.HuberLoss(0),
    "BCEWithLogitsLoss: logits (2, 3) but targets (4, 3)": lambda: nn.BCEWithLogitsLoss()(z23, no),
    "BCEWithLogitsLoss: 2 values of pos_weight for logits (2, 3)": lambda: nn.BCEWithLogitsLoss(
        [1, 2]
    )(z23, z23),
    "BCEWithLogitsLoss: pos_weight must be one number or one per class": lambda: (
        nn.BCEWithLogitsLoss([[1, 2, 3]])
    ),
    "none below 0, got -1": lambda: nn.BCEWithLogitsLoss(-1),
    "DiceLoss: logits (2, 3) need class ids (2,) or masks (2, 3), got int64 (3,)": lambda: (
        nn.DiceLoss()(z23, np.array([0, 1, 2]))
    ),
    "DiceLoss: class ids from 0 to 3 for 3 classes": lambda: nn.DiceLoss()(z23, np.array([0, 3])),
    "DiceLoss: smooth must be 0 or more, got -1": lambda: nn.DiceLoss(smooth=-1),
    "InfoNCELoss: expected queries and keys (N, D), got (2, 3) and (4, 3)": lambda: (
        nn.InfoNCELoss()(z23, no)
    ),
    "InfoNCELoss: temperature must be above 0, got 0": lambda: nn.InfoNCELoss(temperature=0),
    "TripletLoss: expected three arrays (N, D), got (2, 3), (2, 3), (4, 3)": lambda: (
        nn.TripletLoss()(z23, z23, no)
    ),
    "TripletLoss: margin must be above 0, got 0": lambda: nn.TripletLoss(margin=0),
}


@pytest.mark.parametrize("message", WRONG)
def test_errors_in_one_line(message):
    assert message in error_of(WRONG[message])


LOSSES = [
    nn.CrossEntropyLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.HuberLoss,
    nn.BCEWithLogitsLoss,
    nn.DiceLoss,
    nn.InfoNCELoss,
    nn.TripletLoss,
]


@pytest.mark.parametrize("kind", LOSSES)
def test_backward_without_a_forward(kind):
    with pytest.raises(RuntimeError, match=f"{kind.__name__}.*backward without a forward"):
        kind().backward()
