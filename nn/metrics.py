"""How good answers are. Of pictures: `psnr` and `ssim`, from `nn/image_metrics.py`.

What is asked of each class comes out of the confusion matrix. A class of which nothing can be
said (it never occurs) gets NaN, and means leave it out.
"""

import numpy as np

from nn.image_metrics import psnr, ssim

__all__ = [
    "accuracy",
    "average_precision",
    "confusion_matrix",
    "f1",
    "iou",
    "mean_iou",
    "mean_over_classes",
    "precision",
    "psnr",
    "recall",
    "roc_auc",
    "ssim",
    "top_k_accuracy",
]


def accuracy(outputs, labels):
    """The share of rows whose largest output is the label's: outputs (..., K), labels (...).

    Labels may be probabilities (..., K), as mixed clips have them: then a row counts with the
    probability that its label gives to the answer. Of rows with a single one that is the same.
    """
    outputs, labels = np.asarray(outputs), np.asarray(labels)
    answers = np.argmax(outputs, axis=-1)
    if labels.dtype.kind == "f" and labels.shape == outputs.shape and labels.size:
        return float(np.mean(np.take_along_axis(labels, answers[..., None], axis=-1)))
    labels = _labels_of(outputs, labels, "accuracy")
    return float(np.mean(answers == labels))


def top_k_accuracy(outputs, labels, k=5):
    """The share of rows whose label is among the k largest outputs: outputs (..., K), labels (...).

    Of equal outputs the first counts as the larger, as in `accuracy`, which is k = 1; NaN is
    never among the k.
    """
    outputs, labels = np.asarray(outputs), _labels_of(outputs, labels, "top_k_accuracy")
    K = outputs.shape[-1]
    if not 1 <= k <= K:
        raise ValueError(f"top_k_accuracy: k must be from 1 to the {K} classes, got {k}")
    if labels.size and not (0 <= labels.min() and labels.max() < K):
        raise ValueError(
            f"top_k_accuracy: class ids from {labels.min()} to {labels.max()} for {K} classes"
        )
    own = np.take_along_axis(outputs, labels[..., None].astype(np.int64), axis=-1)
    earlier = np.arange(K) < labels[..., None]
    ahead = ~(outputs <= own) | ((outputs == own) & earlier)  # (..., K)
    return float(np.mean(ahead.sum(axis=-1) < k))


# ---- classes --------------------------------------------------------------------------------


