"""Similarities: a number for each pair of a query and a key, which attention then weighs.

    q (..., T_q, D), k (..., T_k, D) → s (..., T_q, T_k)

    dot           s_ij = q_i · k_j
    scaled_dot    s_ij = q_i · k_j / √D          (Vaswani et al. 2017, arXiv:1706.03762)
    cosine        s_ij = q_i · k_j / (|q_i| |k_j|)
    general       s_ij = q_i W k_jᵀ              (Luong et al. 2015, arXiv:1508.04025)
    additive      s_ij = v · tanh(q_i W_q + k_j W_k)    (Bahdanau et al. 2014, arXiv:1409.0473)

All but the last are a product of two *operands*, one made of q and one made of k, times a scale:
s = c a bᵀ. That is one matrix product for all pairs, and it can be done tile by tile, without ever
holding s (see `nn/kernels/lean_attention.py`). The additive one is a small network for each pair.
"""

import math

import numpy as np

from nn import initializers
from nn.arguments import whole_number
from nn.module import Module, Parameter

SHORTEST = 1e-8  # a vector shorter than this has no direction: its cosine with any other is 0


class Dot(Module):
    """s = q kᵀ.

    Each pair met once in the product, so dq = ds k and dk = dsᵀ q. Similarities that are products
    of other operands replace `operands` and its backward, or the scale.
    """

    is_product = True
    dim = None  # of those with weights: D

    def forward(self, q, k):
        a, b = self.operands(q, k)
        self.save(a, b)
        return self.scale(q.shape[-1]) * (a @ b.swapaxes(-1, -2))  # (..., T_q, T_k)

    def backward(self, ds, need_input_grad=True):
        a, b = self.take()
        ds = self.scale(a.shape[-1]) * ds
        return self.operands_backward(ds @ b, ds.swapaxes(-1, -2) @ a)

    def scale(self, D):
        """c, a Python number, which leaves float32 as it is."""
        return 1.0

    def operands(self, q, k):
        """a and b with s = c a bᵀ; saves what its backward needs."""
        return q, k

    def operands_backward(self, da, db):
        """dq and dk from the gradients of the operands."""
        return da, db


class ScaledDot(Dot):
    """s = q kᵀ / √D.

    A sum of D products of numbers of variance 1 has variance D; the division makes it 1 again, so
    that softmax begins neither flat nor saturated, however wide the vectors.
    """

    def scale(self, D):
        return 1 / math.sqrt(D)


class Cosine(Dot):
    """s = q̂ k̂ᵀ with q̂ = q / |q|: between −1 and 1, whatever the lengths.

    What moves q along itself does not move q̂, so that part of the gradient is taken out:

        dq = (dq̂ − q̂ (q̂ · dq̂)) / |q|
    """

    def operands(self, q, k):
        (q_hat, q_inverse), (k_hat, k_inverse) = _directions(q), _directions(k)
        self.save(q_hat, q_inverse, k_hat, k_inverse)
        return q_hat, k_hat

    def operands_backward(self, da, db):
        q_hat, q_inverse, k_hat, k_inverse = self.take()
        return _directions_backward(da, q_hat, q_inverse), _directions_backward(
            db, k_hat, k_inverse
        )


def _directions(x):
    """x̂ = x / |x| over the last axis, and 1/|x|; both 0 where there is no direction."""
    length = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
    inverse = np.divide(1, length, out=np.zeros_like(length), where=length > SHORTEST)
    return x * inverse, inverse


def _directions_backward(dx_hat, x_hat, inverse):
    along = np.sum(x_hat * dx_hat, axis=-1, keepdims=True)
    return (dx_hat - x_hat * along) * inverse


class General(Dot):
    """s = (q W) kᵀ: which feature of a query goes with which of a key is learned.

    With a = q W and its gradient da: dq = da Wᵀ, dW = Σ qᵀ da over all leading axes.
    """

    def __init__(self, dim, rng=None):
        self.dim = dim
        rng = np.random.default_rng(rng)
        # Variance 1/D: a is as large as q. The scores are then those of `dot`.
        self.weight = Parameter(initializers.uniform((dim, dim), 1 / dim, rng))

    def operands(self, q, k):
        self.save(q)
        return q @ self.weight.data, k

    def operands_backward(self, da, db):
        (q,) = self.take()
        if self.weight.trainable:
            self.weight.add_grad(_rows(q).T @ _rows(da))  # (D, D)
        return da @ self.weight.data.T, db


class Additive(Module):
    """s_ij = v · tanh(q_i W_q + k_j W_k): a network of one hidden layer looks at every pair.

    Backward, with h_ij the hidden layer: dh = ds v, through tanh dz = dh (1 − h²). The query
    reached all pairs of its row and the key all pairs of its column, so their projections get
    sums of dz: over j, and over i.
    """

    is_product = False

    def __init__(self, dim, rng=None):
        self.dim = dim
        rng = np.random.default_rng(rng)
        self.query_weight = Parameter(initializers.xavier_uniform((dim, dim), dim, dim, rng))
        self.key_weight = Parameter(initializers.xavier_uniform((dim, dim), dim, dim, rng))
        self.weight = Parameter(initializers.uniform((dim,), 1 / dim, rng))

    def forward(self, q, k):
        z = (q @ self.query_weight.data)[..., :, None, :] + (k @ self.key_weight.data)[
            ..., None, :, :
        ]
        h = np.tanh(z)  # (..., T_q, T_k, D)
        self.save(q, k, h)
        return h @ self.weight.data  # (..., T_q, T_k)

    def backward(self, ds, need_input_grad=True):
        q, k, h = self.take()
        self.weight.add_grad(_rows(h).T @ ds.reshape(-1))  # (D,)
        dz = ds[..., None] * self.weight.data * (1 - h * h)  # (..., T_q, T_k, D)
        da, db = dz.sum(axis=-2), dz.sum(axis=-3)  # (..., T_q, D), (..., T_k, D)
        if self.query_weight.trainable:
            self.query_weight.add_grad(_rows(q).T @ _rows(da))  # (D, D)
        if self.key_weight.trainable:
            self.key_weight.add_grad(_rows(k).T @ _rows(db))
        return da @ self.query_weight.data.T, db @ self.key_weight.data.T


def _rows(a):
    """All axes but the last in one."""
    return a.reshape(-1, a.shape[-1])


WITHOUT_WEIGHTS = {"dot": Dot, "scaled_dot": ScaledDot, "cosine": Cosine}
WITH_WEIGHTS = {"general": General, "additive": Additive}


def make_similarity(layer, name, dim, rng):
    """The similarity of that name; ValueError, in the name of `layer`, if there is none."""
    if name in WITHOUT_WEIGHTS:
        return WITHOUT_WEIGHTS[name]()
    if name not in WITH_WEIGHTS:
        names = ", ".join([*WITHOUT_WEIGHTS, *WITH_WEIGHTS])
        raise ValueError(f"{type(layer).__name__}: expected a similarity of {names}, got {name!r}")
    if dim is None:
        raise ValueError(
            f"{type(layer).__name__}: the similarity {name!r} has weights; give dim, the number "
            "of features of queries and keys"
        )
    return WITH_WEIGHTS[name](whole_number(layer, "dim", dim), rng)
