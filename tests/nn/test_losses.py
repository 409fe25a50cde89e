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


def test_values_are_floats_and_gradients_keep_float32():
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    for loss, target in (
        (nn.CrossEntropyLoss(0.1, weight=[1, 2, 3]), np.array([0, 2, 1, 1])),
        (nn.CrossEntropyLoss(), np.full((4, 3), 1 / 3)),
        (nn.MSELoss(), np.zeros((4, 3))),
    ):
        assert type(loss(x, target)) is float
        assert loss.backward().dtype == np.float32


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
