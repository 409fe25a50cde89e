"""Wrong backwards of `Embedding`. Right: `nn/embedding.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module


class EmbeddingParts(Module):
    """The right backward of `Embedding`: only how the rows are scattered is to be replaced."""

    def backward(self, dy, need_input_grad=True):
        (ids,) = self.take()
        if self.weight.trainable:
            rows = dy.reshape(-1, self.embedding_dim)
            self.weight.add_grad(self.scatter(ids.ravel(), rows, np.zeros_like(self.weight.data)))

    def scatter(self, ids, rows, dw):
        np.add.at(dw, ids, rows)
        return dw


@bug("Embedding", only_with="repeated ids")
class RepeatsOverwritten(EmbeddingParts):
    """`dw[ids] += rows` keeps only the last row of an id that stands several times."""

    def scatter(self, ids, rows, dw):
        dw[ids] += rows
        return dw


@bug("Embedding", only_with="repeated ids")
class MeanOfRepeats(EmbeddingParts):
    """dW is the mean over the places where an id stood instead of the sum."""

    def scatter(self, ids, rows, dw):
        count = np.bincount(ids, minlength=len(dw))
        return super().scatter(ids, rows, dw) / np.maximum(count, 1)[:, None]


@bug("Embedding")
class CountedFromOne(EmbeddingParts):
    """dW: every row is written one place too early, as if ids began at 1."""

    def scatter(self, ids, rows, dw):
        return super().scatter((ids.astype(int) - 1) % len(dw), rows, dw)


@bug("Embedding")
class SortedAlone(EmbeddingParts):
    """dW: the ids are sorted, to go through the matrix in order; the rows are not."""

    def scatter(self, ids, rows, dw):
        return super().scatter(np.sort(ids), rows, dw)


@bug("Embedding")
class GradientReplaced(EmbeddingParts):
    """dW replaces the gradient instead of adding to it: wrong at the second backward."""

    def backward(self, dy, need_input_grad=True):
        if self.weight.trainable:
            self.weight.zero_grad()
        return super().backward(dy, need_input_grad)
