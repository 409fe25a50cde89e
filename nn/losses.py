"""Losses: how wrong the outputs are, as one number, and its gradient for the outputs.

loss = criterion(outputs, labels)      # a float
model.backward(criterion.backward())
"""

import numpy as np

from nn import kernels
from nn.activation import sigmoid, softmax
from nn.module import Module


class CrossEntropyLoss(Module):
    """The mean of −log p(label), where p = softmax(logits).

        loss = −1/Z Σ_i Σ_k c_ik log softmax(z_i)_k

    logits z (..., K); labels: class ids (...) of any integer type, or probabilities (..., K).

    - Class ids: c_ik = w_k · ((1 − ε) · [k = y_i] + ε/K), Z = Σ_i w_(y_i), over all i whose label
      is not `ignore_index`. ε is `label_smoothing`, w is `weight` (K,), ones if None.
    - Probabilities q: c_ik = w_k · ((1 − ε) · q_ik + ε/K), and Z counts the rows.

    Backward: with p = softmax(z), d(−log p_k)/dz_j = p_j − [j = k], so

        dz_ij = (p_ij · Σ_k c_ik − c_ij) / Z         for plain labels (p_ij − [j = y_i]) / N

    Raises ValueError for labels outside 0..K−1 or of a shape that does not fit.
    """

    def __init__(self, label_smoothing=0.0, weight=None, ignore_index=None):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"CrossEntropyLoss: 0 <= label_smoothing < 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.weight = None if weight is None else np.asarray(weight)
        if self.weight is not None and self.weight.ndim != 1:
            raise ValueError(f"CrossEntropyLoss: expected weights (K,), got {self.weight.shape}")
        self.ignore_index = ignore_index

    def forward(self, logits, labels):
        K = logits.shape[-1]
        labels = np.asarray(labels)
        z = logits.reshape(-1, K)  # (rows, K)
        w = np.ones(K, z.dtype) if self.weight is None else self.weight.astype(z.dtype)
        if w.shape != (K,):
            raise ValueError(f"CrossEntropyLoss: {len(w)} class weights for {K} classes")
        if labels.dtype.kind in "iu" and labels.shape == logits.shape[:-1]:
            labels = self._checked(labels.reshape(-1), K)
            total = self._total(labels, w)
        elif labels.shape == logits.shape:
            labels, total = labels.reshape(-1, K), len(z)
        else:
            raise ValueError(
                f"CrossEntropyLoss: logits {logits.shape} need class ids {logits.shape[:-1]} or "
                f"probabilities {logits.shape}, got {labels.dtype} {labels.shape}"
            )
        eps = self.label_smoothing
        losses, top, powers = kernels.cross_entropy_forward(z, labels, w, eps)
        self.save(z, labels, w, top, powers, total, logits.shape)
        return float(losses.sum()) / total if total else 0.0

    def backward(self):
        z, labels, w, top, powers, total, shape = self.take()
        eps, Z = self.label_smoothing, total or 1  # (nothing counts: the gradient is zero)
        dz = kernels.cross_entropy_backward(z, labels, w, eps, top, powers, Z)
        return dz.reshape(shape)

    def describe(self):
        parts = [f"label_smoothing={self.label_smoothing}"] if self.label_smoothing else []
        if self.weight is not None:
            parts.append(f"weight={self.weight.shape}")
        if self.ignore_index is not None:
            parts.append(f"ignore_index={self.ignore_index}")
        return f"CrossEntropyLoss({', '.join(parts)})"

    def _checked(self, labels, K):
        """Class ids (rows,) as int64, -1 for those that are ignored."""
        ids = labels.astype(np.int64)
        if self.ignore_index is not None:
            ids[labels == self.ignore_index] = -1
            wrong = (labels != self.ignore_index) & ((labels < 0) | (labels >= K))
        else:
            wrong = ids.view(np.uint64) >= K  # those below 0 are large, read without a sign
        if np.count_nonzero(wrong):
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"CrossEntropyLoss: label {labels[first]} at position {first} is outside "
                f"0..{K - 1} (the model has {K} classes)"
            )
        return ids

    def _total(self, ids, w):
        """Σ of the labels' weights, over the rows that count."""
        counted = ids if self.ignore_index is None else ids[ids >= 0]
        return float(len(counted) if self.weight is None else w[counted].sum(dtype=np.float64))


