"""Recurrence on maps: an LSTM whose products are convolutions."""

import numpy as np

from nn import initializers, kernels
from nn.arguments import per_axis, whole_number
from nn.module import Parameter
from nn.recurrent_cells import LSTMCell, keep_at_first, side_by_side
from nn.recurrent_stack import _Recurrent


class ConvLSTMCell(LSTMCell):
    """The LSTM's step on maps (…, H, W, C): U and W are kernels (P, Q, C_in, 4·C).

    The equations stand in `LSTMCell`; here the two products become convolutions that keep the size.
    """

    def __init__(self, in_channels, hidden_channels, kernel_size, rng):
        C_in, C, taps = in_channels, hidden_channels, int(np.prod(kernel_size))
        self.kernel_size = kernel_size
        padding = tuple(((k - 1) // 2, k // 2) for k in kernel_size)  # as padding="same" has it
        self.window = (1, 1), padding, (1, 1), 1  # stride, padding, dilation, groups

        def kernel():
            shape = (*kernel_size, C_in, C)
            return initializers.xavier_uniform(shape, taps * C_in, taps * C, rng)

        self.U = Parameter(side_by_side(4, kernel))
        self.W = Parameter(
            side_by_side(4, lambda: initializers.orthogonal((*kernel_size, C, C), rng))
        )
        self.b = Parameter(initializers.zeros(4 * C))
        keep_at_first(self.b, C)

    def project(self, x):
        """p = U ∗ x + b, for the maps of all steps in one convolution."""
        T, N, *map_shape = x.shape
        p = kernels.conv_forward(images(x), self.U.data, self.b.data, *self.window)
        return p.reshape(T, N, *p.shape[1:])  # (T, N, H, W, 4·C)

    def project_backward(self, x, dp, need_input_grad):
        """dU and db over all steps, and dx: the gradients of that convolution."""
        self._add_kernel_gradient(self.U, x, dp)
        if self.b.trainable:
            self.b.add_grad(dp.sum(axis=(0, 1, 2, 3)))
        if need_input_grad:
            return self._input_gradient(self.U, images(dp)).reshape(x.shape)

    def recurrence(self, T):
        """The function h ↦ q = W ∗ h, for one step: (N, H, W, C) → (N, H, W, 4·C)."""
        return lambda h: kernels.conv_forward(h, self.W.data, None, *self.window)

    def recurrence_backward(self, T):
        """The function dq ↦ dh, for one step."""
        return lambda dq: self._input_gradient(self.W, dq)

    def add_recurrent_gradients(self, h_before, dq):
        """dW over all steps in one."""
        self._add_kernel_gradient(self.W, h_before, dq)

    def _input_gradient(self, kernel, dy):
        return kernels.conv_backward_input(dy, kernel.data, dy.shape[1:-1], *self.window)

    def _add_kernel_gradient(self, kernel, x, dy):
        if kernel.trainable:
            dk = kernels.conv_backward_weight(images(dy), images(x), self.kernel_size, *self.window)
            kernel.add_grad(dk)


class ConvLSTM2d(_Recurrent):
    """An LSTM whose state is a map, so that what it remembers has a place (Shi et al. 2015,
    arXiv:1506.04214).

        i, f, o = σ(W ∗ h_{t−1} + U ∗ x_t + b)    g = tanh(…)      own channels for each
        c_t = f ∘ c_{t−1} + i ∘ g
        h_t = o ∘ tanh(c_t)

    ∗ is a convolution with "same" padding, so all maps keep their size; the paper's peepholes
    (gates that look at c) are left out, as is usual now. x (N, T, H, W, C_in) →
    y (N, T, H, W, C), C = hidden_channels; 2C if bidirectional. U (P, Q, C_in, 4C) and
    W (P, Q, C, 4C) hold i, f, g, o side by side. `kernel_size`: an int, or one per axis.

    A state is a pair (h, c), each (layers · directions, N, H, W, C). Several layers, directions,
    `state`, `mask`, `dropout`, `truncate`, `last_state` and errors: see `_Recurrent`. Backward is
    that of the LSTM, with the two gradients of a convolution in place of those of a product.
    """

    def __init__(
        self,
        in_channels,
        hidden_channels,
        kernel_size,
        num_layers=1,
        bidirectional=False,
        dropout=0.0,
        truncate=None,
        rng=None,
    ):
        self.axes = 2
        self.kernel_size = per_axis(self, "kernel_size", kernel_size)
        C = whole_number(self, "hidden_channels", hidden_channels)
        rng = np.random.default_rng(rng)
        self._settle(
            lambda C_in: ConvLSTMCell(C_in, C, self.kernel_size, rng),
            whole_number(self, "in_channels", in_channels),
            C,
            num_layers,
            bidirectional,
            dropout,
            truncate,
            rng,
        )

    def _check_input(self, x):
        if x.ndim != 5 or x.shape[-1] != self.input_size or not x.shape[1]:
            raise ValueError(
                f"{self.describe()}: expected an input (N, T, H, W, C) with C = "
                f"{self.input_size} channels last and at least one step, got {x.shape}"
            )

    def _options(self):
        yield f"kernel_size={self.kernel_size}"
        yield from super()._options()


def images(x):
    """The maps of all steps in one batch: (T, N, H, W, C) → (T·N, H, W, C)."""
    return x.reshape(-1, *x.shape[2:])
