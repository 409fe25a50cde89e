"""Transposed convolution by hand: stamps on paper, the adjoint of convolution, errors."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn


@pytest.fixture(params=["reference", "fast"], autouse=True)
def kernels(request):
    with nn.kernels.using(request.param):
        yield request.param


def row(*values):
    """(1, T, 1)"""
    return np.array(values, dtype=np.float64).reshape(1, -1, 1)


def inner(a, b):
    assert a.shape == b.shape
    return float((a * b).sum())


def stamp(*weights, **options):
    """A ConvTranspose1d of one channel with the given taps and no bias."""
    layer = nn.ConvTranspose1d(1, 1, len(weights), bias=False, **options).astype(np.float64)
    layer.weight.data[:, 0, 0] = weights
    return layer


def test_stamps_overlap_and_add_up():
    y = stamp(1, 10, 100)(row(1, 2, 3))
    #  1 10 100 + 2 20 200 + 3 30 300, each one place further
    assert y.ravel().tolist() == [1, 12, 123, 230, 300]


def test_transposed_convolution_on_paper():
    apart = stamp(1, 10, stride=3, output_padding=2)(row(1, 2))
    assert apart.ravel().tolist() == [1, 10, 0, 2, 20, 0, 0]  # two places that no stamp reaches
    cut = stamp(1, 10, 100, stride=2, padding=1)(row(1, 2))
    assert cut.ravel().tolist() == [10, 102, 20]  # 1 and 200 fell off
    longer = stamp(1, 10, 100, stride=2, padding=1, output_padding=1)(row(1, 2))
    assert longer.ravel().tolist() == [10, 102, 20, 200]
    spread = stamp(1, 10, dilation=2)(row(1, 2, 3))
    assert spread.ravel().tolist() == [1, 2, 13, 20, 30]


def test_transposed_convolution_backward_on_paper():
    layer = nn.ConvTranspose1d(1, 1, 2, stride=2, output_padding=1).astype(np.float64)
    layer.weight.data[:, 0, 0] = [1, 10]
    layer.bias.data[:] = 0.5
    y = layer(row(3, 4))
    assert y.ravel().tolist() == [3.5, 30.5, 4.5, 40.5, 0.5]
    dx = layer.backward(row(1, 2, 5, 7, 100))
    assert dx.ravel().tolist() == [1 + 20, 5 + 70]
    assert layer.weight.grad.ravel().tolist() == [3 * 1 + 4 * 5, 3 * 2 + 4 * 7]
    assert layer.bias.grad.tolist() == [115]  # the last place has no stamp, but the bias


@pytest.mark.parametrize(
    ("axes", "size", "options"),
    [
        (1, (9,), dict(kernel_size=4, stride=3, padding=2)),
        (2, (6, 7), dict(kernel_size=(2, 3), stride=(3, 2), padding=(0, 1))),
        (2, (7, 8), dict(kernel_size=(3, 2), dilation=(2, 3), groups=2)),
        (3, (4, 5, 6), dict(kernel_size=(2, 3, 1), stride=(1, 2, 3), padding=(1, 0, 0))),
    ],
)
def test_it_is_the_adjoint_of_convolution(axes, size, options):
    """<conv(x), y> = <x, convT(y)> for the same weights, whatever x and y."""
    conv = getattr(nn, f"Conv{axes}d")(4, 6, bias=False, rng=1, **options).astype(np.float64)
    x = normal(2, *size, 4)
    down = conv(x)
    plain = getattr(nn, f"ConvTranspose{axes}d")(6, 4, bias=False, **options)
    lost = np.subtract(size, plain.output_size(down.shape[1:-1]))  # sizes rounded down
    back = getattr(nn, f"ConvTranspose{axes}d")(
        6, 4, bias=False, output_padding=tuple(map(int, lost)), **options
    ).astype(np.float64)
    assert back.weight.shape == conv.weight.shape
    back.weight.data[:] = conv.weight.data
    y = normal(*down.shape, seed=2)
    assert back(y).shape == x.shape
    assert inner(down, y) == pytest.approx(inner(x, back(y)), rel=1e-12)
    np.testing.assert_allclose(back(y), conv.backward(y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [2, 3])
def test_output_padding_tells_sizes_apart_that_a_stride_made_equal(stride):
    """A stride of s makes one output size of s input sizes; output_padding picks one of them."""
    options = dict(kernel_size=3, stride=stride, padding=1)
    conv = nn.Conv1d(1, 1, **options)
    for size in range(7, 7 + 2 * stride):
        small = conv(np.zeros((1, size, 1))).shape[1]
        back = [
            nn.ConvTranspose1d(1, 1, output_padding=extra, **options).output_size((small,))[0]
            for extra in range(stride)
        ]
        assert back.count(size) == 1
        assert all(conv(np.zeros((1, s, 1))).shape[1] == small for s in back)
        conv.forget()


def test_groups_of_transposed_convolution_do_not_mix():
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False, rng=0).astype(np.float64)
    x = normal(1, 3, 4, 4)
    y = layer(x)
    x[..., 2:] = 0  # the second group's inputs
    np.testing.assert_array_equal(layer(x)[..., :3], y[..., :3])
    assert not layer(x)[..., 3:].any()


def test_shapes_and_dtypes_of_transposed_convolution():
    for dtype in (np.float32, np.float64):
        layer = nn.ConvTranspose3d(3, 2, (1, 2, 3), stride=(1, 2, 3), padding=(0, 0, 1), rng=0)
        layer.astype(dtype)
        x = normal(2, 3, 2, 4, 3).astype(dtype)
        y = layer(x)
        dx = layer.backward(np.ones_like(y))
        assert y.shape == (2, 3, 4, 10, 2)
        assert (y.dtype, dx.dtype, layer.weight.grad.dtype) == (dtype,) * 3
        assert dx.shape == x.shape


def test_first_weights_keep_the_size_of_a_signal():
    """Half of a ReLU's outputs are zero; He's weights make up for it, whatever the stride."""
    x = np.maximum(normal(4, 24, 24, 16), 0)
    for options in (dict(kernel_size=3), dict(kernel_size=4, stride=2), dict(kernel_size=6)):
        y = nn.ConvTranspose2d(16, 32, rng=0, **options).astype(np.float64)(x)
        assert np.mean(y[:, 8:-8, 8:-8] ** 2) == pytest.approx(2 * np.mean(x**2), rel=0.2)


def test_errors_of_transposed_convolution():
    layer = nn.ConvTranspose2d(3, 4, 3)
    assert error_of(layer, normal(2, 5, 3)) == (
        "ConvTranspose2d(3, 4, kernel_size=(3, 3)): expected an input (N, H, W, C) with C = 3 "
        "channels last, got (2, 5, 3)"
    )
    assert "C = 3 channels last, got (2, 3, 5, 4)" in error_of(layer, normal(2, 3, 5, 4))
    assert "padding cuts everything off" in error_of(
        nn.ConvTranspose1d(1, 1, 3, padding=2), row(1, 2)
    )
    for options in (dict(output_padding=1), dict(stride=2, output_padding=2, dilation=2)):
        message = error_of(nn.ConvTranspose1d, 2, 2, 3, **options)
        assert "must be less than stride" in message
    assert "groups=2 must divide both 4 input and 3 output" in error_of(
        nn.ConvTranspose1d, 4, 3, 3, groups=2
    )
    assert "padding must be an integer of at least 0" in error_of(
        nn.ConvTranspose1d, 1, 1, 3, padding="same"
    )
