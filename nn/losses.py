"""Losses: how wrong the outputs are, as one number, and its gradient for the outputs.

loss = criterion(outputs, labels)      # a float
model.backward(criterion.backward())
"""

import numpy as np

from nn.module import Module


def log_softmax(x):
    """log softmax(x)_k = x_k − m − log Σ_j e^(x_j − m) with m = max x, over the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


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
        self.ignore_index = ignore_index

    def forward(self, logits, labels):
        K = logits.shape[-1]
        labels = np.asarray(labels)
        z = logits.reshape(-1, K)  # (rows, K)
        w = np.ones(K, z.dtype) if self.weight is None else self.weight.astype(z.dtype)
        if w.shape != (K,):
            raise ValueError(f"CrossEntropyLoss: {len(w)} class weights for {K} classes")
        if np.issubdtype(labels.dtype, np.integer) and labels.shape == logits.shape[:-1]:
            c, total = self._from_ids(labels.reshape(-1), w)
        elif labels.shape == logits.shape:
            target = labels.reshape(-1, K).astype(z.dtype)
            c, total = w * self._smooth(target), len(z)
        else:
            raise ValueError(
                f"CrossEntropyLoss: logits {logits.shape} need class ids {logits.shape[:-1]} or "
                f"probabilities {logits.shape}, got {labels.dtype} {labels.shape}"
            )
        log_p = log_softmax(z)
        self.save(log_p, c, total, logits.shape)
        return -float((c * log_p).sum(dtype=np.float64)) / total if total else 0.0

    def backward(self):
        log_p, c, total, shape = self.take()
        p = np.exp(log_p)
        dz = p * c.sum(axis=-1, keepdims=True) - c  # (rows, K)
        if total:
            dz /= np.asarray(total, dz.dtype)
        return dz.reshape(shape)

    def describe(self):
        parts = [f"label_smoothing={self.label_smoothing}"] if self.label_smoothing else []
        if self.weight is not None:
            parts.append(f"weight={self.weight.shape}")
        if self.ignore_index is not None:
            parts.append(f"ignore_index={self.ignore_index}")
        return f"CrossEntropyLoss({', '.join(parts)})"

    def _smooth(self, target):
        eps = self.label_smoothing
        return target if eps == 0 else (1 - eps) * target + eps / target.shape[-1]

    def _from_ids(self, ids, w):
        """Coefficients c (rows, K) and their normaliser for integer labels (rows,)."""
        K = len(w)
        counted = np.ones(len(ids), bool)
        if self.ignore_index is not None:
            counted = ids != self.ignore_index
        wrong = counted & ((ids < 0) | (ids >= K))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"CrossEntropyLoss: label {ids[first]} at position {first} is outside 0..{K - 1} "
                f"(the model has {K} classes)"
            )
        ids = np.where(counted, ids, 0)
        one_hot = np.zeros((len(ids), K), w.dtype)
        one_hot[np.arange(len(ids)), ids] = 1
        c = w * self._smooth(one_hot) * counted[:, None]
        return c, float((w[ids] * counted).sum())


class MSELoss(Module):
    """The mean squared difference: loss = 1/n Σ (x − t)², over all n elements, any shape.

    Backward: dx = 2 (x − t) / n.
    """

    def forward(self, outputs, targets):
        targets = np.asarray(targets)
        if outputs.shape != targets.shape:
            raise ValueError(f"MSELoss: outputs {outputs.shape} but targets {targets.shape}")
        difference = outputs - targets.astype(outputs.dtype)
        self.save(difference)
        return float(np.mean(difference * difference, dtype=np.float64))

    def backward(self):
        (difference,) = self.take()
        return difference * np.asarray(2 / difference.size, difference.dtype)
