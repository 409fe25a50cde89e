"""Every layer beside PyTorch's: values, and the gradients of the input and all parameters."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")

# (kernels, dtype, largest difference as a share of the largest entry)
RUNS = [
    pytest.param("reference", np.float64, 1e-12, id="reference-float64"),
    pytest.param("fast", np.float64, 1e-12, id="fast-float64"),
    pytest.param("fast", np.float32, 5e-6, id="fast-float32"),
]
on_all_runs = pytest.mark.parametrize(("kernels", "dtype", "tolerance"), RUNS)


def channels_first(array):
    """(N, *S, C) → a PyTorch tensor (N, C, *S)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def channels_last(tensor):
    """A PyTorch tensor (N, C, *S) → (N, *S, C)."""
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def taps_last(weight):
    """A convolution weight (*K, C_in, C_out) → PyTorch's (C_out, C_in, *K)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(weight, (-1, -2), (0, 1))))


def taps_first(tensor):
    """PyTorch's (C_out, C_in, *K) → (*K, C_in, C_out)."""
    return np.moveaxis(tensor.detach().numpy(), (0, 1), (-1, -2))


def assert_close(ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    difference = np.abs(ours - theirs).max(initial=0.0)
    assert difference <= tolerance * max(np.abs(theirs).max(initial=0.0), 1e-3), difference


def assert_same(
    layer, function, x, kernels, tolerance, to_torch=channels_first, back=channels_last
):
    """Value and input gradient of `layer` and of PyTorch's `function`, for a random upstream."""
    with nn.kernels.using(kernels):
        y = layer(x)
        dy = np.random.default_rng(5).standard_normal(y.shape).astype(x.dtype)
        dx = layer.backward(dy)
    their_x = to_torch(x).requires_grad_()
    their_y = function(their_x)
    their_y.backward(to_torch(dy))
    assert_close(y, back(their_y), tolerance)
    assert_close(dx, back(their_x.grad), tolerance)


def assert_same_convolution(conv, x, options, kernels, tolerance):
    conv.bias.data[:] = np.random.default_rng(4).standard_normal(conv.bias.shape)
    weight = taps_last(conv.weight.data).requires_grad_()
    bias = torch.from_numpy(conv.bias.data.copy()).requires_grad_()
    function = getattr(torch.nn.functional, f"conv{conv.axes}d")
    assert_same(conv, lambda x: function(x, weight, bias, **options), x, kernels, tolerance)
    assert_close(conv.weight.grad, taps_first(weight.grad), tolerance)
    assert_close(conv.bias.grad, bias.grad.numpy(), tolerance)


CONVOLUTIONS = [
    ((7,), 3, {}),
    ((11,), 4, dict(stride=3, padding=2)),
    ((12,), 3, dict(stride=2, padding=1, dilation=3, groups=2)),
    ((6, 9), (2, 3), {}),
    ((7, 8), (3, 2), dict(stride=(2, 3), padding=(1, 2))),
    ((9, 10), (2, 3), dict(dilation=(3, 2), padding=1)),
    ((5, 7), 3, dict(padding=1, groups=2)),
    ((8, 5), (3, 1), dict(stride=(1, 2), groups=4)),
    ((5, 6), (4, 2), dict(padding="same")),
    ((7, 5), (2, 3), dict(padding="same", dilation=2)),
    ((4, 6, 5), (2, 3, 2), {}),
    ((5, 6, 7), (3, 2, 3), dict(stride=(1, 2, 3), padding=(1, 0, 2))),
    ((6, 5, 5), (2, 1, 3), dict(dilation=(3, 1, 2), groups=2)),
    ((4, 3, 5), (1, 2, 4), dict(padding="same", groups=4)),
]


@on_all_runs
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # PyTorch's copy
@pytest.mark.parametrize(("size", "kernel", "options"), CONVOLUTIONS)
def test_convolution(size, kernel, options, kernels, dtype, tolerance):
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(size) - 1]
    conv = layer(4, 8, kernel, rng=1, **options).astype(dtype)
    x = np.random.default_rng(2).standard_normal((3, *size, 4)).astype(dtype)
    assert_same_convolution(conv, x, options, kernels, tolerance)


