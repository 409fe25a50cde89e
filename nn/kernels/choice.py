"""Which kernel computes a convolution, and why: one rule, to be read here.

    depthwise   a filter of its own for every channel: there is no sum over channels to tile
    winograd    3×3 taps or more, stride 1, where a quarter of the multiplications is worth the
                transforms
    direct      everything else

`nn.kernels.explain` asks this rule, `nn.kernels.using("direct")` and `using("winograd")`
override it, and `using("loops")` takes the plain loops that the tiles are compared with.
"""

import functools
import math
from typing import NamedTuple

from nn.kernels.reference import output_size

# Measured: to transform an image costs each pixel some 20 operations, whatever the number of
# channels it is multiplied with; below this many it does not come back.
FEWEST_CHANNELS = 12
# Measured: to transform the kernels takes as long as the products of so many places.
KERNEL_PLACES = 20
GAIN = 1.3  # so many times fewer multiplications at least


class Choice(NamedTuple):
    """The kernel's name, and the reason in words."""

    name: str
    why: str


@functools.lru_cache
def choose(asked, N, size, kernel_size, stride, dilation, C, C_out, groups):
    """The kernel for outputs of the given size from C channels of N clips.

    asked: the name of the kernels in use; "fast" leaves the choice to the rule. size, kernel_size,
    stride, dilation: one number per axis. C and C_out: the channels of one group.
    """
    if C == 1 < groups:
        return Choice("depthwise", "every channel has a filter of its own")
    if asked in ("loops", "direct"):
        return Choice(asked, "asked for")
    if min(kernel_size[-2:]) < 3 or len(kernel_size) < 2:
        return Choice("direct", "the transforms are for kernels of 3×3 and larger ones")
    if max(*stride, *dilation[:-2], groups) > 1:
        return Choice("direct", "the transforms are for stride 1, one group, no dilation in time")
    if asked == "winograd":
        return Choice("winograd", "asked for")
    if min(C, C_out) < FEWEST_CHANNELS:
        return Choice("direct", f"fewer than {FEWEST_CHANNELS} channels: transforms cost too much")
    outputs, taps = N * math.prod(size), math.prod(kernel_size[-2:])
    parts = math.prod(math.ceil(k / 3) for k in kernel_size[-2:])
    places = N * math.prod(size[:-2])
    for n, d in zip(size[-2:], dilation[-2:], strict=True):
        places *= math.ceil(math.ceil(n / d) / 4) * d
    products = f"{outputs} outputs × {taps} taps become {places} places × {36 * parts} products"
    if GAIN * 36 * parts * (places + KERNEL_PLACES) >= taps * outputs:
        return Choice("direct", f"too few places to pay for the transforms: {products}")
    return Choice("winograd", products)


def explain(asked, x_shape, w_shape, stride, padding, dilation, groups):
    """See `nn.kernels.explain`."""
    axes = len(w_shape) - 2
    stride, dilation = ((n,) * axes if isinstance(n, int) else tuple(n) for n in (stride, dilation))
    padding = (padding,) * axes if isinstance(padding, int) else padding
    padding = [(p, p) if isinstance(p, int) else tuple(p) for p in padding]
    N, *S, _ = x_shape
    *K, C, C_out = w_shape
    S, K = tuple(S), tuple(K)
    S_out = output_size(S, K, stride, padding, dilation)
    forward = choose(asked, N, S_out, K, stride, dilation, C, C_out // groups, groups)
    back = choose(asked, N, S, K, stride, dilation, C, C_out // groups, groups)
    works = {"forward": forward, "input gradient": back, "weight gradient": forward}
    return "\n".join(f"{work:16} {name:10} {why}" for work, (name, why) in works.items())
