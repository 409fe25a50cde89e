"""Layers by hand: values worked out on paper, shapes, special cases, and errors in one line."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn


@pytest.fixture(params=["reference", "fast"], autouse=True)
def kernels(request):
    with nn.kernels.using(request.param):
        yield request.param


# ---- convolution --------------------------------------------------------------------------


def conv_by_hand(x, w, b, stride, padding, dilation):
    """The article's sum, one output at a time: no slices, no matrix product."""
    axes = x.ndim - 2
    x = np.pad(x, [(0, 0), *[(p, p) for p in padding], (0, 0)])
    K, S = w.shape[:axes], x.shape[1:-1]
    out = [
        (s - d * (k - 1) - 1) // step + 1
        for s, k, step, d in zip(S, K, stride, dilation, strict=True)
    ]
    y = np.zeros((len(x), *out, w.shape[-1]))
    for n, *i in np.ndindex(*y.shape[:-1]):
        for p in np.ndindex(*K):
            place = tuple(a * s + b * d for a, s, b, d in zip(i, stride, p, dilation, strict=True))
            y[(n, *i)] += x[(n, *place)] @ w[p]
        y[(n, *i)] += b
    return y


def test_convolution_on_paper():
    conv = nn.Conv1d(1, 1, 3).astype(np.float64)
    conv.weight.data[:] = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    conv.bias.data[:] = 0.5
    x = np.array([1.0, 2, 3, 4, 5]).reshape(1, 5, 1)
    # 1·1 + 2·10 + 3·100: the kernel is not flipped.
    assert conv(x)[0, :, 0].tolist() == [321.5, 432.5, 543.5]
    dx = conv.backward(np.array([1.0, 0, 2]).reshape(1, 3, 1))
    assert dx[0, :, 0].tolist() == [1, 10, 102, 20, 200]
    assert conv.weight.grad[:, 0, 0].tolist() == [1 + 2 * 3, 2 + 2 * 4, 3 + 2 * 5]
    assert conv.bias.grad.tolist() == [3]


@pytest.mark.parametrize(
    ("layer", "size", "options"),
    [
        (nn.Conv1d, (9,), dict(kernel_size=4, stride=2, padding=1)),
        (nn.Conv2d, (6, 7), dict(kernel_size=(2, 3), stride=(2, 1), padding=(0, 2))),
        (nn.Conv2d, (5, 8), dict(kernel_size=(3, 2), dilation=(2, 3))),
        (nn.Conv3d, (3, 5, 4), dict(kernel_size=(2, 3, 1), stride=(1, 2, 3), padding=(1, 0, 0))),
    ],
)
def test_convolution_is_the_sum_of_the_article(layer, size, options):
    conv = layer(3, 4, rng=1, **options).astype(np.float64)
    conv.bias.data[:] = normal(4)
    x = normal(2, *size, 3)
    padding = [p for p, _ in conv.padding]
    expected = conv_by_hand(
        x, conv.weight.data, conv.bias.data, conv.stride, padding, conv.dilation
    )
    np.testing.assert_allclose(conv(x), expected, rtol=1e-12, atol=1e-12)


def test_same_padding_of_even_kernels_pads_the_end():
    conv = nn.Conv1d(1, 1, 2, padding="same", bias=False).astype(np.float64)
    conv.weight.data[:] = np.array([1.0, 10.0]).reshape(2, 1, 1)
    assert conv(np.array([1.0, 2, 3]).reshape(1, 3, 1))[0, :, 0].tolist() == [21, 32, 3]


def test_groups_do_not_mix():
    conv = nn.Conv2d(4, 6, 3, groups=2, bias=False, rng=0).astype(np.float64)
    x = normal(1, 5, 4, 4)
    y = conv(x)
    x[..., 2:] = 0  # the second group's inputs
    np.testing.assert_array_equal(conv(x)[..., :3], y[..., :3])
    assert not conv(x)[..., 3:].any()


def test_a_kernel_of_one_is_a_dense_layer_at_every_place():
    conv, x = nn.Conv3d(3, 5, 1, rng=0).astype(np.float64), normal(2, 3, 4, 2, 3)
    dense = nn.Linear(3, 5).astype(np.float64)
    dense.weight.data[:] = conv.weight.data[0, 0, 0]
    np.testing.assert_allclose(conv(x), dense(x), rtol=1e-12)


