"""Normalisation: give features mean 0 and variance 1, then a learned scale and shift.

All three layers are one formula. They differ in what a mean is taken over:

    batch norm   one channel, over all clips and places      (N, *S, C): axes N and S
    layer norm   one place of one clip, over its channels    (..., C):   axis C
    group norm   a group of channels of one clip, over all places

    x̂ = (x − mean) · r,   r = 1 / √(var + ε)          y = γ x̂ + β

Every x moves its own x̂, and through the mean and the variance all others a little:

    dx̂ = γ dy          dx = r · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂))

What is left is orthogonal to a shift and to a stretch of x, which x̂ does not notice. The chapter
on normalisation derives it step by step. Saved are x, which the layer in front made anyway, and
mean and r: x̂ is computed anew.
"""

import math

import numpy as np

from nn import kernels
from nn.arguments import expect_gradient, whole_number
from nn.module import Module, Parameter


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

    def _add_grads(self, sums):
        """sums (2, clips, C): Σ dy and Σ dy x̂ of each clip."""
        dshift, dgain = sums.sum(axis=1)
        self.weight.add_grad(dgain)
        self.bias.add_grad(dshift)


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
        rows = x.reshape(1, -1, self.num_features)  # all clips and places are rows of one batch
        if self.training:
            mean, var = self._batch_statistics(rows, x.shape)
        else:
            mean, var = self.running_mean[None], self.running_var[None]
        mean, r = mean.astype(x.dtype), (1 / np.sqrt(var + self.eps)).astype(x.dtype)  # (1, C)
        self.save(x, mean, r, self.training)
        y = kernels.normalize(rows, mean, r, self.weight.data, self.bias.data)
        return y.reshape(x.shape)

    def _batch_statistics(self, rows, shape):
        n = rows.shape[1]  # values per channel
        if n < 2:
            raise ValueError(
                f"{self.describe()}: one value per channel in {shape} has no variance; use a "
                "larger batch, or eval()"
            )
        mean, var = kernels.moments(rows)
        new = self.momentum
        self.running_mean[...] = (1 - new) * self.running_mean + new * mean[0]
        self.running_var[...] = (1 - new) * self.running_var + new * var[0] * n / (n - 1)
        return mean, var

    def backward(self, dy, need_input_grad=True):
        x, mean, r, of_batch = self.take()
        expect_gradient(self, dy, x.shape)
        rows, dy = (a.reshape(1, -1, self.num_features) for a in (x, dy))
        sums = np.stack(kernels.gradient_sums(dy, rows, mean, r))  # Σ dy, Σ dy x̂: (2, 1, C)
        self._add_grads(sums)
        if need_input_grad:
            gain = self.weight.data
            n = rows.shape[1] if of_batch else np.inf  # in use, mean and r do not move with x
            means = gain * sums / n  # of dx̂ and of dx̂ x̂
            return kernels.normalize_backward(dy, rows, mean, r, gain, *means).reshape(x.shape)

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
        rows = x.reshape(-1, self.num_features)  # every place is a row
        y, mean, r = kernels.normalize_rows(rows, self.weight.data, self.bias.data, self.eps)
        self.save(x, mean, r)
        return y.reshape(x.shape)

    def backward(self, dy, need_input_grad=True):
        x, mean, r = self.take()
        expect_gradient(self, dy, x.shape)
        rows, dy = (a.reshape(-1, self.num_features) for a in (x, dy))
        dx, dgain, dshift = kernels.normalize_rows_backward(dy, rows, mean, r, self.weight.data)
        self.weight.add_grad(dgain)
        self.bias.add_grad(dshift)
        if need_input_grad:
            return dx.reshape(x.shape)

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
        rows = self._rows(x)
        own_mean, own_var = kernels.moments(rows)  # (N, C), of each channel
        mean = self._mean_of_groups(own_mean)
        var = self._mean_of_groups(own_var + (own_mean - mean) ** 2)
        mean, r = mean.astype(x.dtype), (1 / np.sqrt(var + self.eps)).astype(x.dtype)
        self.save(x, mean, r)
        y = kernels.normalize(rows, mean, r, self.weight.data, self.bias.data)
        return y.reshape(x.shape)

    def backward(self, dy, need_input_grad=True):
        x, mean, r = self.take()
        expect_gradient(self, dy, x.shape)
        rows, dy = self._rows(x), self._rows(dy)
        sums = np.stack(kernels.gradient_sums(dy, rows, mean, r))  # Σ dy, Σ dy x̂: (2, N, C)
        self._add_grads(sums)
        if need_input_grad:
            gain = self.weight.data
            means = self._mean_of_groups(gain * sums / rows.shape[1])  # of dx̂ and of dx̂ x̂
            return kernels.normalize_backward(dy, rows, mean, r, gain, *means).reshape(x.shape)

    def _rows(self, a):
        """The places of each clip as rows: (N, *S, C) → (N, places, C)."""
        return a.reshape(len(a), math.prod(a.shape[1:-1]), self.num_features)

    def _mean_of_groups(self, a):
        """For each channel of a (..., C) the mean over the channels of its group."""
        per_group = self.num_features // self.num_groups
        grouped = a.reshape(*a.shape[:-1], self.num_groups, per_group)
        mean = grouped.mean(axis=-1, keepdims=True)
        return np.broadcast_to(mean, grouped.shape).reshape(a.shape)

    def describe(self):
        return f"GroupNorm({self.num_groups}, {self.num_features})"
