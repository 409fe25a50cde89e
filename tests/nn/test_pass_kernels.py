"""The kernels that pass through memory once: sums, norms, activations, optimisers, and the pool.

Each against its equation in `reference`, at sizes around the ends of vectors, runs and shares.
"""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import kernels
from nn.kernels.aligned import aligned_empty
from nn.kernels.memory import LEAST, Pool

DTYPES = [np.float32, np.float64]
drawn = settings(deadline=None, max_examples=12)

# (clips, rows, channels): few and many of each, with and without threads
SHAPES = [(1, 1, 1), (1, 50_001, 3), (2, 37, 16), (3, 700, 33), (1, 5, 1030), (41, 6, 5)]


def both(function, *args):
    """What the fast kernel and what the reference make of it, as tuples."""
    results = []
    for name in ("fast", "reference"):
        with kernels.using(name):
            result = function(*args)
        results.append(result if isinstance(result, tuple) else (result,))
    return zip(*results, strict=True)


def assert_equal(function, *args, digits=1.0):
    """Equal to rounding; `digits` times that of one operation."""
    for fast, wanted in both(function, *args):
        assert fast.shape == wanted.shape
        tolerance = digits * {4: 3e-6, 8: 1e-14}[args[0].itemsize]
        scale = max(1.0, np.abs(wanted).max(initial=0))
        np.testing.assert_allclose(fast, wanted, rtol=0, atol=tolerance * scale)


def arrays(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("B, R, C", SHAPES)
def test_norm_kernels(B, R, C, dtype):
    x, dy, mean, r, shift, stretch, gain, bias = arrays(
        dtype, *[(B, R, C)] * 2, *[(B, C)] * 4, *[(C,)] * 2
    )
    assert_equal(kernels.add_rows, x)
    assert_equal(kernels.moments, x)
    assert_equal(kernels.gradient_sums, dy, x, mean, r)
    assert_equal(kernels.normalize, x, mean, r, gain, bias)
    assert_equal(kernels.normalize_backward, dy, x, mean, r, gain, shift, stretch)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M, C", [(1, 2), (5, 1030), (333, 7), (600, 257)])
def test_kernels_of_rows_by_themselves(M, C, dtype):
    x, dy, gain, shift = arrays(dtype, (M, C), (M, C), (C,), (C,))
    x += 3
    assert_equal(kernels.normalize_rows, x, gain, shift, 1e-3, digits=10)
    with kernels.using("reference"):
        _, mean, r = kernels.normalize_rows(x, gain, shift, 1e-3)
    assert_equal(kernels.normalize_rows_backward, dy, x, mean, r, gain, digits=10)


def test_moments_far_from_zero():
    """Spread 1 about 10⁴, in a channel that begins with a 0: x² holds eight digits, not nine."""
    x = (10_000 + arrays(np.float32, (1, 30_000, 2))[0]).astype(np.float32)
    x[0, 0] = 0, 10_000
    exact = x.astype(np.float64)
    mean, var = kernels.moments(x)
    np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-9)
    np.testing.assert_allclose(var, exact.var(1), rtol=1e-5)


def test_long_sums_are_exact():
    """Of 2²⁵ ones, a sum in float32 alone would stop at 2²⁴."""
    assert kernels.add_rows(np.ones((2**25, 1), np.float32)) == 2**25


def test_gradients_of_another_shape_are_refused():
    x = np.zeros((1, 6, 4), np.float32)
    for shape in ((1, 5, 4), (2, 3, 4)):
        with pytest.raises(ValueError, match="dy must have the shape"):
            kernels.gradient_sums(np.zeros(shape, np.float32), x, x[:, 0], x[:, 0])
    with pytest.raises(ValueError, match="dy must have the shape"):
        kernels.activate_backward("relu", np.zeros(3, np.float32), np.zeros(4, np.float32))


# ---- activations ------------------------------------------------------------------------

