"""What the tiles need to know of the CPU: how wide a vector is, and how many fit in registers.

Numba compiles for this CPU, or for the one named in NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
(`NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx,+avx2,+fma` tries a machine without AVX-512).
Both keys are part of the name that a kernel has in the cache.

A tile of `rows` × `vectors` accumulators stays in registers while it is summed. Beside it there
must be room for one row of the right-hand operand (`vectors` registers) and one broadcast
number. A multiply-add takes about 4 cycles and two can start in each, so fewer than 8
accumulators leave the CPU waiting.
"""

import platform

import llvmlite.binding as llvm
from numba import config


def _features():
    """What the CPU can do that we compile for, as a set such as {"avx2", "fma"}."""
    if config.CPU_FEATURES is not None:
        flags = config.CPU_FEATURES.split(",")
        return {flag[1:] for flag in flags if flag.startswith("+")}
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


def tile_sizes(features, machine):
    """(bytes in a vector, rows of a tall tile, rows of a short tile)."""
    if "avx512f" in features:
        return 64, 14, 8  # 32 registers: 14·2 + 2 + 1 = 31
    if "avx" in features:
        return 32, 6, 4  # 16 registers: 6·2 + 2 + 1 = 15
    if machine.lower() in ("arm64", "aarch64"):
        return 16, 14, 8  # NEON: 32 registers
    return 16, 6, 4  # SSE2, and whatever we do not know


VECTOR_BYTES, TALL, SHORT = tile_sizes(_features(), platform.machine())
