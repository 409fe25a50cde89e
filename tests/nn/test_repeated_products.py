"""Products with one matrix again and again, on panels, against NumPy's; and layers that do them."""

import numpy as np
import pytest
from layer_helpers import normal

import nn
from nn import kernels
from nn.kernels import repeated, threads

both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-14)], ids=["float32", "float64"]
)


@both_dtypes
@pytest.mark.parametrize("M", [1, 7, 8, 9, 13, 32, 33])
@pytest.mark.parametrize(("K", "N"), [(256, 64), (517, 32), (33, 512)])
def test_products_equal_numpys(M, K, N, dtype, tolerance):
    assert repeated.suits(K, N, 4, dtype)
    w = normal(K, N).astype(dtype)
    of_a_view = normal(N, K).astype(dtype).T  # as in dq @ Wᵀ
    for matrix in (w, of_a_view):
        product = kernels.repeated_product(matrix, 9)
        for seed in range(2):
            x = normal(M, K, seed=seed).astype(dtype)
            exact = x.astype(np.float64) @ matrix
            y = product(x)
            assert y.shape == (M, N) and y.dtype == dtype
            assert np.abs(y - exact).max() < tolerance * np.abs(exact).max()


def test_rows_that_do_not_lie_in_one_piece():
    w, x = normal(256, 64), normal(256, 20)
    np.testing.assert_allclose(kernels.repeated_product(w, 9)(x.T), x.T @ w, atol=1e-12)
    x = normal(18, 512)[::2, ::2]
    np.testing.assert_allclose(kernels.repeated_product(w, 9)(x), x @ w, atol=1e-12)


@pytest.mark.parametrize("sizes", [(64, 64, 9), (256, 60, 9), (256, 64, 3)])
def test_what_does_not_pay_is_left_to_numpy(sizes):
    assert not repeated.suits(*sizes, np.float32)
    assert not repeated.suits(256, 64, 9, np.float16)


def test_the_same_bits_on_any_number_of_threads():
    x, w = (normal(*shape).astype(np.float32) for shape in ((40, 512), (512, 512)))
    before, results = threads.count(), []
    try:
        for count in (1, 2, 3):
            threads.set_count(count)
            results.append(kernels.repeated_product(w, 9)(x).tobytes())
    finally:
        threads.set_count(before)
    assert len(set(results)) == 1


@both_dtypes
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_layers_are_the_same_on_both_kernel_sets(kind, dtype, tolerance):
    layer = kind(20, 160, rng=0).astype(dtype)  # W has 160² weights or more: panels are used
    x, dy = normal(9, 5, 20).astype(dtype), normal(9, 5, 160, seed=1).astype(dtype)
    results = []
    for name in ("reference", "fast"):
        with kernels.using(name):
            layer.zero_grad()
            results.append([layer(x), layer.backward(dy), *(p.grad for p in layer.parameters())])
    for reference, fast in zip(*results, strict=True):
        assert fast.dtype == dtype
        assert np.abs(fast - reference).max() <= 5 * tolerance * np.abs(reference).max()