ACTIVATIONS = ["relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu"]
ENDS = [-1e4, -200, -90, -0.3, -1e-7, 0, 1e-7, 0.3, 90, 200, 1e4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    """With threads and without. Of GELU's Φ, 7.5e-8 are promised in float32."""
    x = np.concatenate([ENDS, np.linspace(-12, 12, 140_003)]).astype(dtype)
    close = {"rtol": 1e-6, "atol": 3e-7} if dtype == np.float32 else {"rtol": 1e-14, "atol": 1e-14}
    for part in (x, x[: len(ENDS)]):
        ((y, _),) = both(kernels.activate, name, part, 0.1)
        exact = part.astype(np.float64)
        with kernels.using("reference"):
            np.testing.assert_allclose(y, kernels.activate(name, exact, 0.1), **close)
        assert y.dtype == dtype
        (dy,) = arrays(dtype, part.shape)
        saved = part if name in ("leaky_relu", "silu", "gelu") else y
        for dx, wanted in both(kernels.activate_backward, name, dy, saved, 0.1):
            np.testing.assert_allclose(dx, wanted, rtol=close["rtol"], atol=5 * close["atol"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_not_a_number_stays_so(name, dtype):
    x = np.array([1, np.nan, 2], dtype)
    y = kernels.activate(name, x, 0.1)
    assert np.isnan(y).tolist() == [False, True, False]
    if name == "relu":  # it asks only whether the unit was on
        return
    assert np.isnan(kernels.activate_backward(name, np.ones(3, dtype), x, 0.1))[1] or (
        name == "leaky_relu"
    )


def test_activations_of_other_types_are_the_reference():
    y = kernels.activate("relu", np.array([-1, 2]))
    assert y.dtype.kind == "i" and y.tolist() == [0, 2]
    assert kernels.activate("relu", np.array([-1, 2], np.float16)).dtype == np.float16


# ---- optimisers -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 1001, 50_003])
@drawn
@given(
    lr=st.floats(1e-4, 0.5),
    decay=st.sampled_from([0.0, 0.1]),
    momentum=st.sampled_from([0.0, 0.9]),
    switch=st.booleans(),
    seed=st.integers(0, 99),
)
def test_optimiser_steps(size, dtype, lr, decay, momentum, switch, seed):
    def state():
        theta, grad, a, b = arrays(dtype, *[(size,)] * 4, seed=seed)
        return [theta, grad, 30 + b * b, a, b]  # squares are above the square of the mean

    steps = {
        "sgd": lambda theta, g, s, a, b: kernels.sgd(
            theta, g, a if momentum else None, lr, momentum, decay, switch
        ),
        "rmsprop": lambda theta, g, s, a, b: kernels.rmsprop(
            theta, g, s, a if switch else None, b if momentum else None,
            lr, 0.9, 1e-3, decay, momentum,
        ),
        "adam": lambda theta, g, s, a, b: kernels.adam(
            theta, g, a, s, 1 + seed, lr, (0.9, 0.99), 1e-3, decay, switch
        ),
    }  # fmt: skip
    for step in steps.values():
        fast, wanted = state(), state()
        step(*fast)
        with kernels.using("reference"):
            step(*wanted)
        assert (fast[0] != state()[0]).any()
        for array, other in zip(fast, wanted, strict=True):
            tolerance = {4: 3e-6, 8: 1e-14}[array.itemsize]
            np.testing.assert_allclose(array, other, rtol=tolerance, atol=3 * tolerance)


# ---- the number of threads, and the memory ----------------------------------------------

BITS = """
import hashlib, sys
import numpy as np
from nn import kernels

kernels.threads.set_count(int(sys.argv[1]))
rng = np.random.default_rng(0)
x, dy = rng.standard_normal((2, 1, 5001, 33)).astype(np.float32)
mean, r = rng.standard_normal((2, 1, 33)).astype(np.float32)
gain = r[0]
results = [
    kernels.add_rows(x),
    *kernels.moments(x),
    *kernels.gradient_sums(dy, x, mean, r),
    kernels.normalize_backward(dy, x, mean, r, gain, mean, mean),
    *kernels.normalize_rows(x[0], gain, gain, 1e-3),
    *kernels.normalize_rows_backward(dy[0], x[0], x[0, :, :1], x[0, :, :1], gain),
    kernels.activate("gelu", x),
    x.copy(),
]
kernels.sgd(results[-1], dy, None, 0.1, 0.0, 0.1, False)
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in results)).hexdigest())
"""


def bits(threads=2, **environment):
    env = {**os.environ, "NUMBA_NUM_THREADS": "4", **environment}
    command = [sys.executable, "-c", BITS, str(threads)]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def test_the_number_of_threads_changes_no_bit():
    assert bits(1) == bits(2) == bits(4) != ""


def test_compiling_or_loading_the_kernels_changes_no_bit(tmp_path):
    compiled, loaded = (bits(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert compiled == loaded


def test_a_block_comes_back_with_the_last_view():
    pool = Pool()
    array = pool.lend(LEAST)
    address, part = array.ctypes.data, array[5:].view(np.int8)
    del array
    assert not pool.idle and pool.in_use == LEAST
    del part
    assert len(pool.idle) == 1 and pool.in_use == 0
    assert pool.lend(LEAST).ctypes.data == address


def test_idle_blocks_are_never_more_than_was_once_in_use():
    pool = Pool()
    a, b = pool.lend(LEAST), pool.lend(3 * LEAST)
    del a, b  # idle: 1 + 3, and 4 were in use
    c = pool.lend(2 * LEAST)  # neither fits, and 4 + 2 would be more: the oldest goes, then b
    assert [len(block) for block in pool.idle] == []
    del c
    d = pool.lend(LEAST)
    assert [len(block) for block in pool.idle] == [2 * LEAST]  # 2 + 1 is less than 4
    del d
    pool.clear()
    assert pool.idle == [] and pool.most == 0


def test_arrays_from_the_pool_are_apart():
    several = [aligned_empty((LEAST,), np.float32) for _ in range(3)]
    for i, array in enumerate(several):
        array[:] = i
    assert [array.min() for array in several] == [array.max() for array in several] == [0, 1, 2]
    assert all(array.ctypes.data % 64 == 0 and array.flags.writeable for array in several)


def test_after_ctrl_c_amid_a_kernel_the_next_one_is_whole(monkeypatch):
    x = np.random.default_rng(0).standard_normal((400, 1000)).astype(np.float32)
    wanted = kernels.add_rows(x)
    turns = importlib.import_module("nn.kernels.turns")

    def interrupted(counters, back):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(turns, "await_workers", interrupted)
        kernels.add_rows(x)
    np.testing.assert_array_equal(kernels.add_rows(x), wanted)
