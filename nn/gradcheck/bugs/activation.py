"""Wrong backwards of activations and dropout. Right: `nn/activation.py`, `nn/dropout.py`."""

import numpy as np

from nn.activation import sigmoid
from nn.gradcheck.bugs import bug
from nn.kernels.reference import normal_below
from nn.module import Module


@bug("Sigmoid")
class SigmoidTwice(Module):
    """The saved y is taken for x, and passed through the sigmoid once more."""

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        return dy * sigmoid(y) * (1 - sigmoid(y))


@bug("Tanh")
class SquareMissing(Module):
    """The derivative is taken as 1 − y; it is 1 − y²."""

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        return dy * (1 - y)


@bug("ReLU")
class MaskOfUpstream(Module):
    """The gradient is cut where dy is negative, not where x was."""

    def backward(self, dy, need_input_grad=True):
        self.take()
        return dy * (dy > 0)


@bug("ReLU", only_with="zeros")
class ZeroOverZero(Module):
    """The mask is computed as y / x: right everywhere but at 0, where it is NaN."""

    def forward(self, x):
        y = np.maximum(x, 0)
        self.save(x, y)
        return y

    def backward(self, dy, need_input_grad=True):
        x, y = self.take()
        with np.errstate(invalid="ignore"):
            return dy * (y / x)


@bug("ReLU", only_with="zeros")
class TwiceAtZero(Module):
    """The two halves x ≥ 0 and x ≤ 0 are treated apart; 0 lies in both, and gets −dy."""

    def forward(self, x):
        self.save(x)
        return np.maximum(x, 0)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        return np.where(x > 0, dy, 0) - np.where(x == 0, dy, 0)


@bug("Softmax")
class CrossTermsDropped(Module):
    """Only ∂y_k/∂x_k is used: that raising one input lowers all other outputs is forgotten."""

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        return dy * y * (1 - y)


@bug("Softmax")
class FactorForgotten(Module):
    """The y_k in front is missing. An upstream of ones gives zero all the same."""

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        return dy - (dy * y).sum(axis=-1, keepdims=True)


@bug("Dropout", only_with="training")
class ScaleForgotten(Module):
    """The mask is passed on, its factor 1/(1 − p) is not."""

    def backward(self, dy, need_input_grad=True):
        (scaled_mask,) = self.take()
        return dy if scaled_mask is None else dy * (scaled_mask > 0)


@bug("Dropout", only_with="training")
class AnotherMask(Module):
    """Backward draws a mask of its own."""

    def backward(self, dy, need_input_grad=True):
        (scaled_mask,) = self.take()
        if scaled_mask is None:
            return dy
        kept = self.rng.random(dy.shape) >= self.p
        return dy * kept / (1 - self.p)


@bug("LeakyReLU")
class OffUnitsHeldBack(Module):
    """The gradient is cut where x < 0, as in ReLU; a share of `slope` should pass."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        return dy * (x > 0)


@bug("GELU")
class DensityForgotten(Module):
    """The derivative is taken as Φ(x): the product rule's second term, x φ(x), is missing."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        return dy * normal_below(x)


@bug("GELU")
class NotNormalised(Module):
    """φ(x) is taken as e^(−x²/2), without its 1/√(2π)."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        return dy * (normal_below(x) + x * np.exp(-x * x / 2))


@bug("SiLU")
class XForgotten(Module):
    """The derivative is taken as σ + σ (1 − σ): the x of the product rule is missing."""

    def backward(self, dy, need_input_grad=True):
        s = sigmoid(*self.take())
        return dy * (s + s * (1 - s))