def test_an_inflated_kernel_on_a_still_clip_is_the_image_convolution():
    image, clip = nn.Conv2d(3, 4, (3, 2), rng=0), nn.Conv3d(3, 4, (5, 3, 2), rng=1)
    clip.weight.data[:] = image.weight.data / 5
    x = normal(2, 6, 5, 3)
    still = np.repeat(x[:, None], 5, axis=1)
    y = clip.astype(np.float64)(still)[:, 0]
    np.testing.assert_allclose(y, image.astype(np.float64)(x), rtol=1e-6, atol=1e-7)


def test_shapes_and_dtypes_of_convolution():
    for dtype in (np.float32, np.float64):
        conv = nn.Conv2d(3, 5, (2, 3), stride=(3, 2), padding=(1, 0), rng=0).astype(dtype)
        x = normal(2, 7, 8, 3).astype(dtype)
        y = conv(x)
        dx = conv.backward(np.ones_like(y))
        assert y.shape == (2, 3, 3, 5)
        assert (y.dtype, dx.dtype, conv.weight.grad.dtype) == (dtype,) * 3
        assert dx.shape == x.shape


def test_convolution_takes_arrays_of_any_layout():
    conv, x = nn.Conv2d(3, 4, 3, rng=0).astype(np.float64), normal(2, 3, 6, 7)
    view = x.transpose(0, 2, 3, 1)  # (2, 6, 7, 3), not contiguous
    copy = np.ascontiguousarray(view)
    dy = np.broadcast_to(normal(1, 1, 1, 4), (2, 4, 5, 4))
    results = []
    for value, upstream in ((view, dy), (copy, dy.copy())):
        conv.zero_grad()
        y = conv(value)
        results.append((y, conv.backward(upstream), conv.weight.grad, conv.bias.grad))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_errors_of_convolution():
    assert error_of(nn.Conv2d(3, 4, 3), normal(2, 5, 5)) == (
        "Conv2d(3, 4, kernel_size=(3, 3)): expected an input (N, H, W, C) with C = 3 channels "
        "last, got (2, 5, 5)"
    )
    assert "C = 3 channels last, got (2, 3, 5, 5)" in error_of(
        nn.Conv2d(3, 4, 3), normal(2, 3, 5, 5)
    )
    too_small = error_of(nn.Conv2d(3, 4, 5, padding=1), normal(2, 9, 2, 3))
    assert "the kernel is larger than the padded input" in too_small
    assert "input (9, 2)" in too_small and "padding ((1, 1), (1, 1))" in too_small
    assert "groups=2 must divide both 3 input and 4 output" in error_of(
        nn.Conv2d, 3, 4, 3, groups=2
    )
    assert 'padding="same" needs stride 1' in error_of(nn.Conv1d, 3, 4, 3, stride=2, padding="same")
    assert "kernel_size must be an integer of at least 1, or 3 of them" in error_of(
        nn.Conv3d, 3, 4, (3, 3)
    )
    for wrong in (0, -1, 1.5, (2, 0), (1, 1.5), "two", None):
        assert "stride must be an integer of at least 1, or 2 of them" in error_of(
            nn.Conv2d, 3, 4, 3, stride=wrong
        )
    assert error_of(nn.Conv2d, 3, 4, 3, padding="valid") == (
        "Conv2d: padding must be integers or \"same\", got 'valid'"
    )
    assert error_of(nn.Conv2d, 3, 4, 0).startswith("Conv2d: kernel_size must be")


# ---- pooling ------------------------------------------------------------------------------

IMAGE = np.array(
    [
        [1.0, 2, 5, 3, 9],
        [4, 0, 1, 8, 7],
        [6, 3, 2, 2, 1],
    ]
).reshape(1, 3, 5, 1)


def test_max_pooling_on_paper():
    assert nn.MaxPool2d(2)(IMAGE)[0, :, :, 0].tolist() == [[4, 8]]
    assert nn.MaxPool2d(2, stride=1)(IMAGE)[0, :, :, 0].tolist() == [[4, 5, 8, 9], [6, 3, 8, 8]]
    padded = nn.MaxPool2d(3, stride=2, padding=1)(-IMAGE)  # padding never wins
    assert padded[0, :, :, 0].tolist() == [[0, 0, -3], [0, 0, -1]]


