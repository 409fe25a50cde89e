"""Wrong backwards of `ConvTranspose1d`, `2d`, `3d`. Right: `nn/transposed_convolution.py`."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.kernels import reference
from nn.module import Module

TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")


class TransposedParts(Module):
    """The right backward of a transposed convolution in parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        reached = (slice(None), *map(slice, self._reached(x.shape[1:-1])))
        if self.weight.trainable:
            self.weight.add_grad(self.weight_gradient(dy[reached], x))
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(self.bias_gradient(dy, reached))
        if need_input_grad:
            return self.input_gradient(dy[reached], x)

    def weight_gradient(self, dy, x):
        window = self.stride, self.padding, self.dilation, self.groups
        return reference.conv_backward_weight(x, dy, self.kernel_size, *window)

    def bias_gradient(self, dy, reached):
        return dy.sum(axis=tuple(range(dy.ndim - 1)))

    def input_gradient(self, dy, x):
        window = self.stride, self.padding, self.dilation, self.groups
        return reference.conv_forward(dy, self.weight.data, None, *window)


@bug(*TRANSPOSED, only_with="a wide kernel")
class FlippedKernel(TransposedParts):
    """dx meets the taps of the last axis in reverse order."""

    def input_gradient(self, dy, x):
        w = self.weight.data[..., ::-1, :, :]
        window = self.stride, self.padding, self.dilation, self.groups
        return reference.conv_forward(dy, w, None, *window)


@bug(*TRANSPOSED)
class ReshapedNotTransposed(TransposedParts):
    """dx: every tap of w, (C_out, C_in), is read as if it were laid out (C_in, C_out)."""

    def input_gradient(self, dy, x):
        *kernel, C_out, C_in = self.weight.shape
        w = self.weight.data.reshape(*kernel, C_in, C_out).swapaxes(-1, -2)
        window = self.stride, self.padding, self.dilation, self.groups
        return reference.conv_forward(dy, w, None, *window)


@bug(*TRANSPOSED, only_with="a stride")
class StrideForgotten(TransposedParts):
    """dx is gathered with stride 1, and what is too much cut off."""

    def input_gradient(self, dy, x):
        window = (1,) * self.axes, self.padding, self.dilation, self.groups
        dx = reference.conv_forward(dy, self.weight.data, None, *window)
        return dx[(slice(None), *map(slice, x.shape[1:-1]))]


@bug(*TRANSPOSED, only_with="padding")
class PaddingOffByOne(TransposedParts):
    """dx: forward cut `padding` places off in front; backward puts back one less."""

    def input_gradient(self, dy, x):
        padding = tuple((b - 1, a + 1) if b else (b, a) for b, a in self.padding)
        window = self.stride, padding, self.dilation, self.groups
        return reference.conv_forward(dy, self.weight.data, None, *window)


@bug(*TRANSPOSED, only_with="dilation")
class DilationForgotten(TransposedParts):
    """dw is gathered as if the taps lay side by side."""

    def weight_gradient(self, dy, x):
        window = self.stride, self.padding, (1,) * self.axes, self.groups
        return reference.conv_backward_weight(x, dy, self.kernel_size, *window)


@bug(*TRANSPOSED, only_with="groups")
class GroupsShifted(TransposedParts):
    """dx: every group's gradient is written to the channels of the next group."""

    def input_gradient(self, dy, x):
        return np.roll(super().input_gradient(dy, x), self.in_channels // self.groups, axis=-1)


@bug(*TRANSPOSED, only_with="places that no stamp reaches")
class BiasOnlyUnderStamps(TransposedParts):
    """db sums where stamps fell; the bias was also added to the places of output padding."""

    def bias_gradient(self, dy, reached):
        return super().bias_gradient(dy[reached], reached)
