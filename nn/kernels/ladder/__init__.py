"""The kernel ladder: one convolution written seven times, each faster than the one before.

Always the same layer: a kernel of 3×3, stride 1, padding "same", no bias.

    y(n, i, j, o) = Σ_p Σ_q Σ_c x(n, i + p − 1, j + q − 1, c) · w(p, q, c, o)

    x (N, H, W, C), w (3, 3, C, O) → y (N, H, W, O), float32 or float64, in plain memory order

These are to be read, beside chapter 19. The library itself runs on the grown-up forms: `loops`,
`direct`, `winograd` one folder up, for any kernel size, stride, padding, dilation and groups.
`python -m nn.bench.ladder` checks and times all of them.
"""

from nn.kernels.ladder.loops import jitted, parallel, plain_python, reordered
from nn.kernels.ladder.products import im2col
from nn.kernels.ladder.register_tile import register_tile
from nn.kernels.ladder.winograd import winograd

RUNGS = (plain_python, jitted, parallel, reordered, im2col, register_tile, winograd)
