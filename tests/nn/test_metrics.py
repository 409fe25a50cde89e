"""Metrics on examples small enough to count by hand."""

import numpy as np
import pytest

from nn.metrics import (
    accuracy,
    average_precision,
    confusion_matrix,
    f1,
    iou,
    mean_iou,
    mean_over_classes,
    precision,
    recall,
    roc_auc,
    top_k_accuracy,
)

# Rows are the true classes. The third never occurs but is called once; the last does neither.
MATRIX = np.array([[3, 1, 1, 0], [2, 6, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_accuracy_counts_the_largest_output():
    outputs = np.array([[0.1, 0.7, 0.2], [2.0, -1.0, 1.0], [0.0, 0.1, 5.0], [9.0, 8.0, 7.0]])
    assert accuracy(outputs, np.array([1, 0, 2, 0])) == 1.0
    assert accuracy(outputs, [1, 2, 2, 1]) == 0.5
    assert accuracy(outputs, [0, 1, 0, 2]) == 0.0
    assert type(accuracy(outputs, [1, 0, 2, 0])) is float


def test_accuracy_on_soft_labels_is_the_share_given_to_the_answer():
    outputs = np.array([[0.1, 0.7, 0.2], [2.0, -1.0, 1.0]])
    assert accuracy(outputs, np.array([[0.2, 0.7, 0.1], [0.5, 0.0, 0.5]])) == pytest.approx(0.6)
    assert accuracy(outputs, np.eye(3)[[1, 2]]) == accuracy(outputs, [1, 2]) == 0.5


def test_accuracy_over_any_leading_axes():
    """Two clips of three frames: four of the six frames are right."""
    outputs = np.eye(2)[np.array([[0, 1, 1], [1, 0, 0]])]
    assert accuracy(outputs, np.array([[0, 1, 0], [1, 1, 0]])) == pytest.approx(4 / 6)


def test_the_first_of_equal_outputs_is_the_answer():
    assert accuracy(np.zeros((2, 3)), [0, 1]) == 0.5


def test_accuracy_wants_one_label_for_each_row():
    """Labels (N, 1) would be compared with every row."""
    with pytest.raises(
        ValueError, match=r"accuracy: outputs \(3, 2\) need labels \(3,\).*\(3, 1\)"
    ):
        accuracy(np.zeros((3, 2)), np.zeros((3, 1), int))
    with pytest.raises(ValueError, match="at least one"):
        accuracy(np.zeros((0, 2)), np.zeros(0, int))


# ---- top k ----------------------------------------------------------------------------------


def test_top_k_counts_ranks():
    outputs = np.array([[0.1, 0.7, 0.2, 0.0], [4.0, 3.0, 2.0, 1.0], [0.0, 0.1, 5.0, -1.0]])
    labels = np.array([2, 2, 3])  # second, third and last
    shares = [top_k_accuracy(outputs, labels, k) for k in (1, 2, 3, 4)]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert type(shares[0]) is float


def test_top_one_is_accuracy_ties_included():
    outputs = np.random.default_rng(0).integers(0, 3, (200, 5))
    labels = np.random.default_rng(1).integers(0, 5, 200)
    assert 0 < top_k_accuracy(outputs, labels, 1) == accuracy(outputs, labels) < 1


def test_of_equal_outputs_the_first_are_in_the_top_k():
    assert [top_k_accuracy(np.zeros((1, 4)), [2], k) for k in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_nan_is_in_no_top_k():
    outputs = np.array([[np.nan, 1.0, 2.0]])
    assert top_k_accuracy(outputs, [0], 3) == 0
    assert [top_k_accuracy(outputs, [2], k) for k in (1, 2)] == [0, 1], "and takes a place"


def test_top_k_over_any_leading_axes():
    outputs = np.arange(24.0).reshape(2, 3, 4)  # the last is the largest everywhere
    labels = np.array([[3, 2, 1], [2, 2, 0]], np.uint8)
    assert top_k_accuracy(outputs, labels, k=2) == pytest.approx(4 / 6)


def test_top_k_errors():
    with pytest.raises(ValueError, match="k must be from 1 to the 3 classes, got 5"):
        top_k_accuracy(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match="class ids from 0 to 3 for 3 classes"):
        top_k_accuracy(np.zeros((2, 3)), [0, 3], 1)
    with pytest.raises(ValueError, match=r"need labels \(2,\)"):
        top_k_accuracy(np.zeros((2, 3)), [0], 1)


# ---- classes --------------------------------------------------------------------------------


def test_confusion_matrix_has_true_classes_in_rows():
    labels = [0, 0, 0, 1, 2, 2]
    predictions = [0, 1, 1, 1, 0, 2]
    matrix = confusion_matrix(predictions, labels, 4)
    expected = [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype == np.int64 and matrix.sum() == len(labels)


def test_confusion_matrix_of_nothing_and_of_strangers():
    none = np.array([], int)
    np.testing.assert_array_equal(confusion_matrix(none, none, 2), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"predictions \(1,\) for labels \(3,\)"):
        confusion_matrix([1], [0, 1, 1], 2)
    with pytest.raises(ValueError, match=r"predictions \(2, 3\) for labels \(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(ValueError, match="expected class ids, got float64 predictions"):
        confusion_matrix([0.2, 0.7], [0, 1], 2)
    for wrong in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="for 2 classes"):
            confusion_matrix([0, 1], wrong, 2)
        with pytest.raises(ValueError, match="for 2 classes"):
            confusion_matrix(wrong, [0, 1], 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_confusion_matrix_of_small_types(dtype):
    """The number of a cell, 200 · 300 + 3, does not fit into a byte."""
    matrix = confusion_matrix(np.array([3, 255], dtype), np.array([200, 200], dtype), 300)
    assert matrix[200, 3] == matrix[200, 255] == 1 and matrix.sum() == 2


def test_confusion_matrix_of_yes_and_no():
    matrix = confusion_matrix(np.array([True, True, False]), np.array([True, False, True]), 2)
    np.testing.assert_array_equal(matrix, [[0, 1], [1, 1]])


def test_confusion_matrix_leaves_out_the_ignored():
    labels = np.array([[[0, 255], [1, 1]]], np.uint8)  # (N, H, W)
    predictions = np.array([[[0, 1], [0, 1]]])
    matrix = confusion_matrix(predictions, labels, 2, ignore_index=255)
    np.testing.assert_array_equal(matrix, [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match="labels from 0 to 255 for 2 classes"):
        confusion_matrix(predictions, labels, 2)


def test_precision_recall_and_f1_on_paper():
    np.testing.assert_allclose(precision(MATRIX), [3 / 5, 6 / 7, 0, np.nan])
    np.testing.assert_allclose(recall(MATRIX), [3 / 5, 6 / 8, np.nan, np.nan])
    np.testing.assert_allclose(f1(MATRIX), [6 / 10, 12 / 15, 0, np.nan])
    p, r = precision(MATRIX)[:2], recall(MATRIX)[:2]
    np.testing.assert_allclose(f1(MATRIX)[:2], 2 * p * r / (p + r))


def test_iou_on_paper():
    np.testing.assert_allclose(iou(MATRIX), [3 / 7, 6 / 9, 0, np.nan])
    assert mean_iou(MATRIX) == pytest.approx((3 / 7 + 6 / 9) / 3)


def test_a_class_that_is_never_called():
    matrix = [[0, 4], [0, 4]]
    np.testing.assert_allclose(precision(matrix), [np.nan, 0.5])
    np.testing.assert_allclose(recall(matrix), [0, 1])
    np.testing.assert_allclose(f1(matrix), [0, 2 / 3])
    np.testing.assert_allclose(iou(matrix), [0, 0.5])


def test_means_leave_out_what_cannot_be_said():
    assert mean_over_classes(recall(MATRIX)) == pytest.approx((0.6 + 0.75) / 2)
    assert np.isnan(mean_over_classes(iou(np.zeros((3, 3)))))
    assert np.isnan(mean_iou(np.zeros((3, 3), int)))


def test_iou_from_the_masks_themselves():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, (2, 2, 7, 5))
    labels[0, :2] = 9
    found = iou(confusion_matrix(predictions, labels, 4, ignore_index=9))
    for k in range(4):
        there, called = labels == k, (predictions == k) & (labels != 9)
        assert found[k] == pytest.approx((there & called).sum() / (there | called).sum())


def test_what_is_no_matrix():
    for metric in (precision, recall, f1, iou):
        with pytest.raises(ValueError, match=r"expected a confusion matrix \(K, K\), got \(2, 3\)"):
            metric(np.zeros((2, 3)))


# ---- scores of yes or no --------------------------------------------------------------------


def test_auc_counts_pairs():
    """Yes at 0.9 and 0.4, no at 0.8, 0.3 and 0.1: 3 + 2 of the 6 pairs are in order."""
    scores, labels = [0.9, 0.8, 0.4, 0.3, 0.1], [1, 0, 1, 0, 0]
    assert roc_auc(scores, labels) == pytest.approx(5 / 6)
    assert roc_auc(np.negative(scores), labels) == pytest.approx(1 / 6)
    assert roc_auc([1, 2, 3, 4], [False, False, True, True]) == 1.0


def test_a_tie_counts_half():
    assert roc_auc([1, 1], [0, 1]) == 0.5
    assert roc_auc([2, 1, 1, 0], [1, 1, 0, 0]) == pytest.approx(3.5 / 4)
    assert roc_auc(np.zeros(5), [0, 1, 1, 0, 1]) == 0.5


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 9, (3, 40)), rng.integers(0, 2, (3, 40))  # frames of clips
    yes, no = scores[labels == 1], scores[labels == 0]
    pairs = (yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2
    assert roc_auc(scores, labels) == pytest.approx(pairs)


def test_auc_of_one_class_cannot_be_said():
    assert np.isnan(roc_auc([1, 2], [1, 1])) and np.isnan(roc_auc([1, 2], [0, 0]))


def test_average_precision_on_paper():
    """Yeses come first, third and fourth: at each the precision is 1/1, 2/3 and 3/4."""
    scores, labels = [0.2, 0.9, 0.5, 0.4, 0.8], [0, 1, 1, 1, 0]
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision([3, 2, 1], [1, 1, 0]) == 1.0
    assert average_precision([1, 2, 3, 4], [1, 0, 0, 0]) == 0.25


def test_equal_scores_come_in_together():
    """First one yes alone, then a yes and two noes at once: P = 1, then 2/4."""
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        scores, labels = np.array([5, 4, 4, 4])[order], np.array([1, 1, 0, 0])[order]
        assert average_precision(scores, labels) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert average_precision(np.zeros(10), np.arange(10) < 3) == pytest.approx(0.3)


def test_average_precision_without_a_yes_cannot_be_said():
    assert np.isnan(average_precision([1, 2], [0, 0]))
    assert average_precision([1, 2], [1, 1]) == 1.0


@pytest.mark.parametrize("metric", [roc_auc, average_precision])
def test_what_is_no_score_or_label(metric):
    name = metric.__name__
    with pytest.raises(ValueError, match=rf"{name}: scores \(2,\) for labels \(3,\)"):
        metric([1, 2], [0, 1, 1])
    with pytest.raises(ValueError, match=f"{name}: labels must be 0 or 1"):
        metric([1, 2], [-1, 1])
    with pytest.raises(ValueError, match=f"{name}: 1 of 2 scores are NaN"):
        metric([1, np.nan], [0, 1])