def _difference(loss, outputs, targets):
    targets = np.asarray(targets)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"{type(loss).__name__}: outputs {outputs.shape} but targets {targets.shape}"
        )
    return outputs - targets.astype(outputs.dtype)


class MSELoss(Module):
    """The mean squared difference: loss = 1/n Σ (x − t)², over all n elements, any shape.

    Backward: dx = 2 (x − t) / n.
    """

    def forward(self, outputs, targets):
        difference = _difference(self, outputs, targets)
        self.save(difference)
        return float(np.mean(difference * difference, dtype=np.float64))

    def backward(self):
        (difference,) = self.take()
        return difference * np.asarray(2 / difference.size, difference.dtype)


class L1Loss(Module):
    """The mean absolute difference: loss = 1/n Σ |x − t|, over all n elements, any shape.

    Backward: dx = sign(x − t) / n; where x = t, which has no derivative, 0.
    """

    def forward(self, outputs, targets):
        difference = _difference(self, outputs, targets)
        self.save(difference)
        return float(np.mean(np.abs(difference), dtype=np.float64))

    def backward(self):
        (difference,) = self.take()
        return np.sign(difference) / np.asarray(difference.size, difference.dtype)


class HuberLoss(Module):
    """Square near zero, straight beyond δ: outliers pull with a bounded force (Huber 1964).

        loss = 1/n Σ h(x − t),   h(e) = e²/2 where |e| <= δ, else δ (|e| − δ/2)

    Backward: dx = clip(x − t, −δ, δ) / n.
    """

    def __init__(self, delta=1.0):
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be above 0, got {delta}")
        self.delta = delta

    def forward(self, outputs, targets):
        e = _difference(self, outputs, targets)
        self.save(e)
        size = np.abs(e)
        h = np.where(size <= self.delta, e * e / 2, self.delta * (size - self.delta / 2))
        return float(np.mean(h, dtype=np.float64))

    def backward(self):
        (e,) = self.take()
        return np.clip(e, -self.delta, self.delta) / np.asarray(e.size, e.dtype)

    def describe(self):
        return f"HuberLoss(delta={self.delta})"


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy of independent yes-or-no questions, on logits of any shape.

        loss = −1/n Σ [w t log σ(z) + (1 − t) log(1 − σ(z))]

    t: probabilities 0..1 of the same shape; w: `pos_weight`, one number or one per class (last
    axis), counts the yeses more often. Since log σ(z) = −log(1 + e^−z) and 1 − σ(z) = σ(−z), all
    is computed from softplus(z) = log(1 + e^z) = max(z, 0) + log(1 + e^−|z|), which never
    overflows: loss = 1/n Σ [w t softplus(−z) + (1 − t) softplus(z)].

    Backward: dz = [(1 − t) σ(z) − w t (1 − σ(z))] / n, which is (σ(z) − t) / n for w = 1.
    """

    def __init__(self, pos_weight=1.0):
        self.pos_weight = np.asarray(pos_weight)
        if self.pos_weight.ndim > 1 or not (self.pos_weight >= 0).all():
            raise ValueError(
                "BCEWithLogitsLoss: pos_weight must be one number or one per class, none below "
                f"0, got {pos_weight}"
            )

    def forward(self, logits, targets):
        targets = np.asarray(targets)
        if logits.shape != targets.shape:
            raise ValueError(
                f"BCEWithLogitsLoss: logits {logits.shape} but targets {targets.shape}"
            )
        if self.pos_weight.shape not in ((), logits.shape[-1:]):
            raise ValueError(
                f"BCEWithLogitsLoss: {len(self.pos_weight)} values of pos_weight for logits "
                f"{logits.shape}"
            )
        t = targets.astype(logits.dtype)
        yes = self.pos_weight.astype(logits.dtype) * t
        rest = np.log1p(np.exp(-np.abs(logits)))
        loss = yes * (np.maximum(-logits, 0) + rest) + (1 - t) * (np.maximum(logits, 0) + rest)
        self.save(logits, t, yes)
        return float(np.mean(loss, dtype=np.float64))

    def backward(self):
        logits, t, yes = self.take()
        p = sigmoid(logits)
        return ((1 - t) * p - yes * (1 - p)) / np.asarray(logits.size, logits.dtype)

    def describe(self):
        return f"BCEWithLogitsLoss(pos_weight={self.pos_weight.tolist()})"


class DiceLoss(Module):
    """One minus the overlap of predicted and true areas: for segmentation (Milletari 2016).

        loss = 1 − 1/K Σ_k (2 Σ_i p_ik g_ik + s) / (Σ_i p_ik + Σ_i g_ik + s)

    logits (..., K) with class ids (...): p = softmax(logits), g one-hot; or K independent masks
    g of the shape of the logits, 0..1: p = σ(logits). i runs over all places of all clips; s is
    `smooth`. Large areas count no more than small ones, which is why it is used where classes
    are uneven. Pixels whose id is `ignore_index` are left out.

    Backward, with the intersection I_k = Σ p g and the sum of areas U_k = Σ p + Σ g:
    dp_ik = −1/K · [2 g_ik / (U_k + s) − (2 I_k + s) / (U_k + s)²], then through the softmax or σ.
    """

    def __init__(self, smooth=1.0, ignore_index=None):
        if not smooth >= 0:
            raise ValueError(f"DiceLoss: smooth must be 0 or more, got {smooth}")
        self.smooth, self.ignore_index = smooth, ignore_index

    def forward(self, logits, targets):
        K = logits.shape[-1]
        targets = np.asarray(targets)
        z = logits.reshape(-1, K)
        of_classes = targets.shape == logits.shape[:-1] and targets.dtype.kind in "iu"
        if of_classes:
            counted = np.ones(targets.size, bool)
            if self.ignore_index is not None:
                counted = targets.ravel() != self.ignore_index
            ids = np.where(counted, targets.ravel(), 0)
            if ids.size and not (0 <= ids.min() and ids.max() < K):
                raise ValueError(
                    f"DiceLoss: class ids from {ids.min()} to {ids.max()} for {K} classes"
                )
            g = (ids[:, None] == np.arange(K)) & counted[:, None]
            p = softmax(z) * counted[:, None]
        elif targets.shape == logits.shape:
            counted, g, p = None, targets.reshape(-1, K), sigmoid(z)
        else:
            raise ValueError(
                f"DiceLoss: logits {logits.shape} need class ids {logits.shape[:-1]} or masks "
                f"{logits.shape}, got {targets.dtype} {targets.shape}"
            )
        g = g.astype(z.dtype)
        # (K,) each, in float64: row by row in float32 a sum over millions of pixels loses digits.
        overlap = 2 * (p * g).sum(axis=0, dtype=np.float64) + self.smooth
        areas = p.sum(axis=0, dtype=np.float64) + g.sum(axis=0, dtype=np.float64) + self.smooth
        self.save(p, g, overlap, areas, counted, logits.shape)
        return 1 - float(np.mean(overlap / areas, dtype=np.float64))

    def backward(self):
        p, g, overlap, areas, counted, shape = self.take()
        K = len(areas)
        dp = (overlap / areas**2 / K).astype(p.dtype) - g * (2 / areas / K).astype(p.dtype)
        if counted is None:
            dz = dp * p * (1 - p)
        else:  # p is zero where nothing counts, and so is dz
            dz = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
        return dz.reshape(shape)

    def describe(self):
        ignored = "" if self.ignore_index is None else f", ignore_index={self.ignore_index}"
        return f"DiceLoss(smooth={self.smooth}{ignored})"
