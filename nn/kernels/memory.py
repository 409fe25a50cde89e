"""Memory for large arrays that is used again, from one training step to the next.

Every step makes arrays of the same sizes and drops them. The C library gives large ones back to
the operating system at once, and gets them anew, page by page, each page filled with zeros first:
for an array of 64 MB that takes as long as to read and write it two or three times over. So large
blocks are kept when the last array that lies in them is gone, and lent again for the same size.

What is kept is bounded: blocks in use and idle ones together are never more than what was once in
use at the same time. When a new block would exceed that, idle ones are dropped, those first that
have been idle longest.
"""

import math
import threading

import numpy as np

LEAST = 1 << 18  # bytes; smaller blocks the C library keeps by itself


class Pool:
    """Blocks of memory, in use and idle."""

    def __init__(self):
        self.idle = []  # blocks, those that came back last at the end
        self.in_use = 0  # bytes
        self.most = 0  # bytes that were ever in use at the same time
        # A block may come back while another is taken: whenever Python collects its garbage.
        self.lock = threading.RLock()

    def lend(self, size):
        """An array of `size` bytes, with anything in it."""
        if size < LEAST:
            return np.empty(size, np.uint8)
        return np.asarray(_Loan(self, self._take(size)))

    def _take(self, size):
        with self.lock:
            self.in_use += size
            self.most = max(self.most, self.in_use)
            for i in reversed(range(len(self.idle))):
                if len(self.idle[i]) == size:
                    return self.idle.pop(i)
            while self.idle and self.in_use + sum(map(len, self.idle)) > self.most:
                self.idle.pop(0)
        return np.empty(size, np.uint8)

    def take_back(self, block):
        """The last array that lay in the block is gone."""
        with self.lock:
            self.in_use -= len(block)
            self.idle.append(block)

    def clear(self):
        """Give all idle blocks back to the operating system."""
        with self.lock:
            self.idle.clear()
            self.most = self.in_use


class _Loan:
    """What an array from the pool holds on to as its base: NumPy drops it with the last view."""

    def __init__(self, pool, block):
        self.pool, self.block = pool, block
        self.__array_interface__ = block.__array_interface__

    def __del__(self):
        self.pool.take_back(self.block)


pool = Pool()


def empty(shape, dtype):
    """np.empty(shape, dtype), in such memory."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return pool.lend(size).view(dtype).reshape(shape)
