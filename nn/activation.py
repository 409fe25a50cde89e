"""Activations: functions of one number, applied to every element. Article §3.2.2.

Each saves what makes its derivative cheapest, mostly its own output y, which the next layer
keeps as its input anyway: that costs no further memory. `Softmax` stands here too, although it
looks at a whole row.
"""

import numpy as np

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
        return dy * (y > 0)


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
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
