"""Transformer layers: attention carries between positions, a dense network works at each.

Every part is a detour that adds to what goes straight on, with a layer norm at one of two places
(Xiong et al. 2020, arXiv:2002.04745):

    pre-norm     x + f(norm(x))       the straight way is free from end to end: trains at once
    post-norm    norm(x + f(x))       as first published (Vaswani et al. 2017): needs a warm-up

Backward is that of a residual: the gradient goes both ways and the two add.
"""

import numpy as np

from nn.activation import GELU, ReLU
from nn.arguments import whole_number
from nn.dropout import Dropout
from nn.linear import Linear
from nn.module import Module
from nn.multihead_attention import MultiHeadAttention
from nn.normalization import LayerNorm

ACTIVATIONS = {"gelu": GELU, "relu": ReLU}


class _TransformerLayer(Module):
    """What encoder and decoder share: the detours around their parts, and the dense network."""

    def _set_up(self, dim, heads, hidden, activation, norm_first):
        """Check and keep what a layer is made with."""
        self.dim = whole_number(self, "dim", dim)
        self.heads = whole_number(self, "heads", heads)
        self.hidden = 4 * dim if hidden is None else whole_number(self, "hidden", hidden)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation must be one of {', '.join(ACTIVATIONS)}, got "
                f"{activation!r}"
            )
        self.activation_name, self.norm_first = activation, norm_first

    def _around(self, x, norm, part, dropout):
        """One detour: `part` is a function of x; y of the same shape."""
        if self.norm_first:
            return x + dropout(part(norm(x)))
        return norm(x + dropout(part(x)))

    def _around_backward(self, dy, norm, part_backward, dropout):
        """dx: what went straight on, plus what comes back from the detour."""
        if self.norm_first:
            return dy + norm.backward(part_backward(dropout.backward(dy)))
        dy = norm.backward(dy)  # of the sum, which both ways share
        return dy + part_backward(dropout.backward(dy))

    def _feed_forward(self, x):
        """W_2 f(W_1 x + b_1) + b_2 at each position by itself; D → hidden → D."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _feed_forward_backward(self, dy):
        dy = self.dropout.backward(self.linear2.backward(dy))
        return self.linear1.backward(self.activation.backward(dy))

    def _check(self, name, x):
        if x.ndim != 3 or x.shape[-1] != self.dim:
            raise ValueError(
                f"{self.describe()}: expected {name} (N, T, {self.dim}), got {x.shape}"
            )

    def describe(self):
        order = "" if self.norm_first else ", norm_first=False"
        return (
            f"{type(self).__name__}({self.dim}, {self.heads}, hidden={self.hidden}, "
            f"dropout={self.dropout.p}, activation={self.activation_name!r}{order})"
        )


class TransformerEncoderLayer(_TransformerLayer):
    """Each position looks at all, then thinks for itself. x (N, T, D) → y (N, T, D).

        pre-norm:   x ← x + attention(norm1(x))        x ← x + dense(norm2(x))
        post-norm:  x ← norm1(x + attention(x))        x ← norm2(x + dense(x))

    dense(x) = W_2 f(W_1 x + b_1) + b_2 with `hidden` units, 4·dim unless given, and f "gelu" or
    "relu". Dropout stands behind attention, behind f and behind the dense network; the weights of
    attention are not dropped. A stack of pre-norm layers wants one more LayerNorm at its end.

    mask, causal, lean: see `Attention`; the mask broadcasts to (N, heads, T, T). Parts are named
    as in PyTorch, whose defaults are post-norm, ReLU, hidden=2048 and dropout=0.1.

    Backward returns dx. Raises ValueError for another shape or activation.
    """

    def __init__(
        self,
        dim,
        heads,
        hidden=None,
        dropout=0.0,
        activation="gelu",
        norm_first=True,
        lean=None,
        rng=None,
    ):
        self._set_up(dim, heads, hidden, activation, norm_first)
        rng = np.random.default_rng(rng)
        self.self_attn = MultiHeadAttention(dim, heads, rng=rng, lean=lean)
        self.linear1 = Linear(dim, self.hidden, rng=rng)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(self.hidden, dim, rng=rng)
        self.norm1 = LayerNorm(dim)
        self.norm2 = LayerNorm(dim)
        self.dropout1 = Dropout(dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng=rng)

    def forward(self, x, mask=None, causal=False):
        self._check("x", x)

        def attend(x):
            return self.self_attn(x, mask=mask, causal=causal)

        x = self._around(x, self.norm1, attend, self.dropout1)
        return self._around(x, self.norm2, self._feed_forward, self.dropout2)

    def backward(self, dy, need_input_grad=True):
        dy = self._around_backward(dy, self.norm2, self._feed_forward_backward, self.dropout2)
        return self._around_backward(dy, self.norm1, self.self_attn.backward, self.dropout1)


class TransformerDecoderLayer(_TransformerLayer):
    """Looks at what was written so far, then at what is to be told, then thinks for itself.

        pre-norm:   x ← x + self_attn(norm1(x))
                    x ← x + multihead_attn(norm2(x), memory)
                    x ← x + dense(norm3(x))

    and post-norm as in the encoder. x (N, T, D), memory (N, T_m, D) → y (N, T, D); memory is what
    an encoder gave, for example the features of the frames of a clip.

    By default position t sees x up to t alone (causal=True), so that all steps of a sequence are
    trained at once and none knows its future. mask: for x, broadcasts to (N, heads, T, T);
    memory_mask: to (N, heads, T, T_m). Other options: see `TransformerEncoderLayer`.

    Backward returns (dx, dmemory). Raises ValueError for another shape or activation.
    """

    def __init__(
        self,
        dim,
        heads,
        hidden=None,
        dropout=0.0,
        activation="gelu",
        norm_first=True,
        lean=None,
        rng=None,
    ):
        self._set_up(dim, heads, hidden, activation, norm_first)
        rng = np.random.default_rng(rng)
        self.self_attn = MultiHeadAttention(dim, heads, rng=rng, lean=lean)
        self.multihead_attn = MultiHeadAttention(dim, heads, rng=rng, lean=lean)
        self.linear1 = Linear(dim, self.hidden, rng=rng)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(self.hidden, dim, rng=rng)
        self.norm1 = LayerNorm(dim)
        self.norm2 = LayerNorm(dim)
        self.norm3 = LayerNorm(dim)
        self.dropout1 = Dropout(dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng=rng)
        self.dropout3 = Dropout(dropout, rng=rng)

    def forward(self, x, memory, mask=None, memory_mask=None, causal=True):
        self._check("x", x)
        self._check("memory", memory)

        def look_back(x):
            return self.self_attn(x, mask=mask, causal=causal)

        def look_across(x):
            return self.multihead_attn(x, memory, mask=memory_mask)

        x = self._around(x, self.norm1, look_back, self.dropout1)
        x = self._around(x, self.norm2, look_across, self.dropout2)
        return self._around(x, self.norm3, self._feed_forward, self.dropout3)

    def backward(self, dy, need_input_grad=True):
        d_memory = None

        def look_across_backward(dy):
            nonlocal d_memory  # the second way out of this part
            dx, d_memory = self.multihead_attn.backward(dy)
            return dx

        dy = self._around_backward(dy, self.norm3, self._feed_forward_backward, self.dropout3)
        dy = self._around_backward(dy, self.norm2, look_across_backward, self.dropout2)
        dx = self._around_backward(dy, self.norm1, self.self_attn.backward, self.dropout1)
        return dx, d_memory
