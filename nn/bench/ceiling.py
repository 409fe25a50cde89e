"""What this machine can do at best: `python -m nn.bench.ceiling` prints it as JSON, in GF/s.

- "ceiling": multiply-adds on register tiles, all operands in the nearest cache, on all threads.
  A kernel that came up to it would do nothing but arithmetic.
- "matmul": NumPy's product of two square matrices, which is what a library tuned for years gets.

The best of many runs: whatever else the machine does can only make one slower.
"""

import json
import time

import numpy as np

from nn.kernels import threads
from nn.kernels.aligned import aligned_zeros
from nn.kernels.cpu import TALL, VECTOR_BYTES
from nn.kernels.jit import kernel
from nn.kernels.tile import add_outer, apart, load, store
from nn.kernels.turns import take

TERMS = 64  # 64 rows of both operands are 12 KB
REPEATS = 3000  # a run of a millisecond: short enough to go undisturbed now and then
SIZE = 1024  # of the matrices
RUN_FOR = 0.5  # seconds for each number


@kernel
def _one_tile(a, b, width, terms, repeats, sums, at):
    apart()
    tile = load(sums, at, width, TALL, 2)
    for _ in range(repeats):
        for k in range(terms):
            tile = add_outer(tile, a, k * TALL, 1, b, k * width)
    store(tile, sums, at, width)


@kernel
def _one_tile_each(turns, a, b, width, terms, repeats, sums):
    task = take(turns)
    while task < len(sums):
        _one_tile(a, b, width, terms, repeats, sums, task * TALL * width)
        task = take(turns)


def best(run):
    """The shortest time of `run()`, in seconds, after a first one that does not count."""
    run()
    times, began = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < RUN_FOR:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def multiply_adds(dtype):
    """GF/s of multiply-adds in registers."""
    count = threads.count()
    width = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    a, b = aligned_zeros((TERMS, TALL), dtype), aligned_zeros((TERMS, width), dtype)
    sums = aligned_zeros((count, TALL * width), dtype)
    seconds = best(lambda: threads.run(_one_tile_each, a, b, width, TERMS, REPEATS, sums))
    return 2e-9 * count * REPEATS * TERMS * TALL * width / seconds


def matrix_product(dtype):
    """GF/s of NumPy's matrix product."""
    a = np.ones((SIZE, SIZE), dtype)
    out = np.empty_like(a)
    return 2e-9 * SIZE**3 / best(lambda: np.matmul(a, a, out=out))


def main():
    """Print {"ceiling": {dtype: GF/s}, "matmul": {dtype: GF/s}}."""
    dtypes = ["float32", "float64"]
    ceiling = {dtype: multiply_adds(dtype) for dtype in dtypes}
    print(json.dumps({"ceiling": ceiling, "matmul": {d: matrix_product(d) for d in dtypes}}))


if __name__ == "__main__":
    main()
