"""Wrong backwards of losses. Right: `nn/losses.py`, `nn/contrastive.py`."""

import numpy as np

from nn import kernels
from nn.activation import sigmoid
from nn.contrastive import _unit_backward
from nn.gradcheck.bugs import bug
from nn.module import Module


@bug("CrossEntropyLoss")
class MeanForgotten(Module):
    """dz is not divided by the number of rows, although the loss is a mean."""

    def backward(self):
        z, labels, w, top, powers, total, shape = self.take()
        eps = self.label_smoothing
        dz = kernels.cross_entropy_backward(z, labels, w, eps, top, powers, 1)
        return dz.reshape(shape)


@bug("CrossEntropyLoss", only_with="class weights or ignored labels")
class WeightsNotInTheMean(Module):
    """dz is divided by the number of rows; forward divides by the sum of their weights."""

    def backward(self):
        z, labels, w, top, powers, total, shape = self.take()
        eps = self.label_smoothing
        dz = kernels.cross_entropy_backward(z, labels, w, eps, top, powers, len(z))
        return dz.reshape(shape)


@bug("CrossEntropyLoss", only_with="label smoothing")
class SmoothingForgotten(Module):
    """dz is p − [k = y], as if the labels were not smoothed."""

    def backward(self):
        z, labels, w, top, powers, total, shape = self.take()
        dz = kernels.cross_entropy_backward(z, labels, w, 0, top, powers, total)
        return dz.reshape(shape)


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


@bug("L1Loss")
class SignForgotten(Module):
    """The gradient is x − t; of |x − t| it is the sign alone."""

    def backward(self):
        (difference,) = self.take()
        return difference / difference.size


@bug("HuberLoss")
class OutliersNotHeldBack(Module):
    """The gradient is x − t however far away; beyond δ it must not grow."""

    def backward(self):
        (e,) = self.take()
        return e / e.size


@bug("HuberLoss", only_with="another delta than 1")
class DeltaForgotten(Module):
    """The gradient is cut at 1, whatever δ is."""

    def backward(self):
        (e,) = self.take()
        return np.clip(e, -1, 1) / e.size


@bug("BCEWithLogitsLoss", only_with="a weight of the yeses")
class YesesNotWeighted(Module):
    """The gradient is σ(z) − t; `pos_weight` is forgotten."""

    def backward(self):
        logits, t, _ = self.take()
        return (sigmoid(logits) - t) / logits.size


@bug("BCEWithLogitsLoss")
class SigmoidTwice(Module):
    """The slope of the sigmoid is multiplied on, though it has cancelled with the logarithm's."""

    def backward(self):
        logits, t, yes = self.take()
        p = sigmoid(logits)
        return ((1 - t) * p - yes * (1 - p)) * p * (1 - p) / logits.size


@bug("DiceLoss")
class AreasHeldStill(Module):
    """The sum of the areas is taken for a constant, though the predicted area is in it."""

    def backward(self):
        p, g, overlap, areas, counted, shape = self.take()
        self.save(p, g, 0 * overlap, areas, counted, shape)
        return super().backward()


@bug("DiceLoss")
class ProbabilitiesForLogits(Module):
    """The gradient for the probabilities is returned; the softmax or sigmoid is skipped."""

    def backward(self):
        p, g, overlap, areas, _, shape = self.take()
        dp = (overlap / areas**2 - 2 * g / areas) / len(areas)
        return dp.astype(p.dtype).reshape(shape)


@bug("InfoNCELoss")
class NotTransposed(Module):
    """dk uses ds where dsᵀ is needed. The similarities are a square: the shapes fit."""

    def backward(self):
        q, q_length, k, k_length = self.take()
        ds = self.cross_entropy.backward() / self.temperature
        return _unit_backward(ds @ k, q, q_length), _unit_backward(ds @ q, k, k_length)


@bug("InfoNCELoss")
class LengthHeldStill(Module):
    """The length of a row is taken for a constant: what lies along the row is not taken out."""

    def backward(self):
        q, q_length, k, k_length = self.take()
        ds = self.cross_entropy.backward() / self.temperature
        return ds @ k / q_length, ds.T @ q / k_length


@bug("TripletLoss")
class AllTripletsCount(Module):
    """Triplets that already keep the margin get a gradient too."""

    def backward(self):
        u, v, _ = self.take()
        return (u - v) / len(u), -u / len(u), v / len(u)


@bug("TripletLoss")
class AnchorAttractedOnly(Module):
    """The anchor moves towards its like but not away from its unlike."""

    def backward(self):
        u, v, counts = self.take()
        share = (counts / len(u)).astype(u.dtype)
        return u * share, -u * share, v * share
