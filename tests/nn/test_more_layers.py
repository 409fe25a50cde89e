"""Embeddings, up-sampling, residual blocks and more activations by hand: values on paper, what must
always hold, errors in one line; and what all the newer layers promise."""

import math

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn


@pytest.fixture(params=["reference", "fast"])
def kernels(request):
    with nn.kernels.using(request.param):
        yield request.param


# ---- embedding ----------------------------------------------------------------------------


def test_embedding_on_paper():
    layer = nn.Embedding(3, 2).astype(np.float64)
    layer.weight.data[:] = [[1, 2], [3, 4], [5, 6]]
    assert layer(np.array([[2, 0], [2, 2]])).tolist() == [[[5, 6], [1, 2]], [[5, 6], [5, 6]]]
    dy = np.array([[[1.0, 0], [7, 7]], [[10, 0], [100, 1]]])
    assert layer.backward(dy) is None
    assert layer.weight.grad.tolist() == [[7, 7], [0, 0], [111, 1]]


def test_embedding_is_a_dense_layer_on_one_hot_rows():
    layer = nn.Embedding(5, 3, rng=0).astype(np.float64)
    dense = nn.Linear(5, 3, bias=False).astype(np.float64)
    dense.weight.data[:] = layer.weight.data
    ids, dy = np.random.default_rng(1).integers(0, 5, (4, 6)), normal(4, 6, 3)
    np.testing.assert_array_equal(layer(ids), dense(np.eye(5)[ids]))
    layer.backward(dy)
    dense.backward(dy)
    np.testing.assert_allclose(layer.weight.grad, dense.weight.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_ids_of_any_integer_type(dtype):
    layer = nn.Embedding(4, 2, rng=0)
    y = layer(np.array([3, 0], dtype))
    np.testing.assert_array_equal(y, layer.weight.data[[3, 0]])
    assert y.dtype == np.float32


def test_an_embedding_hands_out_copies():
    layer = nn.Embedding(4, 2, rng=0)
    before = layer.weight.data.copy()
    layer(np.array([1, 2]))[...] = 9
    np.testing.assert_array_equal(layer.weight.data, before)


def test_errors_of_embedding():
    layer = nn.Embedding(4, 2)
    assert error_of(layer, np.array([0, 4])) == (
        "Embedding(4, 2): ids run from 0 to 4, expected 0..3"
    )
    assert "ids run from -1 to 2" in error_of(layer, np.array([-1, 2]))
    assert "expected integer ids, got float64" in error_of(layer, np.array([1.0]))


# ---- up-sampling --------------------------------------------------------------------------


def test_nearest_on_paper():
    up = nn.Upsample2d((2, 3))
    y = up(np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1))[0, :, :, 0]
    assert y.tolist() == [[1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 4, 4, 4]] * 2
    dx = up.backward(np.arange(24.0).reshape(1, 4, 6, 1))[0, :, :, 0]
    assert dx.tolist() == [[24, 42], [96, 114]]


def test_linear_on_paper():
    up = nn.Upsample2d((1, 2), mode="linear")
    y = up(np.array([0.0, 8, 4]).reshape(1, 1, 3, 1))
    # Each new centre lies a quarter from an old one: ¾ of it, ¼ of the neighbour.
    assert y.ravel().tolist() == [0, 2, 6, 7, 5, 4]
    dx = up.backward(np.array([4.0, 4, 0, 0, 0, 8]).reshape(1, 1, 6, 1))
    assert dx.ravel().tolist() == [4 + 3, 1, 8]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsampling_keeps_constants_and_loses_no_gradient(mode):
    up = nn.Upsample3d((2, 1, 3), mode=mode)
    y = up(np.full((1, 3, 2, 4, 2), 5.0))
    np.testing.assert_allclose(y, 5, rtol=1e-12)
    dy = normal(*y.shape)
    assert up.backward(dy).sum() == pytest.approx(dy.sum())


def test_average_pooling_undoes_nearest():
    for axes, size in ((2, (3, 5)), (3, (2, 3, 4))):
        scale = (2, 3, 4)[:axes]
        up = getattr(nn, f"Upsample{axes}d")(scale)
        down = getattr(nn, f"AvgPool{axes}d")(scale)
        x = normal(2, *size, 3)
        np.testing.assert_allclose(down(up(x)), x, rtol=1e-12)
        # and the gradient of the one is the other, up to the size of a window
        dy = normal(*up(x).shape)
        np.testing.assert_allclose(
            up.backward(dy), down(dy) * math.prod(scale), rtol=1e-12, atol=1e-12
        )


