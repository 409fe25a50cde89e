"""Which taps of a window fall inside the input, and which windows an input lies in.

All functions count from the first to before the last.
"""

from nn.kernels.jit import kernel


@kernel(inline=True)
def taps_inside(first, K, dilation, size):
    """The taps k of a window that have 0 ≤ first + k·dilation < size."""
    return max(0, -(first // dilation)), min(K, (size - 1 - first) // dilation + 1)


@kernel(inline=True)
def windows_over(place, K, stride, windows):
    """The windows o with o·stride ≤ place < o·stride + K, where `place` counts the padding."""
    return max(0, (place - K) // stride + 1), min(windows, place // stride + 1)


@kernel(inline=True)
def outputs_inside(W, W_out, stride, shift):
    """The outputs o whose input o·stride + shift exists."""
    return max(0, -(shift // stride)), min(W_out, (W - 1 - shift) // stride + 1)
