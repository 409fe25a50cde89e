"""What one core can do at most: multiply-adds on sums that never leave the registers."""

from nn.kernels.cpu import TALL
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, load, store

ROWS, VECTORS = TALL, 2


@kernel
def multiply_adds(turns, numbers, sums):
    """The same outer product again and again; nothing new is fetched from memory.

    numbers (VECTORS · lanes,); sums: room for a tile. ROWS · numbers.size · turns multiply-adds.
    """
    apart()
    tile = load(numbers, 0, 0, ROWS, VECTORS)
    for _ in range(turns):
        tile = add_outer(tile, numbers, 0, 0, numbers, 0)
    store(tile, sums, 0, len(numbers))