def test_linear_upsampling_keeps_a_slope_inside():
    ramp = np.arange(5.0).reshape(1, 5, 1, 1)
    y = nn.Upsample2d((4, 1), mode="linear")(ramp).ravel()
    np.testing.assert_allclose(np.diff(y)[2:-2], 0.25)
    assert y[:2].tolist() == [0, 0] and y[-2:].tolist() == [4, 4]  # the border value is kept


def test_one_place_is_spread_out():
    for mode in ("nearest", "linear"):
        up = nn.Upsample2d((3, 2), mode=mode)
        assert up(np.full((1, 1, 1, 1), 2.0)).ravel().tolist() == [2] * 6
        assert up.backward(np.ones((1, 3, 2, 1))).ravel().tolist() == [6]


def test_upsampling_keeps_float32():
    for mode in ("nearest", "linear"):
        up = nn.Upsample2d(3, mode=mode)
        y = up(normal(2, 4, 5, 3).astype(np.float32))
        assert y.dtype == up.backward(y).dtype == np.float32


def test_errors_of_upsampling():
    assert error_of(nn.Upsample2d(2), normal(2, 3, 4)) == (
        "Upsample2d((2, 2), mode='nearest'): expected an input (N, H, W, C), got (2, 3, 4)"
    )
    assert 'mode is "nearest" or "linear", got \'cubic\'' in error_of(nn.Upsample2d, 2, "cubic")
    assert "scale must be an integer of at least 1" in error_of(nn.Upsample3d, 0)
    assert "scale must be an integer of at least 1" in error_of(nn.Upsample2d, 1.5)


# ---- residual -----------------------------------------------------------------------------


def test_residual_on_paper():
    body = nn.Linear(2, 2, bias=False).astype(np.float64)
    body.weight.data[:] = [[1, 10], [100, 1000]]
    block, x = nn.Residual(body), np.array([[3.0, 4]])
    assert block(x).tolist() == [[3 + 403, 4 + 4030]]
    assert block.backward(np.array([[1.0, 2]])).tolist() == [[1 + 21, 2 + 2100]]
    assert body.weight.grad.tolist() == [[3, 6], [4, 8]]


def test_residual_with_an_idle_body_is_the_identity():
    body = nn.Linear(3, 3)
    body.weight.data[:] = 0
    block, x = nn.Residual(nn.Linear(3, 3, rng=0), nn.Tanh(), body), normal(4, 3)
    np.testing.assert_array_equal(block(x), x)
    dy = normal(4, 3, seed=1)
    np.testing.assert_array_equal(block.backward(dy), dy)


def test_both_ways_of_a_residual_learn():
    block = nn.Residual(nn.Linear(3, 5, rng=0), shortcut=nn.Linear(3, 5, bias=False, rng=1))
    x, dy = normal(4, 3), normal(4, 5)
    y = block(x)
    np.testing.assert_allclose(y, block.body(x) + block.shortcut(x))
    block.forget()
    block(x)
    dx = block.backward(dy)
    np.testing.assert_allclose(dx, dy @ (block.body.weight.data + block.shortcut.weight.data).T)
    names = [name for name, _ in block.named_parameters()]
    assert names == ["body.weight", "body.bias", "shortcut.weight"]
    assert all(p.grad.any() for p in block.parameters())
    block(x)
    assert block.backward(dy, need_input_grad=False) is None


def test_the_straight_way_keeps_the_gradient_of_deep_stacks():
    def small(rng):
        return nn.Sequential(nn.Linear(8, 8, rng=rng), nn.Tanh())

    deep, residual = (
        nn.Sequential(*(wrap(small(seed)) for seed in range(20)))
        for wrap in (lambda body: body, nn.Residual)
    )
    for module in (deep, residual):
        for parameter in module.parameters():
            parameter.data *= 0.3
    x, dy = normal(5, 8), normal(5, 8, seed=1)
    sizes = []
    for module in (deep, residual):
        module(x)
        sizes.append(np.abs(module.backward(dy)).mean() / np.abs(dy).mean())
    assert sizes[0] < 1e-4 and 0.1 < sizes[1]


def test_error_of_residual():
    message = error_of(nn.Residual(nn.Linear(3, 5)), normal(4, 3))
    assert "the body makes (4, 5) of (4, 3), the shortcut (4, 3)" in message


# ---- activations --------------------------------------------------------------------------


def test_more_activations_on_paper():
    x = np.array([-1e9, -2.0, 0, 3, 1e9])
    assert nn.LeakyReLU(0.25)(x).tolist() == [-0.25e9, -0.5, 0, 3, 1e9]
    np.testing.assert_allclose(
        nn.SiLU()(x), [0, -2 / (1 + np.e**2), 0, 3 / (1 + np.e**-3), 1e9], atol=1e-12
    )
    # Φ(1) = 0.8413447460685429, Φ(−2) = 0.022750131948179195
    y = nn.GELU()(np.array([-2.0, 0, 1, 40]))
    np.testing.assert_allclose(y, [-2 * 0.022750131948179195, 0, 0.8413447460685429, 40])


