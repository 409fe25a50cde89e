"""Transposed convolution: the way back of a convolution, as a layer of its own.

A convolution takes many places to fewer. Its input gradient takes the fewer back to the many:
read as a forward pass, that is a transposed convolution. So nothing here is new arithmetic: the
three kernels of `nn/convolution.py` only change their roles.

    forward            is the convolution's input gradient
    input gradient     is the convolution's forward pass
    weight gradient    is the convolution's weight gradient, with x and dy in each other's place
"""

import numpy as np

from nn import initializers, kernels
from nn.arguments import expect_gradient, per_axis
from nn.convolution import SlidingKernel
from nn.module import Parameter


class _ConvTranspose(SlidingKernel):
    """What ConvTranspose1d, 2d and 3d share.

        y(i·stride + p·dilation − padding) += x(i) @ w(p)ᵀ,   then + b

    Every input stamps the kernel into the output, times its value; stamps overlap and add up.

    x (N, *S, C_in) → y (N, *S_out, C_out), with weight (*K, C_out // groups, C_in), that of the
    convolution C_out → C_in whose input gradient it is, bias (C_out,), and on each axis
    S_out = (S − 1)·stride − 2·padding + dilation·(K − 1) + output_padding + 1.

    output_padding: with stride s, s sizes of a convolution's input give the same output size;
    this says which of them to return to. It must be less than stride or dilation.

    Backward, for a gradient dy (N, *S_out, C_out):

        dx(i) = Σ_p dy(i·stride + p·dilation − padding) @ w(p)
        dw(p) = Σ_n Σ_i dy(i·stride + p·dilation − padding)ᵀ @ x(i)
        db    = Σ_n Σ_i dy(i)

    kernel_size, stride, padding, output_padding, dilation: an int, or one per axis.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        rng=None,
        output_padding=0,
    ):
        self._settle(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.output_padding = per_axis(self, "output_padding", output_padding, least=0)
        padding = per_axis(self, "padding", padding, least=0)
        # A stamp reaches `padding` places beyond either end, where it is cut off. Output padding
        # cuts off less at the end; past the last stamp it adds places that no stamp reaches.
        pairs = list(zip(padding, self.output_padding, strict=True))
        self.padding = tuple((p, max(p - extra, 0)) for p, extra in pairs)
        self.beyond = tuple(max(extra - p, 0) for p, extra in pairs)
        room = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any(extra >= max(step, d) for extra, step, d in room):
            raise ValueError(
                f"{type(self).__name__}: output_padding {self.output_padding} must be less than "
                f"stride {self.stride} or dilation {self.dilation}"
            )

        rng = np.random.default_rng(rng)
        shape = (*self.kernel_size, out_channels // groups, in_channels)
        # Each output gets a share K/stride of the kernel's stamps, from C_in // groups channels.
        fan_in = in_channels // groups * np.prod(self.kernel_size) / np.prod(self.stride)
        self.weight = Parameter(initializers.he_uniform(shape, max(fan_in, 1.0), rng))
        self.bias = Parameter(initializers.zeros(out_channels)) if bias else None

    def output_size(self, input_size):
        """The spatial sizes of y for those of x."""
        reached = self._reached(input_size)
        return tuple(size + more for size, more in zip(reached, self.beyond, strict=True))

    def _reached(self, input_size):
        """How many places of the output stamps can reach, on each axis."""
        return tuple(
            (s - 1) * step - sum(p) + d * (k - 1) + 1
            for s, k, step, p, d in zip(
                input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def forward(self, x):
        self._check(x)
        self.save(x)
        size = self._reached(x.shape[1:-1])
        bias = None if self.bias is None else self.bias.data
        if not any(self.beyond):
            return kernels.conv_backward_input(x, self.weight.data, size, *self._window, bias)
        y = kernels.conv_backward_input(x, self.weight.data, size, *self._window)
        y = np.pad(y, [(0, 0), *((0, more) for more in self.beyond), (0, 0)])
        return y if bias is None else y + bias

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        size = x.shape[1:-1]
        expect_gradient(self, dy, (len(x), *self.output_size(size), self.out_channels))
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(kernels.add_rows(dy))  # (C_out,)
        dy = dy[(slice(None), *map(slice, self._reached(size)))]
        if self.weight.trainable:
            dw = kernels.conv_backward_weight(x, dy, self.kernel_size, *self._window)
            self.weight.add_grad(dw)  # (*K, C_out // groups, C_in)
        if need_input_grad:
            return kernels.conv_forward(dy, self.weight.data, None, *self._window)

    def _check(self, x):
        self._check_axes(x)
        size = x.shape[1:-1]
        if min(self._reached(size)) < 1:
            raise ValueError(
                f"{self.describe()}: padding cuts everything off: the output of an input {size} "
                f"would have the size {self.output_size(size)}"
            )

    def _given_padding(self):
        return tuple(before for before, _ in self.padding)  # uneven by output_padding only

    def _options(self):
        yield from super()._options()
        if any(self.output_padding):
            yield f"output_padding={self.output_padding}"


class ConvTranspose1d(_ConvTranspose):
    """The way back of Conv1d: x (N, T, C_in) → y (N, T_out, C_out). See `_ConvTranspose`."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The way back of Conv2d: x (N, H, W, C_in) → y (N, H_out, W_out, C_out)."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The way back of Conv3d: x (N, T, H, W, C_in) → y (N, T_out, H_out, W_out, C_out)."""

    axes = 3