def test_max_pooling_backward_on_paper():
    pool = nn.MaxPool2d(2, stride=1)
    pool(IMAGE)
    dx = pool.backward(np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]).reshape(1, 2, 4, 1))
    # 8 at (1, 3) wins three windows: 3 + 7 + 8.
    assert dx[0, :, :, 0].tolist() == [[0, 0, 2, 0, 4], [1, 0, 0, 18, 0], [5, 6, 0, 0, 0]]


def test_of_equal_inputs_the_first_wins():
    pool = nn.MaxPool2d((2, 2))
    pool(np.ones((1, 2, 4, 1)))
    dx = pool.backward(np.array([3.0, 5.0]).reshape(1, 1, 2, 1))
    assert dx[0, :, :, 0].tolist() == [[3, 0, 5, 0], [0, 0, 0, 0]]


def test_average_pooling_on_paper():
    assert nn.AvgPool2d(2)(IMAGE)[0, :, :, 0].tolist() == [[1.75, 4.25]]
    padded = nn.AvgPool2d(2, padding=1)(IMAGE)[0, :, :, 0]  # padding counts: a corner is x / 4
    assert padded.tolist() == [[0.25, 1.75, 3], [2.5, 1.5, 4.5]]
    pool = nn.AvgPool1d(3, stride=1)
    pool(np.arange(4.0).reshape(1, 4, 1))
    dx = pool.backward(np.array([3.0, 6.0]).reshape(1, 2, 1))
    assert dx[0, :, 0].tolist() == [1, 3, 3, 2]


def test_a_window_over_everything_is_the_global_mean():
    x = normal(2, 3, 4, 5, 6)
    everything = nn.AvgPool3d((3, 4, 5))(x).reshape(2, 6)
    np.testing.assert_allclose(everything, nn.GlobalAvgPool()(x), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(everything, x.mean(axis=(1, 2, 3)), rtol=1e-12, atol=1e-15)


def test_nan_is_not_pooled_away():
    x = IMAGE.copy()
    x[0, 1, 1, 0] = np.nan
    assert np.isnan(nn.MaxPool2d(2)(x)[0, 0, 0, 0])


def test_errors_of_pooling():
    assert error_of(nn.MaxPool2d(2), normal(2, 5, 3)) == (
        "MaxPool2d((2, 2)): expected an input (N, H, W, C), got (2, 5, 3)"
    )
    assert "the window (4, 4) is larger than the padded input (3, 5)" in error_of(
        nn.AvgPool2d(4), IMAGE
    )
    assert "padding (2, 2) is more than half the kernel" in error_of(nn.MaxPool2d, 3, padding=2)
    assert "expected an input (N, ..., C), got (3, 4)" in error_of(nn.GlobalAvgPool(), normal(3, 4))


# ---- dense --------------------------------------------------------------------------------


def test_linear_on_paper():
    dense = nn.Linear(2, 3).astype(np.float64)
    dense.weight.data[:] = [[1, 2, 3], [10, 20, 30]]
    dense.bias.data[:] = [0.5, 0, -0.5]
    x = np.array([[1.0, 2], [3, 4]])
    assert dense(x).tolist() == [[21.5, 42, 62.5], [43.5, 86, 128.5]]
    dx = dense.backward(np.array([[1.0, 0, 0], [0, 1, -1]]))
    assert dx.tolist() == [[1, 10], [-1, -10]]
    assert dense.weight.grad.tolist() == [[1, 3, -3], [2, 4, -4]]
    assert dense.bias.grad.tolist() == [1, 1, -1]


def test_linear_treats_leading_axes_alike():
    dense, x = nn.Linear(3, 2, rng=0).astype(np.float64), normal(4, 5, 3)
    y = dense(x)
    for t in range(5):
        np.testing.assert_allclose(y[:, t], dense(x[:, t]), rtol=1e-12)


def test_errors_of_linear():
    assert error_of(nn.Linear(3, 2), normal(4, 5)) == (
        "Linear(3, 2): expected an input (..., 3), got (4, 5)"
    )
    assert "got (3,)" in error_of(nn.Linear(3, 2), normal(3))


def test_flatten_runs_through_the_channels_first():
    x = np.arange(24).reshape(1, 2, 3, 4)
    flatten = nn.Flatten()
    y = flatten(x)
    assert y.shape == (1, 24)
    assert y[0, :5].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(flatten.backward(y), x)


# ---- activations and dropout --------------------------------------------------------------


def test_activations_on_paper():
    x = np.array([-np.inf, -1000.0, -1, 0, 1, 1000, np.inf])
    e = np.e
    np.testing.assert_allclose(
        nn.Sigmoid()(x), [0, 0, 1 / (1 + e), 0.5, e / (1 + e), 1, 1], rtol=1e-14
    )
    np.testing.assert_allclose(
        nn.Tanh()(x), [-1, -1, -(e - 1 / e) / (e + 1 / e), 0, (e - 1 / e) / (e + 1 / e), 1, 1]
    )
    np.testing.assert_array_equal(nn.ReLU()(x), [0, 0, 0, 0, 1, 1000, np.inf])


def test_relu_at_zero_has_slope_zero():
    relu = nn.ReLU()
    relu(np.array([-1.0, 0.0, 2.0]))
    assert relu.backward(np.array([5.0, 5.0, 5.0])).tolist() == [0, 0, 5]


def test_softmax_on_paper():
    softmax = nn.Softmax()
    y = softmax(np.log(np.array([[1.0, 2, 5], [4, 4, 8]])))
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]])
    dx = softmax.backward(np.array([[1.0, 0, 0], [0, 0, 4]]))  # y_k (dy_k − Σ dy y)
    np.testing.assert_allclose(dx, [[7 / 64, -2 / 64, -5 / 64], [-1 / 2, -1 / 2, 1]])


