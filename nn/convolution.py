"""Convolution over one, two or three axes. Article §3.1.1.

One class does the work for any number of axes; `Conv1d`, `Conv2d` and `Conv3d` only say how
many there are. The arithmetic is in `nn/kernels`: `reference.py` has it as equations.
"""

import numpy as np

from nn import initializers, kernels
from nn.arguments import expect_gradient, per_axis, whole_number
from nn.module import Module, Parameter

AXIS_NAMES = {1: "T", 2: "H, W", 3: "T, H, W"}


class SlidingKernel(Module):
    """What convolution and transposed convolution share: a kernel that slides along `axes` axes."""

    axes = None

    def _settle(self, in_channels, out_channels, kernel_size, stride, dilation, groups):
        """Keep the sizes, an int or one per axis; ValueError for those that cannot be."""
        self.in_channels = whole_number(self, "in_channels", in_channels)
        self.out_channels = whole_number(self, "out_channels", out_channels)
        self.groups = whole_number(self, "groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__}: groups={groups} must divide both {in_channels} input "
                f"and {out_channels} output channels"
            )
        self.kernel_size = per_axis(self, "kernel_size", kernel_size)
        self.stride = per_axis(self, "stride", stride)
        self.dilation = per_axis(self, "dilation", dilation)

    @property
    def _window(self):
        return self.stride, self.padding, self.dilation, self.groups

    def _check_axes(self, x):
        if x.ndim != self.axes + 2 or x.shape[-1] != self.in_channels:
            raise ValueError(
                f"{self.describe()}: expected an input (N, {AXIS_NAMES[self.axes]}, C) with "
                f"C = {self.in_channels} channels last, got {x.shape}"
            )

    def _given_padding(self):
        """One number per axis, or the pairs where "same" made them uneven."""
        even = all(before == after for before, after in self.padding)
        return tuple(before for before, _ in self.padding) if even else self.padding

    def _options(self):
        """The options that are not what they are by default, as they are written in a call."""
        if set(self.stride) != {1}:
            yield f"stride={self.stride}"
        if any(map(any, self.padding)):
            yield f"padding={self._given_padding()}"
        if set(self.dilation) != {1}:
            yield f"dilation={self.dilation}"
        if self.groups != 1:
            yield f"groups={self.groups}"
        if self.bias is None:
            yield "bias=False"

    def describe(self):
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{type(self).__name__}({', '.join([sizes, *self._options()])})"


class _Conv(SlidingKernel):
    """What Conv1d, Conv2d and Conv3d share: everything but the number of axes.

        y(i) = Σ_p x(i·stride + p·dilation − padding) @ w(p) + b

    where i and p run over all axes (i, j and p, q for two), and each term is a product of a
    row of C_in channels with a (C_in, C_out) matrix. This is cross-correlation: no flip.

    x (N, *S, C_in) → y (N, *S_out, C_out), with weight (*K, C_in // groups, C_out), bias
    (C_out,), and S_out = ⌊(S + 2·padding − dilation·(K − 1) − 1) / stride⌋ + 1 on each axis.

    Backward, for a gradient dy (N, *S_out, C_out):

        dx(i·stride + p·dilation − padding) += dy(i) @ w(p)ᵀ      back through each tap
        dw(p) = Σ_n Σ_i x(i·stride + p·dilation − padding)ᵀ @ dy(i)
        db    = Σ_n Σ_i dy(i)

    kernel_size, stride, padding, dilation: an int, or one per axis. padding="same" (stride 1)
    keeps the size; for even kernels the extra zero goes to the end. With groups, the g-th
    share of the input channels feeds the g-th share of the output channels.

    `self.padding` holds a pair (before, after) per axis, as the kernels take it: in the formulas
    −padding is −before, and 2·padding is before + after. Uneven pairs come from "same" only.

    Raises ValueError at construction for sizes that cannot be, and in forward for an input
    with other axes or channels, or too small for the kernel.
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
    ):
        self._settle(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding = self._pairs(padding)

        rng = np.random.default_rng(rng)
        shape = (*self.kernel_size, in_channels // groups, out_channels)
        fan_in = int(np.prod(shape[:-1]))
        self.weight = Parameter(initializers.he_uniform(shape, fan_in, rng))
        self.bias = Parameter(initializers.zeros(out_channels)) if bias else None

    def _pairs(self, padding):
        """Padding as one pair (before, after) per axis."""
        if not isinstance(padding, str):
            return tuple((p, p) for p in per_axis(self, "padding", padding, least=0))
        if padding != "same":
            raise ValueError(
                f'{type(self).__name__}: padding must be integers or "same", got {padding!r}'
            )
        if any(step != 1 for step in self.stride):
            raise ValueError(f'{type(self).__name__}: padding="same" needs stride 1')
        extra = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        return tuple((e // 2, e - e // 2) for e in extra)

    def output_size(self, input_size):
        """The spatial sizes of y for those of x."""
        return kernels.output_size(
            input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def forward(self, x):
        self._check(x)
        self.save(x)
        bias = None if self.bias is None else self.bias.data
        return kernels.conv_forward(x, self.weight.data, bias, *self._window)

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        size = x.shape[1:-1]
        expect_gradient(self, dy, (len(x), *self.output_size(size), self.out_channels))
        if self.weight.trainable:
            dw = kernels.conv_backward_weight(dy, x, self.kernel_size, *self._window)
            self.weight.add_grad(dw)  # (*K, C_in // groups, C_out)
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(kernels.add_rows(dy))  # (C_out,)
        if need_input_grad:
            return kernels.conv_backward_input(dy, self.weight.data, size, *self._window)

    def _check(self, x):
        self._check_axes(x)
        if min(self.output_size(x.shape[1:-1])) < 1:
            raise ValueError(
                f"{self.describe()}: the kernel is larger than the padded input: kernel "
                f"{self.kernel_size} with dilation {self.dilation}, input {x.shape[1:-1]} with "
                f"padding {self.padding}"
            )


class Conv1d(_Conv):
    """Convolution over one axis: x (N, T, C_in) → y (N, T_out, C_out).

    y(t) = Σ_p x(t·stride + p·dilation − padding) @ w(p) + b. Article §3.1.1; see `_Conv` for
    the arguments, the three gradients and the errors, which are the same for any axes.
    """

    axes = 1


class Conv2d(_Conv):
    """Convolution over height and width: x (N, H, W, C_in) → y (N, H_out, W_out, C_out).

    y(i, j) = Σ_p Σ_q x(i·stride + p·dilation − padding, j·stride + q·dilation − padding) @
    w(p, q) + b. Article §3.1.1; see `_Conv` for the arguments, gradients and errors.
    """

    axes = 2


class Conv3d(_Conv):
    """Convolution over time, height and width: x (N, T, H, W, C_in) → y (N, T', H', W', C_out).

    The article's formula with the third axis that video adds: the kernel slides along time
    too, so it can answer to motion. See `_Conv` for the arguments, gradients and errors.
    """

    axes = 3
