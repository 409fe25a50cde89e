"""What people want to know about a classifier."""

import numpy as np


def accuracy(outputs, labels):
    """The share of rows whose largest output is the label's: outputs (..., K), labels (...)."""
    return float(np.mean(np.argmax(outputs, axis=-1) == np.asarray(labels)))


def confusion_matrix(predictions, labels, num_classes):
    """How often class i (row) was called class j (column): ids, ids → int64 (K, K)."""
    labels, predictions = np.ravel(labels), np.ravel(predictions)
    if len(labels) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} labels")
    ids = np.concatenate([labels, predictions])
    if ids.size and not (0 <= ids.min() and ids.max() < num_classes):
        raise ValueError(f"class ids from {ids.min()} to {ids.max()} for {num_classes} classes")
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix
