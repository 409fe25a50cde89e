"""Embeddings: a learned vector for each of a number of things."""

import numpy as np

from nn.arguments import expect_gradient, whole_number
from nn.module import Module, Parameter


class Embedding(Module):
    """y = W[ids]: look up one row for each id.

    ids (...) of an integer type, in 0..num_embeddings − 1 → y (..., D), W (num_embeddings, D).
    It is a dense layer on one-hot vectors, without the multiplications by zero.

    Backward: dW[id] = Σ dy over every place where that id stood; ids have no gradient (None).
    Raises ValueError for ids out of range or not of an integer type.
    """

    def __init__(self, num_embeddings, embedding_dim, rng=None):
        self.num_embeddings = whole_number(self, "num_embeddings", num_embeddings)
        self.embedding_dim = whole_number(self, "embedding_dim", embedding_dim)
        rng = np.random.default_rng(rng)
        self.weight = Parameter(
            rng.standard_normal((num_embeddings, embedding_dim)).astype(np.float32)
        )

    def forward(self, ids):
        ids = np.asarray(ids)
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{self.describe()}: expected integer ids, got {ids.dtype}")
        if ids.size and not (0 <= ids.min() and ids.max() < self.num_embeddings):
            raise ValueError(
                f"{self.describe()}: ids run from {ids.min()} to {ids.max()}, expected "
                f"0..{self.num_embeddings - 1}"
            )
        self.save(ids)
        return self.weight.data[ids]  # (..., D)

    def backward(self, dy, need_input_grad=True):
        (ids,) = self.take()
        expect_gradient(self, dy, (*ids.shape, self.embedding_dim))
        if self.weight.trainable:
            dw = np.zeros_like(self.weight.data)
            np.add.at(dw, ids.ravel(), dy.reshape(-1, self.embedding_dim))  # repeats add up
            self.weight.add_grad(dw)
        return None

    def describe(self):
        return f"Embedding({self.num_embeddings}, {self.embedding_dim})"
