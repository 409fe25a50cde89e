"""Wrong backwards of `Upsample2d` and `Upsample3d`. Right: `nn/upsampling.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module
from nn.upsampling import along, linear_weights

UPSAMPLE = ("Upsample2d", "Upsample3d")


class UpsampleParts(Module):
    """The right backward of up-sampling, one axis at a time, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        for axis, factor in enumerate(self.scale, start=1):
            one_axis = self.nearest if self.mode == "nearest" else self.linear
            dy = one_axis(dy, axis, shape[axis], factor)
        return dy

    def nearest(self, dy, axis, size, factor):
        return dy.reshape(*dy.shape[:axis], size, factor, *dy.shape[axis + 1 :]).sum(axis + 1)

    def linear(self, dy, axis, size, factor):
        return along(linear_weights(size, factor, dy.dtype).T, dy, axis)


@bug(*UPSAMPLE, only_with='mode "nearest"')
class OneCopyOnly(UpsampleParts):
    """dx takes the gradient of the first copy of each value instead of the sum over all."""

    def nearest(self, dy, axis, size, factor):
        return dy.take(np.arange(size) * factor, axis)


@bug(*UPSAMPLE, only_with='mode "nearest"')
class MeanOfCopies(UpsampleParts):
    """dx is the mean over the copies of each value: what pooling does forward, not the sum."""

    def nearest(self, dy, axis, size, factor):
        return super().nearest(dy, axis, size, factor) / factor


@bug(*UPSAMPLE, only_with='mode "nearest"')
class TiledNotRepeated(UpsampleParts):
    """dx sums as if forward had made abcabc of abc; it made aabbcc."""

    def nearest(self, dy, axis, size, factor):
        return dy.reshape(*dy.shape[:axis], factor, size, *dy.shape[axis + 1 :]).sum(axis)


@bug(*UPSAMPLE, only_with='mode "linear"')
class InverseNotTranspose(UpsampleParts):
    """dx scales dy down with the (pseudo-)inverse of the interpolation, not its transpose."""

    def linear(self, dy, axis, size, factor):
        return along(np.linalg.pinv(linear_weights(size, factor, dy.dtype)), dy, axis)


@bug(*UPSAMPLE, only_with='mode "linear"')
class BorderLost(UpsampleParts):
    """dx: outputs beyond the outermost centres, which keep the border's value, are left out."""

    def linear(self, dy, axis, size, factor):
        place = (np.arange(size * factor) + 0.5) / factor - 0.5
        inside = (0 <= place) & (place <= size - 1)
        return along(linear_weights(size, factor, dy.dtype).T * inside, dy, axis)


@bug(*UPSAMPLE, only_with='mode "linear"')
class HalfPlaceForgotten(UpsampleParts):
    """dx takes output i to lie at i / factor; its centre lies at (i + ½) / factor − ½."""

    def linear(self, dy, axis, size, factor):
        place = np.minimum(np.arange(size * factor) / factor, size - 1)
        distance = np.abs(place[:, None] - np.arange(size))
        return along(np.maximum(0, 1 - distance).T.astype(dy.dtype), dy, axis)
