"""Losses on distances: what belongs together comes close, the rest moves apart.

They train networks whose output is a place in a space rather than a class: for search,
recommendation, and for learning where labels are few.
"""

import numpy as np

from nn.losses import CrossEntropyLoss
from nn.module import Module


class InfoNCELoss(Module):
    """Find the partner of each row among all rows (van den Oord et al. 2018, arXiv:1807.03748).

        s_ij = q̂_i · k̂_j / τ,      loss = −1/N Σ_i log softmax_j(s_ij)_i

    queries, keys (N, D): row i of one belongs to row i of the other, all other rows are the
    wrong answers. q̂ = q/|q|; τ is `temperature`. It is cross-entropy with the label i for row i.

    Backward returns (dq, dk): with ds from the cross-entropy, dq̂ = ds k̂ / τ and dk̂ = dsᵀ q̂ / τ;
    through the normalisation only what changes the direction counts:
    dq = (dq̂ − q̂ (q̂ · dq̂)) / |q|.
    """

    def __init__(self, temperature=0.1):
        if not temperature > 0:
            raise ValueError(f"InfoNCELoss: temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.cross_entropy = CrossEntropyLoss()

    def forward(self, queries, keys):
        if queries.ndim != 2 or queries.shape != keys.shape:
            raise ValueError(
                f"InfoNCELoss: expected queries and keys (N, D), got {queries.shape} and "
                f"{keys.shape}"
            )
        (q, q_length), (k, k_length) = _unit(queries), _unit(keys)
        s = q @ k.T / np.asarray(self.temperature, q.dtype)  # (N, N)
        self.save(q, q_length, k, k_length)
        return self.cross_entropy(s, np.arange(len(s)))

    def backward(self):
        q, q_length, k, k_length = self.take()
        ds = self.cross_entropy.backward() / np.asarray(self.temperature, q.dtype)
        return _unit_backward(ds @ k, q, q_length), _unit_backward(ds.T @ q, k, k_length)

    def describe(self):
        return f"InfoNCELoss(temperature={self.temperature})"


class TripletLoss(Module):
    """An anchor must be nearer to its like than to its unlike, by a margin (Schroff et al. 2015).

        loss = 1/N Σ max(0, |a − p| − |a − n| + margin)

    anchor, positive, negative (N, D); distances as PyTorch measures them, |x + 1e-6|, so that
    equal rows have a derivative too.

    Backward returns (da, dp, dn). For triplets still inside the margin, with the unit vectors
    u = (a − p)/|a − p| and v = (a − n)/|a − n|: da = (u − v)/N, dp = −u/N, dn = v/N; else zero.
    """

    def __init__(self, margin=1.0):
        if not margin > 0:
            raise ValueError(f"TripletLoss: margin must be above 0, got {margin}")
        self.margin = margin

    def forward(self, anchor, positive, negative):
        if anchor.ndim != 2 or not anchor.shape == positive.shape == negative.shape:
            raise ValueError(
                f"TripletLoss: expected three arrays (N, D), got {anchor.shape}, "
                f"{positive.shape}, {negative.shape}"
            )
        tiny = np.asarray(1e-6, anchor.dtype)
        u, near = _unit(anchor - positive + tiny)
        v, far = _unit(anchor - negative + tiny)
        excess = near - far + np.asarray(self.margin, anchor.dtype)  # (N, 1)
        self.save(u, v, excess > 0)
        return float(np.mean(np.maximum(excess, 0), dtype=np.float64))

    def backward(self):
        u, v, counts = self.take()
        share = counts / np.asarray(len(u), u.dtype)
        return (u - v) * share, -u * share, v * share

    def describe(self):
        return f"TripletLoss(margin={self.margin})"


def _unit(x):
    """Rows of x (N, D) scaled to length 1, and their lengths (N, 1)."""
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    length = np.maximum(length, np.asarray(1e-12, x.dtype))
    return x / length, length


def _unit_backward(d_unit, unit, length):
    """Through x/|x|: the part of the gradient along x changes nothing and is taken out."""
    along = (unit * d_unit).sum(axis=-1, keepdims=True)
    return (d_unit - unit * along) / length
