"""Activations: functions of one number, applied to every element. Article §3.2.2.

Each saves what makes its derivative cheapest, mostly its own output y, which the next layer
keeps as its input anyway: that costs no further memory. `Softmax` stands here too, although it
looks at a whole row.
"""

import numpy as np

from nn import kernels
from nn.arguments import expect_gradient
from nn.module import Module


def sigmoid(x):
    """1 / (1 + e^−x), in the form that never overflows: only e^−|x| is computed."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softmax(x):
    """e^x_k / Σ_j e^x_j over the last axis. Subtracting the maximum changes no ratio."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Sigmoid(Module):
    """y = 1 / (1 + e^−x), any shape (article §3.2.2).

    dy/dx = e^−x / (1 + e^−x)² = y · (1 − y), so dx = dy · y · (1 − y).
    """

    def forward(self, x):
        y = sigmoid(x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return dy * y * (1 - y)


class Tanh(Module):
    """y = (e^x − e^−x) / (e^x + e^−x), any shape (article §3.2.2).

    dy/dx = 1 − y², so dx = dy · (1 − y²).
    """

    def forward(self, x):
        y = np.tanh(x)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return dy * (1 - y * y)


class ReLU(Module):
    """y = max(0, x), any shape (article §3.2.2).

    dx = dy where x > 0, else 0. At x = 0, where there is no derivative, it is taken as 0.
    """

    def forward(self, x):
        y = np.maximum(x, 0)
        self.save(y)
        return y

    def backward(self, dy, need_input_grad=True):
        (y,) = self.take()
        expect_gradient(self, dy, y.shape)
        return dy * (y > 0)


class LeakyReLU(Module):
    """y = x where x > 0, else slope · x, any shape (Maas et al. 2013).

    dx = dy where x > 0, else slope · dy: a unit that is off still learns.
    """

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        self.save(x)
        return np.where(x > 0, x, x * np.asarray(self.slope, x.dtype))

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        expect_gradient(self, dy, x.shape)
        return np.where(x > 0, dy, dy * np.asarray(self.slope, dy.dtype))

    def describe(self):
        return f"LeakyReLU({self.slope})"


class GELU(Module):
    """y = x · Φ(x), exact, any shape (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2 is the share of a standard normal below x. With its density
    φ(x) = e^(−x²/2) / √(2π), the derivative is Φ(x) + x φ(x).
    """

    def forward(self, x):
        below = (1 + kernels.erf(x * np.asarray(np.sqrt(0.5), x.dtype))) / 2  # Φ(x)
        self.save(x, below)
        return x * below

    def backward(self, dy, need_input_grad=True):
        x, below = self.take()
        expect_gradient(self, dy, x.shape)
        density = np.exp(-x * x / 2) / np.asarray(np.sqrt(2 * np.pi), x.dtype)  # φ(x)
        return dy * (below + x * density)


class SiLU(Module):
    """y = x · σ(x) with σ the sigmoid, any shape (Elfwing et al. 2017, arXiv:1702.03118).

    dy/dx = σ + x σ (1 − σ).
    """

    def forward(self, x):
        s = sigmoid(x)
        self.save(x, s)
        return x * s

    def backward(self, dy, need_input_grad=True):
        x, s = self.take()
        expect_gradient(self, dy, x.shape)
        return dy * (s + x * s * (1 - s))


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
