"""Attention as it is used: projected, several heads side by side, put together again."""

import numpy as np

from nn import initializers, kernels
from nn.arguments import expect_gradient, whole_number
from nn.attention import Attention, merged
from nn.linear import Linear
from nn.module import Module, Parameter


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
        passed = 1 + (key is not None) + (value is not None)
        key = query if key is None else key
        value = key if value is None else value
        inputs = (query, key, value)
        for name, x in zip(("query", "key", "value"), inputs, strict=True):
            if x.ndim != 3 or x.shape[-1] != self.dim:
                raise ValueError(
                    f"{self.describe()}: expected {name} (N, T, {self.dim}), got {x.shape}"
                )
        q, k, v = (self._heads(self._project(x, i)) for i, x in enumerate(inputs))
        y = self._together(self.attention(q, k, v, mask, causal))  # (N, T_q, D)
        self.save(inputs, passed)
        for record in self.watched:
            record.weights = self.attention.weights(q, k, mask, causal)
        return self.out_proj(y)

    def backward(self, dy, need_input_grad=True):
        inputs, passed = self.take()
        expect_gradient(self, dy, inputs[0].shape)
        dy = self._heads(self.out_proj.backward(dy))
        d_projected = [self._together(d) for d in self.attention.backward(dy)]
        self._add_gradients(inputs, d_projected)
        if need_input_grad:
            gradients = [self._project_back(d, i) for i, d in enumerate(d_projected)]
            return merged(gradients, passed)

    # ---- the three projections: part 0 for the query, 1 for the key, 2 for the value ----------

    def _columns(self, part):
        """Which columns of in_proj_weight, and entries of in_proj_bias, are those of this part."""
        return slice(part * self.dim, (part + 1) * self.dim)

    def _project(self, x, part):
        N, T, D = x.shape
        # NumPy's product takes some columns of a matrix as they are, without a copy.
        y = x.reshape(-1, D) @ self.in_proj_weight.data[:, self._columns(part)]
        if self.in_proj_bias is not None:
            y += self.in_proj_bias.data[self._columns(part)]
        return y.reshape(N, T, D)

    def _project_back(self, dy, part):
        dx = dy.reshape(-1, self.dim) @ self.in_proj_weight.data[:, self._columns(part)].T
        return dx.reshape(dy.shape)

    def _add_gradients(self, inputs, d_projected):
        x_rows = [x.reshape(-1, self.dim) for x in inputs]
        dy_rows = [dy.reshape(-1, self.dim) for dy in d_projected]
        if self.in_proj_weight.trainable:
            dw = np.empty_like(self.in_proj_weight.data, dtype=dy_rows[0].dtype)
            for part, (x, dy) in enumerate(zip(x_rows, dy_rows, strict=True)):
                dw[:, self._columns(part)] = x.T @ dy  # (D, D)
            self.in_proj_weight.add_grad(dw)
        if self.in_proj_bias is not None and self.in_proj_bias.trainable:
            self.in_proj_bias.add_grad(np.concatenate(list(map(kernels.add_rows, dy_rows))))

    # ---- features in heads and back -----------------------------------------------------------

    def _heads(self, x):
        """(N, T, D) → (N, heads, T, d): a view."""
        N, T, D = x.shape
        return x.reshape(N, T, self.heads, D // self.heads).swapaxes(1, 2)

    def _together(self, x):
        """(N, heads, T, d) → (N, T, D)."""
        N, H, T, d = x.shape
        return np.ascontiguousarray(x.swapaxes(1, 2)).reshape(N, T, H * d)

    def describe(self):
        bias = "" if self.in_proj_bias is not None else ", bias=False"
        lean = "" if self.attention.lean is None else f", lean={self.attention.lean}"
        return f"MultiHeadAttention({self.dim}, {self.heads}{bias}{lean})"