def confusion_matrix(predictions, labels, num_classes, ignore_index=None):
    """How often class i (row) was called class j (column): ids, ids → int64 (K, K).

    predictions, labels: class ids of one shape, whatever it is: clips (N,), pixels (N, H, W).
    Places whose label is `ignore_index` are left out. Matrices of several batches add up.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"confusion_matrix: predictions {predictions.shape} for labels {labels.shape}"
        )
    if ignore_index is not None:
        counted = labels != ignore_index
        labels, predictions = labels[counted], predictions[counted]
    K = num_classes
    for name, ids in (("label", labels), ("prediction", predictions)):
        if ids.dtype.kind not in "iub" and ids.size:
            raise ValueError(f"confusion_matrix: expected class ids, got {ids.dtype} {name}s")
        if ids.size and not (0 <= ids.min() and ids.max() < K):
            raise ValueError(
                f"confusion_matrix: {name}s from {ids.min()} to {ids.max()} for {K} classes"
            )
    cells = labels.ravel().astype(np.int64) * K + predictions.ravel().astype(np.int64)
    return np.bincount(cells, minlength=K * K).reshape(K, K)


def precision(matrix):
    """How many of those called class k are of it: M_kk / Σ_i M_ik, for each class (K,).

    matrix: a confusion matrix (K, K). NaN for a class that was never called.
    """
    right, _, called = _counts(matrix)
    return _divide(right, called)


def recall(matrix):
    """How many of class k are called so: M_kk / Σ_j M_kj, for each class (K,).

    matrix: a confusion matrix (K, K). NaN for a class that does not occur. Its mean over the
    classes is the balanced accuracy.
    """
    right, there, _ = _counts(matrix)
    return _divide(right, there)


def f1(matrix):
    """The harmonic mean of precision and recall: 2 M_kk / (Σ_j M_kj + Σ_i M_ik), for each class.

    matrix: a confusion matrix (K, K). 0 for a class that occurs and is never called; NaN for one
    that neither occurs nor is called.
    """
    right, there, called = _counts(matrix)
    return _divide(2 * right, there + called)


def iou(matrix):
    """Intersection over union of places called k and places of k, for each class (K,):

        M_kk / (Σ_j M_kj + Σ_i M_ik − M_kk)

    matrix: a confusion matrix (K, K), of pixels for segmentation, whose ignored pixels it has
    left out. NaN for a class that neither occurs nor is called.
    """
    right, there, called = _counts(matrix)
    return _divide(right, there + called - right)


def mean_over_classes(per_class):
    """The mean over the classes that are not NaN; NaN if all are.

    mean_over_classes(iou(matrix))      # mIoU, of segmentation
    mean_over_classes(f1(matrix))       # "macro" F1: rare classes count as much as common
    """
    known = np.asarray(per_class)[~np.isnan(per_class)]
    return float(known.mean()) if known.size else float("nan")


def mean_iou(matrix):
    """mIoU, the mean of `iou` over the classes that occur or are called."""
    return mean_over_classes(iou(matrix))


# ---- scores of yes or no --------------------------------------------------------------------


def roc_auc(scores, labels):
    """The area under the ROC curve: the chance that a yes gets a higher score than a no.

        AUC = (Σ_{i yes} r_i − n₊ (n₊ + 1) / 2) / (n₊ n₋)

    scores: any numbers, higher for yes; labels: 0 or 1 (or bool), of the same shape. r_i is the
    rank of score i among all n₊ + n₋, 1 for the lowest; equal scores share the mean of their
    ranks, so that a tie counts one half. 0.5 is guessing. NaN if all are yes, or all no.
    """
    scores, yes = _scores_and_yes(scores, labels, "roc_auc")
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    if n_yes == 0 or n_no == 0:
        return float("nan")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(size) - (size - 1) / 2  # of each group of equal scores: their mean
    above = ranks[group.ravel()][yes].sum() - n_yes * (n_yes + 1) / 2
    return float(above / (n_yes * n_no))


def average_precision(scores, labels):
    """The area under the curve of precision against recall, in steps:

        AP = Σ_n (R_n − R_(n−1)) P_n

    scores: any numbers, higher for yes; labels: 0 or 1 (or bool), of the same shape. P_n and R_n
    are precision and recall when the n highest different scores are called yes; equal scores
    come in together. Guessing gives the share of yeses. NaN if there is none.
    """
    scores, yes = _scores_and_yes(scores, labels, "average_precision")
    if not yes.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, yes = scores[order], yes[order]
    last = np.append(scores[1:] != scores[:-1], True)  # of each group of equal scores
    right = np.cumsum(yes)[last]
    called = np.flatnonzero(last) + 1
    recall_steps = np.diff(right, prepend=0) / right[-1]
    return float((recall_steps * (right / called)).sum())


# ---- what they share ------------------------------------------------------------------------


def _labels_of(outputs, labels, name):
    labels = np.asarray(labels)
    if labels.shape != np.shape(outputs)[:-1] or labels.size == 0:
        raise ValueError(
            f"{name}: outputs {np.shape(outputs)} need labels {np.shape(outputs)[:-1]}, at least "
            f"one, got {labels.shape}"
        )
    return labels


def _counts(matrix):
    """How many of each class are right, there are, and were called so, as floats (K,)."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"expected a confusion matrix (K, K), got {matrix.shape}")
    return matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)


def _divide(part, whole):
    """part / whole, NaN where whole is zero."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _scores_and_yes(scores, labels, name):
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"{name}: scores {scores.shape} for labels {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}: labels must be 0 or 1, got {np.unique(labels)[:5]}")
    if np.isnan(scores).any():
        raise ValueError(f"{name}: {int(np.isnan(scores).sum())} of {scores.size} scores are NaN")
    return scores.ravel().astype(np.float64), labels.ravel().astype(bool)
