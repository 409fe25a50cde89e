"""Activations: functions of one number, applied to every element. Article §3.2.2.

Each saves what makes its derivative cheapest, mostly its own output y, which the next layer
keeps as its input anyway: that costs no further memory. `Softmax` stands here too, although it
looks at a whole row.
"""

import numpy as np

from nn import kernels
from nn.arguments import expect_gradient
from nn.module import Module

sigmoid = kernels.reference.sigmoid  # the function alone, in NumPy


def softmax(x):
    """e^x_k / Σ_j e^x_j over the last axis. Subtracting the maximum changes no ratio."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Sigmoid(Module):
    """y = 1 / (1 + e^−x), any shape (article §3.2.2).

    dy/dx = e^−x / (1 + e^−x)² = y · (1 − y), so dx = dy · y · (1 − y).
    """

    def forward(self, x):
        y = kernels.activate("sigmoid", x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return kernels.activate_backward("sigmoid", dy, y)


class Tanh(Module):
    """y = (e^x − e^−x) / (e^x + e^−x), any shape (article §3.2.2).

    dy/dx = 1 − y², so dx = dy · (1 − y²).
    """

    def forward(self, x):
        y = kernels.activate("tanh", x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return kernels.activate_backward("tanh", dy, y)


class ReLU(Module):
    """y = max(0, x), any shape (article §3.2.2).

    dx = dy where x > 0, else 0. At x = 0, where there is no derivative, it is taken as 0.
    """

    def forward(self, x):
        y = kernels.activate("relu", x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return kernels.activate_backward("relu", dy, y)


class LeakyReLU(Module):
    """y = x where x > 0, else slope · x, any shape (Maas et al. 2013).

    dx = dy where x > 0, else slope · dy: a unit that is off still learns.
    """

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        self.save(x)
        return kernels.activate("leaky_relu", x, self.slope)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        expect_gradient(self, dy, x.shape)
        return kernels.activate_backward("leaky_relu", dy, x, self.slope)

    def describe(self):
        return f"LeakyReLU({self.slope})"


class GELU(Module):
    """y = x · Φ(x), exact, any shape (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2 is the share of a standard normal below x. With its density
    φ(x) = e^(−x²/2) / √(2π), the derivative is Φ(x) + x φ(x).
    """

    def forward(self, x):
        self.save(x)
        return kernels.activate("gelu", x)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        expect_gradient(self, dy, x.shape)
        return kernels.activate_backward("gelu", dy, x)


class SiLU(Module):
    """y = x · σ(x) with σ the sigmoid, any shape (Elfwing et al. 2017, arXiv:1702.03118).

    dy/dx = σ + x σ (1 − σ) with σ of x, computed anew.
    """

    def forward(self, x):
        self.save(x)
        return kernels.activate("silu", x)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        expect_gradient(self, dy, x.shape)
        return kernels.activate_backward("silu", dy, x)


class Softmax(Module):
    """y_k = e^x_k / Σ_j e^x_j over the last axis (..., K).

    ∂y_j/∂x_k = y_j (δ_jk − y_k): raising one input lowers all other outputs. So

        dx_k = Σ_j dy_j y_j (δ_jk − y_k) = y_k · (dy_k − Σ_j dy_j y_j)

    For training use `CrossEntropyLoss` on the logits instead: together the two are simpler.
    """

    def forward(self, x):
        y = softmax(x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
