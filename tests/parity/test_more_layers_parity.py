"""Transposed convolution, norms, embeddings, up-sampling and more activations beside PyTorch's:
values, gradients of the input and of all parameters, and running statistics."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

# (kernels, dtype, largest difference as a share of the largest entry)
RUNS = [
    pytest.param("reference", np.float64, 1e-12, id="reference-float64"),
    pytest.param("fast", np.float64, 1e-12, id="fast-float64"),
    pytest.param("fast", np.float32, 1e-5, id="fast-float32"),
]
on_all_runs = pytest.mark.parametrize(("kernels", "dtype", "tolerance"), RUNS)
on_both_dtypes = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"]
)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def tensor(array):
    """A PyTorch tensor with the same axes, whose gradient will be asked for."""
    return torch.from_numpy(np.array(array, order="C")).requires_grad_()


def channels_first(t):
    return t.movedim(-1, 1)


def channels_last(t):
    return t.movedim(1, -1)


def assert_close(ours, theirs, tolerance, what):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    difference = np.abs(ours - theirs).max(initial=0.0)
    assert difference <= tolerance * max(np.abs(theirs).max(initial=0.0), 1e-3), (what, difference)


def assert_same(layer, function, x, tolerance, rng, kernels="fast"):
    """Our layer and PyTorch's function of (x, parameters by name), with our axes outside: the
    value, and the gradients of x and of each parameter for a random upstream gradient."""
    for parameter in layer.parameters():  # no biases of 0, no gains of 1
        parameter.data[...] += rng.uniform(-0.5, 0.5, parameter.shape)
    with nn.kernels.using(kernels):
        y = layer(x)
        dy = rng.standard_normal(y.shape).astype(x.dtype)
        dx = layer.backward(dy)
    parameters = {name: tensor(p.data) for name, p in layer.named_parameters()}
    their_x = tensor(x)
    their_y = function(their_x, **parameters)
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    assert_close(dx, their_x.grad, tolerance, "dx")
    for name, p in layer.named_parameters():
        assert_close(p.grad, parameters[name].grad, tolerance, name)


# ---- transposed convolution ---------------------------------------------------------------

TRANSPOSED = [
    ((6,), 3, {}),
    ((5,), 4, dict(stride=3, padding=2)),
    ((5,), 3, dict(stride=2, padding=1, output_padding=1)),
    ((4,), 2, dict(stride=3, output_padding=2)),
    ((4,), 3, dict(stride=2, padding=1, dilation=4, output_padding=3)),  # above the stride
    ((1,), 5, dict(stride=2, padding=2, groups=2)),
    ((3, 5), (2, 3), dict(bias=False)),
    ((4, 3), (3, 4), dict(stride=(2, 3), padding=(1, 2), output_padding=(1, 0))),
    ((3, 4), (2, 3), dict(stride=(3, 2), padding=(0, 1), output_padding=(2, 1), groups=4)),
    ((4, 2), 2, dict(dilation=(3, 2), stride=(1, 2), output_padding=(2, 0), groups=2)),
    ((2, 3, 4), (2, 3, 2), {}),
    ((3, 2, 3), (3, 2, 4), dict(stride=(1, 2, 3), padding=(1, 0, 2), output_padding=(0, 1, 2))),
    ((2, 3, 1), (1, 2, 3), dict(dilation=(1, 3, 2), stride=2, padding=1, groups=2)),
]


@on_all_runs
@pytest.mark.parametrize(("size", "kernel", "options"), TRANSPOSED)
def test_transposed_convolution(size, kernel, options, kernels, dtype, tolerance, rng):
    axes = len(size)
    layer = getattr(nn, f"ConvTranspose{axes}d")(4, 8, kernel, rng=1, **options).astype(dtype)
    theirs = getattr(F, f"conv_transpose{axes}d")
    options = {name: value for name, value in options.items() if name != "bias"}

    def function(x, weight, bias=None):
        taps_last = weight.movedim((-1, -2), (0, 1))  # (C_in, C_out // groups, *K)
        return channels_last(theirs(channels_first(x), taps_last, bias, **options))

    x = rng.standard_normal((3, *size, 4)).astype(dtype)
    assert layer(x).shape[1:-1] == layer.output_size(size)
    layer.forget()
    assert_same(layer, function, x, tolerance, rng, kernels)


@on_all_runs
@pytest.mark.parametrize("channels", [(3, 32), (33, 17)])
def test_transposed_convolution_that_fills_registers(channels, kernels, dtype, tolerance, rng):
    layer = nn.ConvTranspose2d(*channels, 4, stride=2, padding=1, rng=1).astype(dtype)

    def function(x, weight, bias):
        weight = weight.movedim((-1, -2), (0, 1))
        y = F.conv_transpose2d(channels_first(x), weight, bias, stride=2, padding=1)
        return channels_last(y)

    x = rng.standard_normal((2, 7, 9, channels[0])).astype(dtype)
    assert_same(layer, function, x, tolerance, rng, kernels)


# ---- norms --------------------------------------------------------------------------------

SIZES = [(), (7,), (3, 5), (2, 1, 5)]


def off_centre(rng, shape, dtype):
    return (1.5 + 2 * rng.standard_normal(shape)).astype(dtype)


@on_both_dtypes
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(size, training, dtype, tolerance, rng):
    norm = nn.BatchNorm(4, momentum=0.3, eps=1e-3).astype(dtype).train(training)
    norm.running_mean[:] = rng.standard_normal(4)
    norm.running_var[:] = rng.uniform(0.5, 2, 4)
    mean, var = (torch.from_numpy(a.copy()) for a in (norm.running_mean, norm.running_var))

    def function(x, weight, bias):
        x = channels_first(x) if size else x
        y = F.batch_norm(x, mean, var, weight, bias, training, momentum=0.3, eps=1e-3)
        return channels_last(y) if size else y

    for _ in range(4):  # several batches, so that the running statistics move
        x = off_centre(rng, (5, *size, 4), dtype)
        norm.zero_grad()
        assert_same(norm, function, x, tolerance, rng)
        assert_close(norm.running_mean, mean, tolerance, "running mean")
        assert_close(norm.running_var, var, tolerance, "running variance")


@on_both_dtypes
@pytest.mark.parametrize("leading", [(6,), (2, 5), (2, 3, 1, 4)])
def test_layer_norm(leading, dtype, tolerance, rng):
    norm = nn.LayerNorm(7, eps=1e-3).astype(dtype)

    def function(x, weight, bias):
        return F.layer_norm(x, (7,), weight, bias, eps=1e-3)

    assert_same(norm, function, off_centre(rng, (*leading, 7), dtype), tolerance, rng)


@on_both_dtypes
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(size, groups, dtype, tolerance, rng):
    if groups == 6 and not size:
        pytest.skip("one value has no variance, and PyTorch refuses it")
    norm = nn.GroupNorm(groups, 6, eps=1e-3).astype(dtype)

    def function(x, weight, bias):
        return channels_last(F.group_norm(channels_first(x), groups, weight, bias, eps=1e-3))

    assert_same(norm, function, off_centre(rng, (3, *size, 6), dtype), tolerance, rng)


# ---- embedding ----------------------------------------------------------------------------


@on_both_dtypes
@pytest.mark.parametrize("shape", [(), (9,), (3, 5), (2, 3, 4)])
def test_embedding(shape, dtype, tolerance, rng):
    layer = nn.Embedding(6, 4, rng=0).astype(dtype)
    ids = rng.integers(0, 6, shape)
    weight = tensor(layer.weight.data)
    y, their_y = layer(ids), F.embedding(torch.from_numpy(np.asarray(ids)), weight)
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert layer.backward(dy) is None
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, 0, "y")
    assert_close(layer.weight.grad, weight.grad, tolerance, "dW")


# ---- up-sampling --------------------------------------------------------------------------


@on_both_dtypes
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((3, 5), 2),
        ((4, 2), (3, 1)),
        ((1, 4), (2, 5)),
        ((1, 1), 3),
        ((3, 2, 4), 2),
        ((2, 1, 3), (1, 4, 3)),
    ],
)
def test_upsampling(size, scale, mode, dtype, tolerance, rng):
    layer = getattr(nn, f"Upsample{len(size)}d")(scale, mode=mode)
    names = {"nearest": "nearest", "linear": ("bilinear", "trilinear")[len(size) - 2]}
    options = dict(align_corners=False) if mode == "linear" else {}

    def function(x):
        factors = tuple(map(float, layer.scale))
        x = channels_first(x)
        return channels_last(F.interpolate(x, scale_factor=factors, mode=names[mode], **options))

    x = rng.standard_normal((2, *size, 3)).astype(dtype)
    assert_same(layer, function, x, tolerance, rng)


# ---- activations --------------------------------------------------------------------------


@on_all_runs
@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.LeakyReLU(), F.leaky_relu),
        (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)),
        (nn.GELU(), F.gelu),
        (nn.SiLU(), F.silu),
    ],
    ids=["LeakyReLU", "LeakyReLU(0.3)", "GELU", "SiLU"],
)
def test_activations(layer, function, kernels, dtype, tolerance, rng):
    x = (3 * rng.standard_normal((2, 3, 7))).astype(dtype)
    x[0, 0, :4] = [0, -30, 30, -6]
    assert_same(layer, function, x, tolerance, rng, kernels)


# ---- a block of several -------------------------------------------------------------------


@on_all_runs
def test_residual_block(kernels, dtype, tolerance, rng):
    """Two ways that part and meet, one of them through a norm."""
    block = nn.Residual(
        nn.Conv2d(3, 4, 3, padding="same", rng=rng),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        shortcut=nn.Conv2d(3, 4, 1, rng=rng),
    ).astype(dtype)

    def function(x, **p):
        p = {name.replace(".", "_"): t for name, t in p.items()}
        x = channels_first(x)
        kernel = p["body_0_weight"].movedim((-1, -2), (0, 1))
        z = F.conv2d(x, kernel, p["body_0_bias"], padding=1)
        z = F.silu(F.group_norm(z, 2, p["body_1_weight"], p["body_1_bias"]))
        kernel = p["shortcut_weight"].movedim((-1, -2), (0, 1))
        return channels_last(z + F.conv2d(x, kernel, p["shortcut_bias"]))

    x = rng.standard_normal((2, 5, 4, 3)).astype(dtype)
    assert_same(block, function, x, tolerance, rng, kernels)
