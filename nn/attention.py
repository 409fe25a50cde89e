"""Attention: every position of a sequence looks at all positions of another, or of its own.

Two layers share their first half, the weights p_ij = softmax_j s(x_i, c_j), and differ in what
they sum with them. The article's degree of attention (§3.3.1, §3.3.2) sums the similarity itself,
`Attention` sums values:

    a_i = Σ_j p_ij s_ij            one number: how good a match does i find anywhere?
    y_i = Σ_j p_ij v_j             a vector: what is there?

Arrays are (N, T, D), or (N, heads, T, D) for several attentions side by side.
"""

import numpy as np

from nn import kernels
from nn.arguments import expect_gradient
from nn.module import Module, inference
from nn.similarity import Dot, ScaledDot, make_similarity

# From so many pairs of a query and a key on, the weights are not held. Measured: with fewer,
# NumPy's products of small matrices are as fast as the tiles, and need no compiling.
LEAN_FROM = 16 * 16


def visible(layer, mask, causal, shape):
    """Which key each query may see, boolean and broadcasting to shape (N, H, T_q, T_k), or None.

    mask: boolean, True = may be seen, of a shape that broadcasts to `shape`; one with three axes
    (N, T_q, T_k) is for all heads if there is one head only. causal: query i sees the keys j <= i.
    """
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise ValueError(
                f"{layer.describe()}: expected a boolean mask, True = may be seen, got "
                f"{mask.dtype}; mask.astype(bool) makes one"
            )
        given = mask.shape
        if mask.ndim == 3 and shape[1] == 1:
            mask = mask[:, None]
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        fits = mask.ndim == 4 and all(m in (1, n) for m, n in zip(mask.shape, shape, strict=True))
        if not fits:
            raise ValueError(
                f"{layer.describe()}: a mask {given} does not broadcast to (N, heads, T_q, T_k) = "
                f"{shape}; valid (N, T_k) becomes one as valid[:, None, None, :]"
            )
    if causal:
        T_q, T_k = shape[2:]
        before = np.tri(T_q, T_k, dtype=bool)[None, None]
        mask = before if mask is None else mask & before
    return mask


def softmax_of_visible(s, seen):
    """p_ij = e^s_ij / Σ_j e^s_ij over the keys j that are seen; a row that sees none is zeros."""
    may_be_empty = seen is not None or s.shape[-1] == 0
    if seen is not None:
        s = np.where(seen, s, -np.inf)
    largest = s.max(axis=-1, keepdims=True, initial=-np.inf)
    if may_be_empty:
        largest = np.where(np.isneginf(largest), 0, largest)
    e = np.exp(s - largest)
    total = e.sum(axis=-1, keepdims=True)
    if may_be_empty:
        total = np.where(total == 0, 1, total)
    e /= total
    return e


class AttentionDegree(Module):
    """The article's degree of attention, a_i = Σ_j p_ij s_ij (article §3.3.1 and §3.3.2).

    p_ij = softmax_j s_ij, with s_ij = s(x_i, x_j) for self-attention, `layer(x)`, or s(x_i, c_j)
    for cross-attention, `layer(x, c)`. x (N, T, D), c (N, T_c, D) → a (N, T).

    a_i is the similarity that position i expects to meet under its own weights: near the best
    one if softmax is sharp, near their mean if it is flat. A score raises a_i as itself, and by
    moving weight towards what lies above the mean:

        ∂a_i/∂s_ij = p_ij (1 + s_ij − a_i)

    - similarity: "dot", "scaled_dot", "cosine", or, with parameters, "general", "additive", for
      which `dim` is D. See `nn/similarity.py`.
    - mask, causal: which j a position i may see, as for `Attention`. One that sees none gets 0.

    Backward returns dx, or (dx, dc) if c was passed. Raises ValueError for shapes that do not fit.
    """

    def __init__(self, similarity="scaled_dot", dim=None, rng=None):
        self.name = similarity
        self.similarity = make_similarity(self, similarity, dim, rng)

    def forward(self, x, c=None, mask=None, causal=False):
        is_self = c is None
        c = x if is_self else c
        _check_vectors(self, "x", x)
        _check_pair(self, "x", x, "c", c)
        x4, c4 = _with_heads(x), _with_heads(c)
        s = self.similarity(x4, c4)  # (N, H, T, T_c)
        p = softmax_of_visible(s, visible(self, mask, causal, s.shape))
        a = (p * s).sum(axis=-1)  # (N, H, T)
        self.save(s, p, a, is_self, x.shape)
        for record in self.watched:
            record.weights = p
        return a.reshape(x.shape[:-1])

    def backward(self, da, need_input_grad=True):
        s, p, a, is_self, shape = self.take()
        expect_gradient(self, da, shape[:-1])
        da = da.reshape(a.shape)
        ds = da[..., None] * p * (1 + s - a[..., None])  # (N, H, T, T_c)
        dx, dc = self.similarity.backward(ds)
        if is_self:  # x stood on both sides
            return (dx + dc).reshape(shape)
        return dx.reshape(shape), _without_heads(dc, len(shape))

    def describe(self):
        return f"AttentionDegree({described(self)})"