@on_all_runs
@pytest.mark.parametrize("channels", [(3, 32), (32, 33), (17, 5)])
def test_convolution_with_channels_that_fill_registers(channels, kernels, dtype, tolerance):
    C_in, C_out = channels
    conv = nn.Conv2d(C_in, C_out, 3, padding=1, rng=1).astype(dtype)
    x = np.random.default_rng(2).standard_normal((2, 9, 11, C_in)).astype(dtype)
    assert_same_convolution(conv, x, dict(padding=1), kernels, tolerance)


@on_all_runs
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(4,), (2, 3, 5)])
def test_linear(leading, bias, kernels, dtype, tolerance):
    dense = nn.Linear(5, 3, bias=bias, rng=0).astype(dtype)
    if bias:
        dense.bias.data[:] = [0.5, -1, 2]
    theirs = torch.nn.Linear(5, 3, bias=bias, dtype=getattr(torch, np.dtype(dtype).name))
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(dense.weight.data.T.copy()))
        if bias:
            theirs.bias.copy_(torch.from_numpy(dense.bias.data))
    x = np.random.default_rng(1).standard_normal((*leading, 5)).astype(dtype)
    assert_same(
        dense, theirs, x, kernels, tolerance, torch.from_numpy, lambda t: t.detach().numpy()
    )
    assert_close(dense.weight.grad, theirs.weight.grad.numpy().T, tolerance)
    if bias:
        assert_close(dense.bias.grad, theirs.bias.grad.numpy(), tolerance)


POOLS = [
    ((9,), 2, None, 0),
    ((10,), 3, 2, 1),
    ((8,), 2, 3, 0),
    ((6, 7), (2, 3), None, 0),
    ((7, 8), (3, 2), (2, 1), (1, 0)),
    ((9, 6), 3, 1, 1),
    ((4, 6, 5), (2, 3, 2), None, 0),
    ((5, 6, 7), (3, 2, 4), (2, 1, 3), (1, 1, 2)),
]


@on_all_runs
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), POOLS)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind, size, kernel, stride, padding, ties, kernels, dtype, tolerance):
    axes = len(size)
    pool = getattr(nn, f"{kind.title()}Pool{axes}d")(kernel, stride=stride, padding=padding)
    function = getattr(torch.nn.functional, f"{kind}_pool{axes}d")
    x = np.random.default_rng(3).standard_normal((2, *size, 3)).astype(dtype)
    if ties:
        x = np.round(x)
    options = dict(kernel_size=kernel, stride=stride, padding=padding)
    assert_same(pool, lambda x: function(x, **options), x, kernels, tolerance)


@on_all_runs
@pytest.mark.parametrize("size", [(7,), (3, 5), (2, 5, 3)])
def test_global_average(size, kernels, dtype, tolerance):
    x = np.random.default_rng(3).standard_normal((2, *size, 4)).astype(dtype)
    axes = tuple(range(2, 2 + len(size)))
    assert_same(
        nn.GlobalAvgPool(), lambda x: x.mean(axes), x, kernels, tolerance, back=last_or_plain
    )


def last_or_plain(tensor):
    return channels_last(tensor) if tensor.ndim > 2 else tensor.detach().numpy()


@on_all_runs
@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.Sigmoid, torch.sigmoid),
        (nn.Tanh, torch.tanh),
        (nn.ReLU, torch.relu),
        (nn.Softmax, lambda x: torch.softmax(x, dim=-1)),
    ],
    ids=["Sigmoid", "Tanh", "ReLU", "Softmax"],
)
def test_activations(layer, function, kernels, dtype, tolerance):
    x = 3 * np.random.default_rng(3).standard_normal((2, 3, 7)).astype(dtype)
    x[0, 0, :4] = [0, -30, 30, 0]
    plain = dict(to_torch=torch.from_numpy, back=lambda tensor: tensor.detach().numpy())
    assert_same(layer(), function, x, kernels, tolerance, **plain)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_scales_like_pytorch(training):
    """The masks differ, what is done with one does not: x / (1 − p) or 0, and nothing in use."""
    x = np.random.default_rng(3).standard_normal((4, 50))
    ours = nn.Dropout(0.3, rng=0).train(training)(x)
    theirs = torch.nn.functional.dropout(torch.from_numpy(x), 0.3, training).numpy()
    both = (ours != 0) & (theirs != 0)
    assert both.sum() > 50
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-15)
    assert (ours == 0).any() == (theirs == 0).any() == training
