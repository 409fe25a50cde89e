"""Wrong backwards of the norms. Right: `nn/normalization.py`, and the chapter that derives it."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module

NORMS = ("BatchNorm", "LayerNorm", "GroupNorm")


class NormParts(Module):
    """The right backward of the three norms in parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        x, mean, r, *of_batch = self.take()
        mean, r = self.beside(mean, x), self.beside(r, x)
        x_hat = (x - mean) * r
        if self.weight.trainable:
            self.weight.add_grad(self.gain_gradient(dy, x_hat))
        if self.bias.trainable:
            self.bias.add_grad(dy.sum(axis=tuple(range(dy.ndim - 1))))
        if not need_input_grad:
            return None
        dx_hat = self.scaled(dy)
        if of_batch == [False]:  # batch norm in use
            return self.in_use(dx_hat, x_hat, r)
        dx_hat, axes = self.grouped(dx_hat)
        x_hat, r = x_hat.reshape(dx_hat.shape), r.reshape(dx_hat.shape)
        return self.through(dx_hat, x_hat, r, axes).reshape(dy.shape)

    def beside(self, a, x):
        """What is saved for each clip or place, and channel, in the shape of x."""
        rows = x.reshape(len(a), -1, x.shape[-1])
        return np.broadcast_to(a[:, None], rows.shape).reshape(x.shape)

    def gain_gradient(self, dy, x_hat):
        return np.sum(dy * x_hat, axis=tuple(range(dy.ndim - 1)))

    def scaled(self, dy):
        return dy * self.weight.data

    def grouped(self, a):
        """An array in the shape in which means are taken, and the axes of one mean."""
        if hasattr(self, "num_groups"):
            grouped = a.reshape(*a.shape[:-1], self.num_groups, -1)
            return grouped, (*range(1, a.ndim - 1), a.ndim)
        return a, tuple(range(a.ndim - 1)) if hasattr(self, "running_mean") else -1

    def through(self, dx_hat, x_hat, r, axes):
        along = np.mean(dx_hat * x_hat, axis=axes, keepdims=True)
        return r * (dx_hat - dx_hat.mean(axis=axes, keepdims=True) - x_hat * along)

    def in_use(self, dx_hat, x_hat, r):
        return dx_hat * r


@bug(*NORMS, only_with="training")
class MeanHeldStill(NormParts):
    """dx: the mean is taken for a constant, its term −mean(dx̂) is missing."""

    def through(self, dx_hat, x_hat, r, axes):
        along = np.mean(dx_hat * x_hat, axis=axes, keepdims=True)
        return r * (dx_hat - x_hat * along)


@bug(*NORMS, only_with="training")
class VarianceHeldStill(NormParts):
    """dx: the variance is taken for a constant, its term −x̂ · mean(dx̂ · x̂) is missing."""

    def through(self, dx_hat, x_hat, r, axes):
        return r * (dx_hat - dx_hat.mean(axis=axes, keepdims=True))


@bug(*NORMS, only_with="training")
class OneLessInBackward(NormParts):
    """dx: the term of the variance is divided by n − 1, forward divided by n."""

    def through(self, dx_hat, x_hat, r, axes):
        along = np.mean(dx_hat * x_hat, axis=axes, keepdims=True)
        n = dx_hat.size / along.size
        mean = dx_hat.mean(axis=axes, keepdims=True)
        return r * (dx_hat - mean - x_hat * along * n / (n - 1))


@bug(*NORMS)
class GainForgotten(NormParts):
    """dx is computed from dy itself: the γ between y and x̂ is left out. At γ = 1 it is right."""

    def scaled(self, dy):
        return dy


@bug("BatchNorm", only_with="training")
class BatchLeftOut(NormParts):
    """dx: the two means run over the places of each clip by itself, not over the batch."""

    def through(self, dx_hat, x_hat, r, axes):
        return super().through(dx_hat, x_hat, r, axes[1:])


@bug("BatchNorm", only_with="training")
class RunningVarianceInBackward(NormParts):
    """dx is divided by the running deviation; forward divided by that of the batch."""

    def through(self, dx_hat, x_hat, r, axes):
        r = 1 / np.sqrt(self.running_var + self.eps)
        return super().through(dx_hat, x_hat, r, axes)


@bug("BatchNorm", only_with="use")
class UseTakenForTraining(NormParts):
    """In use, too, dx goes through mean and variance, although they are constants there."""

    def in_use(self, dx_hat, x_hat, r):
        return self.through(dx_hat, x_hat, r, tuple(range(dx_hat.ndim - 1)))


@bug("LayerNorm")
class MeansOverTheBatch(NormParts):
    """dx: the two means run over the clips, as in batch norm, instead of the channels."""

    def through(self, dx_hat, x_hat, r, axes):
        return super().through(dx_hat, x_hat, r, tuple(range(dx_hat.ndim - 1)))


@bug("LayerNorm", "GroupNorm")
class GainGradientSigned(NormParts):
    """dγ sums dy · |x̂|: the sign of x̂ is lost."""

    def gain_gradient(self, dy, x_hat):
        return super().gain_gradient(dy, np.abs(x_hat))


@bug("GroupNorm", only_with="groups of several channels")
class ChannelsByThemselves(NormParts):
    """dx: the means run over the places of each channel; the rest of its group is left out."""

    def through(self, dx_hat, x_hat, r, axes):
        return super().through(dx_hat, x_hat, r, axes[:-1])


@bug("GroupNorm", only_with="several groups of several channels")
class EverySecondChannel(NormParts):
    """dx: channels 0, 2, 4 are taken for one group and 1, 3, 5 for the other; neighbours are."""

    def through(self, dx_hat, x_hat, r, axes):
        *others, G, per_group = dx_hat.shape

        def every_second(a):
            return a.reshape(*others, per_group, G).swapaxes(-1, -2)

        dx = super().through(every_second(dx_hat), every_second(x_hat), r, axes)
        return dx.swapaxes(-1, -2)  # and so back in the order of the channels
