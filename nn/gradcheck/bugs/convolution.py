"""Wrong backwards of `Conv1d`, `Conv2d`, `Conv3d`. Right: `nn/convolution.py` and
`nn/kernels/reference.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.kernels import reference
from nn.module import Module

CONV = ("Conv1d", "Conv2d", "Conv3d")


class ConvParts(Module):
    """The right backward of a convolution in three parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        if self.weight.trainable:
            self.weight.add_grad(self.weight_gradient(dy, x))
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(self.bias_gradient(dy))
        if need_input_grad:
            return self.input_gradient(dy, x)

    def weight_gradient(self, dy, x):
        return reference.conv_backward_weight(
            dy, x, self.kernel_size, self.stride, self.padding, self.dilation, self.groups
        )

    def bias_gradient(self, dy):
        return dy.sum(axis=tuple(range(dy.ndim - 1)))

    def input_gradient(self, dy, x):
        size = x.shape[1:-1]
        return reference.conv_backward_input(
            dy, self.weight.data, size, self.stride, self.padding, self.dilation, self.groups
        )


@bug(*CONV, only_with="a wide kernel")
class FlippedKernel(ConvParts):
    """dw has its taps in reverse order, along the last axis only."""

    def weight_gradient(self, dy, x):
        dw = super().weight_gradient(dy, x)  # (*K, C_in // groups, C_out)
        return dw[..., ::-1, :, :]


@bug(*CONV)
class ReshapedNotTransposed(ConvParts):
    """dx: every tap of w is reshaped to the shape of its transpose."""

    def input_gradient(self, dy, x):
        *kernel, C_in, C_out = self.weight.shape
        transposed = self.weight.data.reshape(*kernel, C_out, C_in)
        size = x.shape[1:-1]
        return reference.conv_backward_input(
            dy,
            transposed.swapaxes(-1, -2),  # the kernel takes w itself and transposes it
            size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


@bug(*CONV, only_with="a stride")
class StrideForgotten(ConvParts):
    """dx is scattered with stride 1."""

    def input_gradient(self, dy, x):
        size, stride = x.shape[1:-1], (1,) * len(self.stride)
        return reference.conv_backward_input(
            dy, self.weight.data, size, stride, self.padding, self.dilation, self.groups
        )


@bug(*CONV, only_with="dilation")
class DilationForgotten(ConvParts):
    """dw is gathered as if the taps lay side by side."""

    def weight_gradient(self, dy, x):
        dilation = (1,) * len(self.dilation)
        return reference.conv_backward_weight(
            dy, x, self.kernel_size, self.stride, self.padding, dilation, self.groups
        )


@bug(*CONV, only_with="padding")
class PaddingOffByOne(ConvParts):
    """dx: one zero too few is cut off in front, one too many at the end."""

    def input_gradient(self, dy, x):
        padding = tuple((b - 1, a + 1) if b else (b, a) for b, a in self.padding)
        size = x.shape[1:-1]
        return reference.conv_backward_input(
            dy, self.weight.data, size, self.stride, padding, self.dilation, self.groups
        )


@bug(*CONV, only_with="overlapping windows")
class OverlapOverwritten(ConvParts):
    """dx: where windows overlap, the last tap overwrites what the others handed back."""

    def input_gradient(self, dy, x):
        if self.groups > 1:
            return super().input_gradient(dy, x)
        dx = np.zeros_like(reference.pad(x, self.padding))
        sizes = self.kernel_size, dy.shape[1:-1], self.stride, self.dilation
        for tap, window in reference.taps(*sizes):
            dx[window] = dy @ self.weight.data[tap].T
        return reference.unpad(dx, self.padding)


@bug(*CONV, only_with="groups")
class GroupsShifted(ConvParts):
    """dx: every group's gradient is written to the channels of the next group."""

    def input_gradient(self, dy, x):
        dx = super().input_gradient(dy, x)
        return np.roll(dx, self.in_channels // self.groups, axis=-1)


@bug(*CONV, only_with="several clips")
class BiasOfFirstClip(ConvParts):
    """db sums over the places but takes the first clip only."""

    def bias_gradient(self, dy):
        return super().bias_gradient(dy[:1])


@bug(*CONV, only_with="a bias")
class BiasMean(ConvParts):
    """db is the mean over all places instead of the sum."""

    def bias_gradient(self, dy):
        return dy.mean(axis=tuple(range(dy.ndim - 1)))


@bug(*CONV)
class GradientReplaced(ConvParts):
    """dw replaces the gradient instead of adding to it: wrong at the second backward."""

    def backward(self, dy, need_input_grad=True):
        self.weight.zero_grad()
        return super().backward(dy, need_input_grad)
