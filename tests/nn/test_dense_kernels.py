"""The tiles of large dense layers against NumPy's matrix product."""

import os
import subprocess
import sys

import numpy as np
import pytest

import nn
from nn import kernels
from nn.kernels import dense


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 2e-15)])
@pytest.mark.parametrize("M, K, N", [(8, 4099, 64), (13, 8200, 32), (33, 517, 512)])
def test_products_equal_numpys(M, K, N, dtype, tolerance):
    assert dense.suits(M, K, N, dtype)
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s).astype(dtype) for s in [(M, K), (K, N), (M, N)])
    pairs = [
        (kernels.dense_forward(x, w), x.astype(np.float64) @ w),
        (kernels.dense_backward_weight(dy, x), x.T.astype(np.float64) @ dy),
        (kernels.dense_backward_input(dy, w), dy.astype(np.float64) @ w.T),
    ]
    for ours, exact in pairs:
        assert ours.dtype == dtype and ours.shape == exact.shape
        assert np.abs(ours - exact).max() < tolerance * np.abs(exact).max()


@pytest.mark.parametrize(
    "M, K, N", [(7, 4096, 64), (8, 4096, 60), (8, 64, 64), (32, 9, 40_000), (65, 4096, 64)]
)
def test_small_and_odd_layers_are_left_to_numpy(M, K, N):
    assert not dense.suits(M, K, N, np.float32)


def test_a_large_layer_is_the_same_on_both_kernel_sets():
    layer = nn.Linear(4096, 96, rng=0)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 2, 4096)).astype(np.float32)  # ten rows in two axes
    dy = rng.standard_normal((5, 2, 96)).astype(np.float32)
    results = {}
    for name in ("reference", "fast"):
        with nn.kernels.using(name):
            layer.zero_grad()
            results[name] = [layer(x), layer.backward(dy), layer.weight.grad, layer.bias.grad]
    for reference, fast in zip(*results.values(), strict=True):
        np.testing.assert_allclose(fast, reference, rtol=1e-4, atol=1e-4)


BITS = """
import numpy as np
from nn import kernels
rng = np.random.default_rng(0)
for M, K, N in [(16, 5000, 64), (900, 70, 200)]:  # large at a small batch; of usual size
    x, w, dy = (rng.standard_normal(s).astype(np.float32) for s in [(M, K), (K, N), (M, N)])
    products = [kernels.dense_forward(x, w), kernels.dense_backward_weight(dy, x),
                kernels.dense_backward_input(dy, w)]
    print([hash(p.tobytes()) for p in products])
"""


def test_the_number_of_threads_changes_no_bit():
    seen = set()
    for threads in ("1", "2", "4"):
        environment = {"NUMBA_NUM_THREADS": threads, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", BITS],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **environment},
        )
        seen.add(done.stdout)
    assert len(seen) == 1
