"""Wrong backwards of losses. Right: `nn/losses.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module


@bug("CrossEntropyLoss")
class MeanForgotten(Module):
    """dz is not divided by the number of rows, although the loss is a mean."""

    def backward(self):
        log_p, c, total, shape = self.take()
        p = np.exp(log_p)
        return (p * c.sum(axis=-1, keepdims=True) - c).reshape(shape)


@bug("CrossEntropyLoss", only_with="class weights or ignored labels")
class WeightsNotInTheMean(Module):
    """dz is divided by the number of rows; forward divides by the sum of their weights."""

    def backward(self):
        log_p, c, total, shape = self.take()
        p = np.exp(log_p)
        return ((p * c.sum(axis=-1, keepdims=True) - c) / len(c)).reshape(shape)


@bug("CrossEntropyLoss", only_with="label smoothing")
class SmoothingForgotten(Module):
    """dz is p − [k = y], as if the labels were not smoothed."""

    def backward(self):
        log_p, c, total, shape = self.take()
        if self.label_smoothing:
            one_hot = np.eye(c.shape[-1])[c.argmax(axis=-1)]
            c = one_hot * c.sum(axis=-1, keepdims=True)
        return ((np.exp(log_p) * c.sum(axis=-1, keepdims=True) - c) / total).reshape(shape)


@bug("MSELoss")
class TwoForgotten(Module):
    """The 2 that comes down from the square is missing."""

    def backward(self):
        (difference,) = self.take()
        return difference / difference.size


@bug("MSELoss")
class DividedByRows(Module):
    """The gradient is divided by N; forward takes the mean over all elements."""

    def backward(self):
        (difference,) = self.take()
        return 2 * difference / len(difference)