class Attention(Module):
    """y_i = Σ_j p_ij v_j with p_ij = softmax_j s(q_i, k_j): what i looks for, where it is found.

    query (N, T_q, D), key (N, T_k, D), value (N, T_k, D_v) → y (N, T_q, D_v), or all three with
    an axis for heads behind N. `layer(x)` is self-attention, `layer(x, c)` looks into c: what is
    left out is the argument before it.

    - similarity: "dot", "scaled_dot", "cosine", or, with parameters, "general", "additive", for
      which `dim` is D. See `nn/similarity.py`.
    - mask: boolean, True = may be seen, broadcasting to (N, heads, T_q, T_k). A row with nothing
      to see gives zeros. causal=True: query i sees the keys j <= i, as in PyTorch.
    - lean: never hold the T_q × T_k weights, but compute them tile by tile, and once more in
      backward (`nn/kernels/lean_attention.py`). None: from 16·16 pairs on. The additive
      similarity has none, as it is no product: there lean=True is a ValueError.

    Backward, through the sum, the softmax and the similarity:

        dv_j = Σ_i p_ij dy_i
        dp_ij = dy_i · v_j
        ds_ij = p_ij (dp_ij − Σ_k p_ik dp_ik)
        dq, dk from ds, as the similarity says

    It returns (dq, dk, dv), or one gradient for each of the first arguments if fewer were passed;
    masks have none. Raises ValueError for shapes that do not fit. Vaswani et al. 2017.
    """

    def __init__(self, similarity="scaled_dot", dim=None, lean=None, rng=None):
        self.name = similarity
        self.similarity = make_similarity(self, similarity, dim, rng)
        if lean and not self.similarity.is_product:
            raise ValueError(
                f"{type(self).__name__}: lean needs scores that are products, which those of the "
                f"similarity {similarity!r} are not"
            )
        self.lean = lean

    def forward(self, query, key=None, value=None, mask=None, causal=False):
        passed = count_passed(self, key, value)
        key = query if key is None else key
        value = key if value is None else value
        _check_arguments(self, query, key, value)
        q, k, v = map(_with_heads, (query, key, value))
        shape = (*q.shape[:3], k.shape[2])
        if self._is_lean(shape):
            seen = visible(self, mask, False, shape)
            a, b = self.similarity.operands(q, k)
            scale = self.similarity.scale(a.shape[-1])
            y, log_sum = kernels.attention_forward(a, b, v, seen, causal, scale)
            self.save((a, b, v, y, log_sum, seen, causal, scale), passed, query.ndim)
        else:
            s = self.similarity(q, k)  # (N, H, T_q, T_k)
            p = softmax_of_visible(s, visible(self, mask, causal, shape))
            y = p @ v  # (N, H, T_q, D_v)
            self.save((p, v), passed, query.ndim)
        for record in self.watched:
            record.weights = self.weights(query, key, mask, causal)
        return _without_heads(y, query.ndim)

    def backward(self, dy, need_input_grad=True, into=None):
        """The gradients. into: three arrays (N, heads, T, …) that those of q, k and v go to."""
        saved, passed, ndim = self.take()
        is_lean = len(saved) > 2
        v = saved[2] if is_lean else saved[1]
        T_q = saved[0].shape[2]
        expected = (*v.shape[:2], T_q, v.shape[3])
        expect_gradient(self, dy, expected if ndim == 4 else (expected[0], *expected[2:]))
        dy = _with_heads(dy)
        if is_lean:
            # Where the operands are q and k themselves, their gradients can go there at once.
            plain = type(self.similarity) in (Dot, ScaledDot)
            da, db, dv = kernels.attention_backward(dy, *saved, into=into if plain else None)
            dq, dk = self.similarity.operands_backward(da, db)
        else:
            p, v = saved
            dv = p.swapaxes(-1, -2) @ dy  # (N, H, T_k, D_v)
            dp = dy @ v.swapaxes(-1, -2)  # (N, H, T_q, T_k)
            dp *= p
            ds = dp - p * dp.sum(axis=-1, keepdims=True)
            dq, dk = self.similarity.backward(ds)
        if into is not None:
            for target, gradient in zip(into, (dq, dk, dv), strict=True):
                if target is not gradient:
                    target[...] = gradient
        gradients = [_without_heads(d, ndim) for d in (dq, dk, dv)]
        return merged(gradients, passed)

    def weights(self, query, key=None, mask=None, causal=False):
        """p (N, heads, T_q, T_k) alone, in full: to look at them. Nothing is saved."""
        key = query if key is None else key
        with inference():
            s = self.similarity(_with_heads(query), _with_heads(key))
        return softmax_of_visible(s, visible(self, mask, causal, s.shape))

    def _is_lean(self, shape):
        if self.lean is None:
            return self.similarity.is_product and shape[2] * shape[3] >= LEAN_FROM
        return self.lean

    def describe(self):
        lean = "" if self.lean is None else f", lean={self.lean}"
        return f"Attention({described(self)}{lean})"


