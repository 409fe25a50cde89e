"""Wrong backwards of `PositionalEncoding`. Right: `nn/positional.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module


class PositionParts(Module):
    """The right backward of `PositionalEncoding` in parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        self.take()
        of_clip = self.over_examples(dy)
        if self.kind == "learned":
            self.add(self.weight, of_clip)
        elif self.kind == "space-time":
            self.add(self.time_weight, of_clip.sum(axis=(1, 2)))
            self.add(self.space_weight, self.over_time(of_clip))
        return self.input_gradient(dy)

    def over_examples(self, dy):
        return dy.sum(axis=0)

    def over_time(self, of_clip):
        return of_clip.sum(axis=0)

    def add(self, table, gradient):
        whole = np.zeros_like(table.data)
        whole[self.rows_of(gradient)] = gradient
        table.add_grad(whole)

    def rows_of(self, gradient):
        return tuple(slice(n) for n in gradient.shape)

    def input_gradient(self, dy):
        return dy


@bug("PositionalEncoding", only_with="a table")
class MeanOverExamples(PositionParts):
    """A row of a table gets the mean over the examples instead of the sum."""

    def over_examples(self, dy):
        return dy.mean(axis=0)


@bug("PositionalEncoding", only_with="a table longer than the input")
class CountedFromTheEnd(PositionParts):
    """A shorter input met the first rows of a table; the gradient goes to the last."""

    def rows_of(self, gradient):
        return tuple(slice(-n, None) for n in gradient.shape)


@bug("PositionalEncoding", only_with="a table")
class PositionsLearnedOnly(PositionParts):
    """dx is zero where tables are learned: the sum is taken to lead to them alone."""

    def input_gradient(self, dy):
        return dy if self.kind == "sinusoidal" else np.zeros_like(dy)


@bug("PositionalEncoding", only_with="several frames of places")
class FirstFrameOnly(PositionParts):
    """A place gets its gradient from the first frame, although it was added to all."""

    def over_time(self, of_clip):
        return of_clip[0]
