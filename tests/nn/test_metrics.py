"""Metrics on examples small enough to count by hand."""

import numpy as np
import pytest

from nn.metrics import accuracy, confusion_matrix


def test_accuracy_counts_the_largest_output():
    outputs = np.array([[0.1, 0.7, 0.2], [2.0, -1.0, 1.0], [0.0, 0.1, 5.0], [9.0, 8.0, 7.0]])
    assert accuracy(outputs, np.array([1, 0, 2, 0])) == 1.0
    assert accuracy(outputs, [1, 2, 2, 1]) == 0.5
    assert accuracy(outputs, [0, 1, 0, 2]) == 0.0
    assert type(accuracy(outputs, [1, 0, 2, 0])) is float


def test_accuracy_over_any_leading_axes():
    """Two clips of three frames: four of the six frames are right."""
    outputs = np.eye(2)[np.array([[0, 1, 1], [1, 0, 0]])]
    assert accuracy(outputs, np.array([[0, 1, 0], [1, 1, 0]])) == pytest.approx(4 / 6)


def test_the_first_of_equal_outputs_is_the_answer():
    assert accuracy(np.zeros((2, 3)), [0, 1]) == 0.5


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
    with pytest.raises(ValueError, match="1 predictions for 3 labels"):
        confusion_matrix([1], [0, 1, 1], 2)
    for wrong in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="for 2 classes"):
            confusion_matrix([0, 1], wrong, 2)
        with pytest.raises(ValueError, match="for 2 classes"):
            confusion_matrix(wrong, [0, 1], 2)
