"""The input gradient, as convolutions of dy.

    dx(i) = Σ_p dy(o) @ w(p)ᵀ      over the taps p with o·stride + p·dilation − before = i

With stride 1 this is one convolution, with the kernel turned round and its channels transposed:
o = i + before − p·dilation, so a later tap meets an earlier output. With a larger stride most
pairs of an input and a tap meet no output at all. But inputs with the same i % stride are met
by the same taps, so each such phase of the inputs is a convolution with those taps alone.
"""

import itertools
import math

import numpy as np

from nn.kernels.direct import convolve


def phases(size, K, stride, before, dilation):
    """One axis: for each phase its first input, its taps, and `before` and dilation in o.

    Of the inputs i = first + m·stride, tap p meets the outputs o = m + shift(p), with

        shift(p) = (first + before − p·dilation) / stride

    for those p that leave no remainder. As a convolution over o has rising taps, the last p is
    its first tap, and stands at −shift(p) zeros before.
    """
    spread = stride // math.gcd(dilation, stride)  # every so many taps leave the same remainder
    for first in range(min(stride, size)):
        for p in reversed(range(K)):
            shift, remainder = divmod(first + before - p * dilation, stride)
            if remainder == 0:
                yield first, slice(p, None, -spread), -shift, dilation * spread // stride
                break


def backward_input(dy, w, b, stride, before, dilation, dx):
    """dx(i) = Σ_p dy(o) @ w(p)ᵀ over the taps with o·stride + p·dilation − before = i.

    dy (N, *S_out, groups · outputs), w (P, Q, R, C, groups, outputs), dx (N, T, H, W, groups · C),
    which is written into. b (groups · C,) is added, if it is given.
    """
    P, Q, R, C, groups, outputs = w.shape
    side_by_side = (stride[2], dilation[2], before[2], dx.shape[3]) == (R, 1, 0, R * dy.shape[3])
    if groups == 1 and side_by_side:
        # Windows side by side: what one output gives to its R pixels lies in one piece, and the
        # pixels are as good as channels.
        dx = dx.reshape(*dx.shape[:3], -1, R * C)
        w = w.reshape(P, Q, 1, R * C, 1, outputs)
        b = None if b is None else np.tile(b, R)
        stride, dilation = (*stride[:2], 1), (*dilation[:2], 1)
    axes = zip(dx.shape[1:4], w.shape[:3], stride, before, dilation, strict=True)
    met = list(itertools.product(*(phases(*axis) for axis in axes)))
    if len(met) < math.prod(stride):
        dx[...] = 0 if b is None else b  # no tap meets the other phases
    for phase in met:
        first, taps, before, dilation = zip(*phase, strict=True)
        part = w[taps].swapaxes(-3, -1)  # (P', Q', R', outputs, groups, C)
        convolve(dy, part, b, (1, 1, 1), before, dilation, dx, first, stride)