def described(layer):
    """The similarity as the layer was given it."""
    dim = layer.similarity.dim
    return repr(layer.name) + ("" if dim is None else f", {dim}")


# ---- shapes -------------------------------------------------------------------------------


def count_passed(layer, key, value):
    """How many arguments were passed, the query among them."""
    if key is None and value is not None:
        raise ValueError(f"{layer.describe()}: values need keys, to be found by; got none")
    return 1 + (key is not None) + (value is not None)


def merged(gradients, passed):
    """One gradient for each argument that was passed: who stood in for another gets its too."""
    dq, dk, dv = gradients
    if passed == 1:
        return dq + dk + dv
    if passed == 2:
        return dq, dk + dv
    return dq, dk, dv


def _with_heads(x):
    """(N, T, D) → (N, 1, T, D)."""
    return x[:, None] if x.ndim == 3 else x


def _without_heads(x, ndim):
    return x[:, 0] if ndim == 3 else x


def _check_arguments(layer, query, key, value):
    for name, array in (("query", query), ("key", key), ("value", value)):
        _check_vectors(layer, name, array)
    _check_pair(layer, "query", query, "key", key)
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(
            f"{layer.describe()}: expected a value for each key, got {key.shape} keys and "
            f"{value.shape} values"
        )


def _check_vectors(layer, name, x):
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{layer.describe()}: expected {name} (N, T, D) or (N, heads, T, D), got {x.shape}"
        )


def _check_pair(layer, name, x, other_name, other):
    """Both of the same N, heads and D, which a similarity with weights was made for."""
    if x.shape[:-2] != other.shape[:-2] or x.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"{layer.describe()}: {name} {x.shape} and {other_name} {other.shape} may differ in "
            "T only"
        )
    dim = layer.similarity.dim
    if dim not in (None, x.shape[-1]):
        raise ValueError(f"{layer.describe()}: expected {dim} features, got {name} {x.shape}")
