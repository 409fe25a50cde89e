"""Which places of a window's tap fall inside the input."""

from nn.kernels.jit import kernel


@kernel(inline=True)
def outputs_inside(W, W_out, stride, shift):
    """The outputs o, from the first to before the last, whose input o·stride + shift exists."""
    return max(0, -(shift // stride)), min(W_out, (W - 1 - shift) // stride + 1)
