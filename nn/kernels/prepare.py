"""What arrays must be before compiled code may have them: it looks at no type, tests no index."""

import numpy as np

PLAIN = ["C", "ALIGNED", "WRITEABLE"]  # (Numba compiles anew for read-only arrays)


def prepared(*arrays):
    """The arrays in one dtype, float32 or float64, each in one plain block of memory."""
    dtype = np.result_type(*arrays)
    if dtype not in (np.float32, np.float64):
        raise TypeError(
            f"the fast kernels take float32 or float64, got {dtype}: "
            "convert the arrays first, for example with x.astype(np.float32)"
        )
    return [plain(a, dtype) for a in arrays]


def plain(a, dtype):
    """np.require(a, dtype, PLAIN), quicker where there is nothing to do."""
    return a if a.flags.carray and a.dtype == dtype else np.require(a, dtype, PLAIN)


def expect_shape(name, array, shape):
    """ValueError unless the array has the shape."""
    if array.shape != tuple(shape):
        raise ValueError(f"{name} must have the shape {tuple(shape)}, got {array.shape}")
