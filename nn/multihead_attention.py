"""Attention as it is used: projected, several heads side by side, put together again."""

import numpy as np

from nn import initializers, kernels
from nn.arguments import expect_gradient, whole_number
from nn.attention import Attention, count_passed
from nn.kernels.memory import empty
from nn.linear import Linear
from nn.module import Module, Parameter

# Which projections read the same input, for so many inputs that were passed: parts first to last.
PARTS = {1: [(0, 3)], 2: [(0, 1), (1, 3)], 3: [(0, 1), (1, 2), (2, 3)]}


class MultiHeadAttention(Module):
    """Several attentions at once, each in a part of the features (Vaswani et al. 2017).

        q = query W_q + b_q      k = key W_k + b_k      v = value W_v + b_v      (N, T, D)
        head h: y_h = softmax(q_h k_hᵀ / √d) v_h        on features h·d .. (h+1)·d, d = D / heads
        y = [y_0 y_1 …] W_o + b_o

    One softmax has one opinion of where to look; heads have several, at the price of one.

    query (N, T_q, D), key and value (N, T_k, D) → y (N, T_q, D). `layer(x)` is self-attention,
    `layer(x, c)` looks into c: what is left out is the argument before it. mask, causal, lean:
    see `Attention`. `nn.watch` gets the weights (N, heads, T_q, T_k).

    W_q, W_k and W_v stand side by side in `in_proj_weight` (D, 3D), as in PyTorch; W_o and b_o
    are those of `out_proj`. Weights are drawn with Glorot's variance, biases are zero.

    Backward goes the same way back; what it returns, and errors: see `Attention`.
    """

    def __init__(self, dim, heads, rng=None, bias=True, lean=None):
        self.dim = whole_number(self, "dim", dim)
        self.heads = whole_number(self, "heads", heads)
        if dim % heads:
            raise ValueError(
                f"MultiHeadAttention: {dim} features do not fall into {heads} equal heads"
            )
        rng = np.random.default_rng(rng)
        squares = [initializers.xavier_uniform((dim, dim), dim, dim, rng) for _ in range(4)]
        self.in_proj_weight = Parameter(np.concatenate(squares[:3], axis=1))
        self.in_proj_bias = Parameter(initializers.zeros(3 * dim)) if bias else None
        self.out_proj = Linear(dim, dim, bias=bias, rng=rng)
        self.out_proj.weight.data[...] = squares[3]
        self.attention = Attention("scaled_dot", lean=lean)

    def forward(self, query, key=None, value=None, mask=None, causal=False):
        passed = count_passed(self, key, value)
        key = query if key is None else key
        value = key if value is None else value
        inputs = (query, key, value)
        for name, x in zip(("query", "key", "value"), inputs, strict=True):
            if x.ndim != 3 or x.shape[-1] != self.dim:
                raise ValueError(
                    f"{self.describe()}: expected {name} (N, T, {self.dim}), got {x.shape}"
                )
        if not query.shape[0] == key.shape[0] == value.shape[0] or key.shape[1] != value.shape[1]:
            raise ValueError(
                f"{self.describe()}: expected as many clips everywhere, and a value for each key, "
                f"got query {query.shape}, key {key.shape}, value {value.shape}"
            )
        parts = PARTS[passed]
        projected = [self._project(inputs[first], first, last) for first, last in parts]
        q, k, v = (head for heads in projected for head in heads)
        y = self._together(self.attention(q, k, v, mask, causal))  # (N, T_q, D)
        self.save([inputs[first] for first, _ in parts], passed)
        for record in self.watched:
            record.weights = self.attention.weights(q, k, mask, causal)
        return self.out_proj(y)

    def backward(self, dy, need_input_grad=True):
        inputs, passed = self.take()
        expect_gradient(self, dy, inputs[0].shape)
        N, T, D = dy.shape
        dy = self.out_proj.backward(dy).reshape(N, T, self.heads, -1).swapaxes(1, 2)
        parts = PARTS[passed]
        d_projected = [
            empty((*x.shape[:2], last - first, D), dy.dtype)
            for x, (first, last) in zip(inputs, parts, strict=True)
        ]
        self.attention.backward(dy, into=[h for d in d_projected for h in self._heads(d)])
        self._add_gradients(inputs, d_projected, parts)
        if need_input_grad:
            gradients = [
                kernels.dense_backward_input(_rows(d), self._weight(*part)).reshape(x.shape)
                for x, d, part in zip(inputs, d_projected, parts, strict=True)
            ]
            return gradients[0] if passed == 1 else tuple(gradients)

    # ---- the three projections: part 0 for the query, 1 for the key, 2 for the value ----------
    #
    # Those of one input are one product: `layer(x)` multiplies x by W_q, W_k and W_v at once, and
    # in backward the sum over them gives dx = dq + dk + dv without being formed.

    def _weight(self, first, last):
        """W of the parts from first to last, (D, (last − first) · D)."""
        return self.in_proj_weight.data[:, first * self.dim : last * self.dim]

    def _project(self, x, first, last):
        """q, k, v, or those of them from first to last, each (N, heads, T, d)."""
        b = None
        if self.in_proj_bias is not None:
            b = self.in_proj_bias.data[first * self.dim : last * self.dim]
        y = kernels.dense_forward(_rows(x), self._weight(first, last), b)
        return self._heads(y.reshape(*x.shape[:2], last - first, self.dim))

    def _add_gradients(self, inputs, d_projected, parts):
        if self.in_proj_weight.trainable:
            dw = [
                kernels.dense_backward_weight(_rows(d), _rows(x))
                for x, d in zip(inputs, d_projected, strict=True)
            ]
            self.in_proj_weight.add_grad(dw[0] if len(dw) == 1 else np.concatenate(dw, axis=1))
        if self.in_proj_bias is not None and self.in_proj_bias.trainable:
            db = [kernels.add_rows(_rows(d)) for d in d_projected]
            self.in_proj_bias.add_grad(np.concatenate(db))

    # ---- features in heads and back -----------------------------------------------------------

    def _heads(self, x):
        """(N, T, parts, D) → for each part a view (N, heads, T, d)."""
        N, T, parts, D = x.shape
        x = x.reshape(N, T, parts, self.heads, D // self.heads)
        return [x[:, :, part].swapaxes(1, 2) for part in range(parts)]

    def _together(self, x):
        """(N, heads, T, d) → (N, T, D)."""
        N, H, T, d = x.shape
        return np.ascontiguousarray(x.swapaxes(1, 2)).reshape(N, T, H * d)

    def describe(self):
        bias = "" if self.in_proj_bias is not None else ", bias=False"
        lean = "" if self.attention.lean is None else f", lean={self.attention.lean}"
        return f"MultiHeadAttention({self.dim}, {self.heads}{bias}{lean})"


def _rows(x):
    """All positions below each other: (N, T, …) → (N·T, features)."""
    return x.reshape(x.shape[0] * x.shape[1], -1)
