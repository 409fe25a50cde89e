"""Matrix products on tiles against NumPy's, over drawn sizes and orders of memory."""

import numpy as np
import pytest

import nn
from nn import kernels
from nn.kernels import product


def drawn_sizes(seed, count=12):
    """Sizes that suit: some with few rows, some with many terms, few of them whole tiles."""
    rng = np.random.default_rng(seed)
    while count:
        M, K, N = (int(2 ** rng.uniform(3, 11)) for _ in range(3))
        if product.suits(M, K, N, np.float32) and M * K * N < 1 << 26:
            count -= 1
            yield M, K, N


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 2e-15)])
@pytest.mark.parametrize("M, K, N", [*drawn_sizes(0), (14, 9000, 33), (64, 8192, 64)])
def test_products_equal_numpys(M, K, N, dtype, tolerance):
    rng = np.random.default_rng(M)
    a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    bias = rng.standard_normal(N).astype(dtype)
    exact = a.astype(np.float64) @ b
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            y, y_biased = product.product(left, right), product.product(left, right, bias)
            assert y.dtype == dtype and y.flags.c_contiguous
            size = np.sqrt(K) * np.abs(exact).mean()
            assert np.abs(y - exact).max() < tolerance * size
            assert np.abs(y_biased - (exact + bias)).max() < tolerance * (size + 4)


def test_the_three_products_of_a_layer_run_here(monkeypatch):
    calls, tiles = [], product.product
    monkeypatch.setattr(product, "product", lambda *args: calls.append(1) or tiles(*args))
    rng = np.random.default_rng(0)
    x, w, b, dy = (rng.standard_normal(s) for s in [(130, 72), (72, 100), (100,), (130, 100)])
    assert product.suits(130, 72, 100, np.float64)
    pairs = [
        (kernels.dense_forward(x, w, b), x @ w + b),
        (kernels.dense_backward_input(dy, w), dy @ w.T),
        (kernels.dense_backward_weight(dy, x), x.T @ dy),
    ]
    for ours, numpys in pairs:
        np.testing.assert_allclose(ours, numpys, rtol=0, atol=1e-12)
    assert len(calls) == 3


def test_what_is_not_finite_stays_where_it_belongs():
    x, w = np.ones((40, 90)), np.ones((90, 100))
    x[7, 3], x[21, 5] = np.nan, np.inf
    y = kernels.dense_forward(x, w)
    assert np.isnan(y[7]).all() and np.isposinf(y[21]).all()
    assert np.isfinite(np.delete(y, [7, 21], axis=0)).all()


def test_a_column_slice_of_a_matrix_is_copied_first():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((128, 64)), rng.standard_normal((64, 96))
    for multiply in (kernels.dense_forward, product.product):
        np.testing.assert_allclose(multiply(x, w[:, 32:64]), x @ w[:, 32:64], rtol=0, atol=1e-12)


def test_a_layer_is_the_same_on_both_kernel_sets():
    layer = nn.Linear(96, 160, rng=0)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 40, 96)).astype(np.float32)
    dy = rng.standard_normal((5, 40, 160)).astype(np.float32)
    layer.bias.data[...] = rng.standard_normal(160)
    results = {}
    for name in ("reference", "fast"):
        with nn.kernels.using(name):
            layer.zero_grad()
            results[name] = [layer(x), layer.backward(dy), layer.weight.grad, layer.bias.grad]
    for reference, fast in zip(*results.values(), strict=True):
        np.testing.assert_allclose(fast, reference, rtol=1e-4, atol=1e-4)