def test_slopes_of_more_activations():
    def slopes(layer, *x):
        layer(np.array(x))
        return layer.backward(np.ones(len(x))).tolist()

    assert slopes(nn.LeakyReLU(0.25), -3.0, 0.0, 2.0) == [0.25, 0.25, 1]
    assert slopes(nn.GELU(), 0.0) == [0.5]
    assert slopes(nn.SiLU(), 0.0) == [0.5]
    far = slopes(nn.GELU(), -40.0, 40.0) + slopes(nn.SiLU(), -800.0, 800.0)
    assert far == pytest.approx([0, 1, 0, 1], abs=1e-12)


def test_gelu_and_silu_dip_below_zero_once():
    x = np.linspace(-8, 8, 16001)
    for layer, place, value in ((nn.GELU(), -0.7518, -0.17), (nn.SiLU(), -1.2785, -0.2785)):
        y = layer(x)
        assert x[y.argmin()] == pytest.approx(place, abs=1e-3)
        assert y.min() == pytest.approx(value, abs=1e-4)
        falls, rises = y[: y.argmin()], y[y.argmin() :]
        assert (np.diff(falls) < 1e-14).all() and (np.diff(rises) > 0).all()


def test_activations_and_their_mirror_images():
    """x Φ(x) and x σ(x): f(x) − f(−x) = x, since Φ(x) + Φ(−x) = 1."""
    x = normal(5, 7)
    for layer in (nn.GELU(), nn.SiLU()):
        np.testing.assert_allclose(layer(x) - layer(-x), x, rtol=1e-12)


def test_more_activations_keep_float32(kernels):
    for layer in (nn.LeakyReLU(), nn.GELU(), nn.SiLU()):
        y = layer(normal(3, 4).astype(np.float32))
        assert y.dtype == layer.backward(y).dtype == np.float32


def test_activations_fast_and_reference_agree():
    x = 3 * normal(4, 5)
    with nn.kernels.using("reference"):
        exact = nn.GELU()(x)
    with nn.kernels.using("fast"):
        np.testing.assert_allclose(nn.GELU()(x), exact, rtol=1e-14)


# ---- what all promise ---------------------------------------------------------------------


def test_an_empty_batch_passes_through(kernels):
    network = nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2, stride=2, rng=0),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.Upsample2d(2, mode="linear"),
        nn.Residual(nn.LayerNorm(4)),
        nn.Upsample2d(2),
        nn.BatchNorm(4).eval(),
        nn.SiLU(),
        nn.LeakyReLU(),
    )
    y = network(np.zeros((0, 3, 5, 3), np.float32))
    assert y.shape == (0, 24, 40, 4)
    assert network.backward(y).shape == (0, 3, 5, 3)
    assert not network[0].weight.grad.any()
    ids = np.zeros((0, 4), np.int64)
    assert nn.Embedding(3, 2)(ids).shape == (0, 4, 2)


def test_backward_without_a_forward_names_the_layer():
    for layer in (
        nn.ConvTranspose2d(3, 4, 3),
        nn.BatchNorm(3),
        nn.LayerNorm(3),
        nn.GroupNorm(1, 3),
        nn.Embedding(3, 2),
        nn.Upsample2d(2),
        nn.LeakyReLU(),
        nn.GELU(),
        nn.SiLU(),
    ):
        with pytest.raises(RuntimeError, match="backward without a forward") as error:
            layer.backward(np.ones((2, 3)))
        assert layer.describe() in str(error.value)


def test_two_forwards_then_two_backwards():
    """Last in, first out: one layer over several inputs."""
    for layer, shape in (
        (nn.ConvTranspose1d(2, 3, 3, stride=2, rng=0), (2, 4, 2)),
        (nn.BatchNorm(3), (5, 3)),
        (nn.GroupNorm(2, 4), (2, 3, 4)),
        (nn.Upsample2d(2, mode="linear"), (1, 2, 3, 2)),
        (nn.GELU(), (3, 4)),
    ):
        layer.astype(np.float64)
        one, other = normal(*shape), normal(*shape, seed=1)
        layer(one)
        y = layer(other)
        dy = normal(*y.shape, seed=2)
        dx_other, dx_one = layer.backward(dy), layer.backward(dy)
        for x, dx in ((one, dx_one), (other, dx_other)):
            layer(x)
            np.testing.assert_array_equal(layer.backward(dy), dx)
