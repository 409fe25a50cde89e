"""Normalisation: give features mean 0 and variance 1, then a learned scale and shift.

All three layers are one formula. They differ in what a mean is taken over:

    batch norm   one channel, over all clips and places      (N, *S, C): axes N and S
    layer norm   one place of one clip, over its channels    (..., C):   axis C
    group norm   a group of channels of one clip, over all places

    x̂ = (x − mean) / √(var + ε)          y = γ x̂ + β
"""

import numpy as np

from nn.arguments import expect_gradient, whole_number
from nn.module import Module, Parameter


def mean_over(a, axes):
    """The mean over `axes`, which are kept with length 1.

    Summed in float64: a float32 sum of the million values of a channel is right to three or four
    digits only, since each value is rounded to what the sum so far can hold.
    """
    return a.mean(axis=axes, keepdims=True, dtype=np.float64).astype(a.dtype)


def standardize(x, axes, eps):
    """x̂ = (x − mean) · r with r = 1/√(var + ε), over `axes`; returns x̂, r, mean and var."""
    mean = mean_over(x, axes)
    centred = x - mean
    var = mean_over(centred * centred, axes)
    r = 1 / np.sqrt(var + np.asarray(eps, x.dtype))
    return centred * r, r, mean, var


def standardize_backward(dx_hat, x_hat, r, axes):
    """The gradient through `standardize`.

    Every x moves its own x̂, and through the mean and the variance all others a little:

        dx = r · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂))

    What is left is orthogonal to a shift and to a stretch of x, which x̂ does not notice. The
    chapter on normalisation derives it step by step.
    """
    mean = mean_over(dx_hat, axes)
    along = mean_over(dx_hat * x_hat, axes)
    return r * (dx_hat - mean - x_hat * along)


class _Norm(Module):
    """Scale γ and shift β per channel, and the gradients they share: dγ = Σ dy x̂, dβ = Σ dy."""

    def __init__(self, num_features, eps):
        self.num_features = whole_number(self, "num_features", num_features)
        self.eps = eps
        self.weight = Parameter(np.ones(num_features, np.float32))  # γ
        self.bias = Parameter(np.zeros(num_features, np.float32))  # β

    def _check(self, x):
        if x.ndim < 2 or x.shape[-1] != self.num_features:
            raise ValueError(
                f"{self.describe()}: expected {self.num_features} channels on the last axis, "
                f"got {x.shape}"
            )

    def _backward_scale(self, dy, x_hat):
        """Add dγ and dβ, return dx̂ = dy · γ."""
        expect_gradient(self, dy, x_hat.shape)
        others = tuple(range(dy.ndim - 1))
        if self.weight.trainable:
            self.weight.add_grad(np.sum(dy * x_hat, axis=others, dtype=np.float64))
        if self.bias.trainable:
            self.bias.add_grad(np.sum(dy, axis=others, dtype=np.float64))
        return dy * self.weight.data


class BatchNorm(_Norm):
    """Normalise each channel over the batch and all places (Ioffe and Szegedy 2015).

    x (N, ..., C) → y of the same shape, any number of axes: y = γ (x − μ)/√(σ² + ε) + β.

    In training μ and σ² are those of the batch, and running averages are kept:
    running ← (1 − momentum) · running + momentum · batch, the variance unbiased (n/(n − 1)), as
    in PyTorch. In use (`eval()`) the running averages take their place, and are constants for
    the gradient: dx = dy · γ / √(running_var + ε).

    Raises ValueError in training if a channel has one value only: its variance says nothing.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, num_features, momentum=0.1, eps=1e-5):
        super().__init__(num_features, eps)
        self.momentum = momentum
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)

    def forward(self, x):
        self._check(x)
        if self.training:
            x_hat, r = self._with_batch_statistics(x)
        else:
            r = 1 / np.sqrt(self.running_var + np.asarray(self.eps, x.dtype))
            x_hat = (x - self.running_mean) * r
        self.save(x_hat, r, self.training)
        return x_hat * self.weight.data + self.bias.data

    def _with_batch_statistics(self, x):
        n = x.size // self.num_features  # values per channel
        if n < 2:
            raise ValueError(
                f"{self.describe()}: one value per channel in {x.shape} has no variance; use a "
                "larger batch, or eval()"
            )
        x_hat, r, mean, var = standardize(x, tuple(range(x.ndim - 1)), self.eps)
        new = self.momentum
        self.running_mean[...] = (1 - new) * self.running_mean + new * mean.ravel()
        self.running_var[...] = (1 - new) * self.running_var + new * var.ravel() * n / (n - 1)
        return x_hat, r

    def backward(self, dy, need_input_grad=True):
        x_hat, r, of_batch = self.take()
        dx_hat = self._backward_scale(dy, x_hat)
        if need_input_grad:
            if not of_batch:
                return dx_hat * r
            return standardize_backward(dx_hat, x_hat, r, tuple(range(dy.ndim - 1)))

    def describe(self):
        return f"BatchNorm({self.num_features})"


class LayerNorm(_Norm):
    """Normalise the channels of each place by themselves (Ba et al. 2016, arXiv:1607.06450).

    x (..., C) → y of the same shape, mean and variance over the last axis. Nothing depends on
    the rest of the batch, so training and use are the same.
    """

    def __init__(self, num_features, eps=1e-5):
        super().__init__(num_features, eps)

    def forward(self, x):
        self._check(x)
        x_hat, r, _, _ = standardize(x, -1, self.eps)
        self.save(x_hat, r)
        return x_hat * self.weight.data + self.bias.data

    def backward(self, dy, need_input_grad=True):
        x_hat, r = self.take()
        dx_hat = self._backward_scale(dy, x_hat)
        if need_input_grad:
            return standardize_backward(dx_hat, x_hat, r, -1)

    def describe(self):
        return f"LayerNorm({self.num_features})"


class GroupNorm(_Norm):
    """Normalise groups of channels of each clip over all places (Wu and He 2018).

    x (N, *S, C) → y of the same shape; the C channels form `num_groups` groups of neighbours,
    and mean and variance run over S and the channels of a group. One group is instance-wise
    layer norm over everything; C groups are instance norm. γ and β stay per channel.
    """

    def __init__(self, num_groups, num_features, eps=1e-5):
        super().__init__(num_features, eps)
        self.num_groups = whole_number(self, "num_groups", num_groups)
        if num_features % num_groups:
            raise ValueError(
                f"GroupNorm: {num_features} channels do not fall into num_groups={num_groups} "
                "equal groups"
            )

    def forward(self, x):
        self._check(x)
        grouped, axes = self._grouped(x)
        x_hat, r, _, _ = standardize(grouped, axes, self.eps)
        x_hat = x_hat.reshape(x.shape)
        self.save(x_hat, r)
        return x_hat * self.weight.data + self.bias.data

    def backward(self, dy, need_input_grad=True):
        x_hat, r = self.take()
        dx_hat = self._backward_scale(dy, x_hat)
        if need_input_grad:
            x_hat, axes = self._grouped(x_hat)
            dx = standardize_backward(self._grouped(dx_hat)[0], x_hat, r, axes)
            return dx.reshape(dy.shape)

    def _grouped(self, x):
        """x with its channels split into (groups, C per group), and the axes of one mean."""
        per_group = self.num_features // self.num_groups
        grouped = x.reshape(*x.shape[:-1], self.num_groups, per_group)
        places = tuple(range(1, x.ndim - 1))
        return grouped, (*places, x.ndim)

    def describe(self):
        return f"GroupNorm({self.num_groups}, {self.num_features})"