def test_softmax_of_huge_inputs():
    y = nn.Softmax()(np.array([[1e4, 1e4, -1e4], [-1e9, 0.0, 1e9]], np.float32))
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0], [0, 0, 1]])


def test_activations_keep_float32():
    for layer in (nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.Softmax(), nn.Dropout(0.3, rng=0)):
        y = layer(normal(3, 4).astype(np.float32))
        assert y.dtype == np.float32, layer
        assert layer.backward(np.ones_like(y)).dtype == np.float32, layer


def test_dropout_keeps_the_expectation_and_scales_what_stays():
    dropout, x = nn.Dropout(0.25, rng=0), np.full((200, 300), 3.0)
    y = dropout(x)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(dropout.backward(np.ones_like(x)), y / 3)


def test_dropout_does_nothing_in_use():
    dropout, x = nn.Dropout(0.9, rng=0).eval(), normal(3, 4)
    np.testing.assert_array_equal(dropout(x), x)
    np.testing.assert_array_equal(dropout.backward(x), x)


def test_dropout_draws_from_its_generator():
    x = np.ones((5, 7))
    one, other = nn.Dropout(0.5, rng=3), nn.Dropout(0.5, rng=3)
    np.testing.assert_array_equal(one(x), other(x))
    assert not np.array_equal(one(x), nn.Dropout(0.5, rng=3)(x))  # the second draw is another


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_error_of_dropout(p):
    assert f"0 <= p < 1, got {p}" in error_of(nn.Dropout, p)


# ---- what all layers promise --------------------------------------------------------------


def test_backward_without_a_forward_names_the_layer():
    for layer in (nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Linear(3, 2), nn.Tanh()):
        with pytest.raises(RuntimeError, match="backward without a forward") as error:
            layer.backward(np.ones((2, 3)))
        assert layer.describe() in str(error.value)


def test_weights_are_drawn_from_rng():
    for make in (lambda rng: nn.Conv3d(2, 3, 3, rng=rng), lambda rng: nn.Linear(4, 5, rng=rng)):
        np.testing.assert_array_equal(make(7).weight.data, make(7).weight.data)
        assert not np.array_equal(make(7).weight.data, make(8).weight.data)
        assert make(7).weight.data.dtype == np.float32
        assert not make(7).bias.data.any()


def test_an_empty_batch_passes_through():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.GlobalAvgPool(),
        nn.Linear(4, 5, rng=0),
    )
    y = network(np.zeros((0, 8, 8, 3), np.float32))
    assert y.shape == (0, 5)
    assert network.backward(y).shape == (0, 8, 8, 3)
    assert not network[0].weight.grad.any()
