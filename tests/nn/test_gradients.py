"""Every backward against finite differences, over fixed cases and drawn configurations."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import nn
from nn.gradcheck import __main__ as command
from nn.gradcheck.cases import CASES, Case

KERNELS = ("reference", "fast", "winograd")
few = hypothesis.settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


fewer = hypothesis.settings(few, max_examples=10)


def exported_modules():
    values = {name: getattr(nn, name) for name in nn.__all__}
    return [
        name
        for name, value in values.items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value is not nn.Module
    ]


@pytest.mark.parametrize("name", exported_modules())
def test_every_exported_module_has_cases(name):
    assert CASES.get(name), f"nn.{name} has no gradient check: add cases to nn/gradcheck/cases/"
    for case in CASES[name]:
        module, inputs = case.build()
        assert type(module) is getattr(nn, name)
        assert len(inputs) >= 1


def kernels_of(name):
    """Winograd's are for convolutions alone; elsewhere they would repeat the fast ones."""
    return KERNELS if name.startswith("Conv") else KERNELS[:2]


@pytest.mark.parametrize("name, kernels", [(n, k) for n in CASES for k in kernels_of(n)])
def test_all_cases_pass(name, kernels):
    for case in CASES[name]:
        module, inputs = case.build()
        with nn.kernels.using(kernels):
            report = nn.check_gradients(module, *inputs)
        assert report.passed, f"{kernels} kernels\n{report}"
        assert report.max_relative_error < 1e-8  # far below the tolerance, as it should be
        assert {row.name for row in report.rows} >= {n for n, _ in module.named_parameters()}


# ---- configurations drawn by hypothesis ---------------------------------------------------


@st.composite
def windows(draw, axes, dilated):
    """(kernel, stride, padding, dilation, input size), one entry per axis, some of them equal."""
    kernel, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(axes):
        k = draw(st.integers(1, 3))
        d = draw(st.integers(1, 2)) if dilated else 1
        p = draw(st.integers(0, 2 if dilated else k // 2))
        extent = d * (k - 1) + 1
        smallest = max(1, extent - 2 * p)
        kernel.append(k)
        dilation.append(d)
        padding.append(p)
        stride.append(draw(st.integers(1, 3)))
        size.append(draw(st.integers(smallest, smallest + 3)))
    return tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), tuple(size)


def assert_passes(module, *inputs, seed=0, **options):
    for kernels in KERNELS:
        with nn.kernels.using(kernels):
            report = nn.check_gradients(module, *inputs, seed=seed, **options)
        assert report.passed, f"{kernels} kernels\n{report}"


@pytest.mark.parametrize("axes", [1, 2, 3])
@few
@hypothesis.given(data=st.data())
def test_convolution_in_any_configuration(axes, data):
    kernel, stride, padding, dilation, size = data.draw(windows(axes, dilated=True))
    groups = data.draw(st.integers(1, 3))
    C_in, C_out = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    N, seed = data.draw(st.integers(1, 2)), data.draw(st.integers(0, 99))
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
        C_in,
        C_out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=data.draw(st.booleans()),
        rng=seed,
    )
    x = np.random.default_rng(seed).standard_normal((N, *size, C_in))
    assert_passes(conv, x, seed=seed, elements=8)


@pytest.mark.parametrize("axes", [1, 2, 3])
@few
@hypothesis.given(data=st.data())
def test_same_padding_keeps_the_size(axes, data):
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(axes))
    dilation = tuple(data.draw(st.integers(1, 2)) for _ in range(axes))
    size = tuple(data.draw(st.integers(1, 4)) for _ in range(axes))
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
        2, 3, kernel, padding="same", dilation=dilation, rng=0
    )
    x = np.random.default_rng(1).standard_normal((2, *size, 2))
    assert conv(x).shape == (2, *size, 3)
    assert_passes(conv, x, elements=6)


@pytest.mark.parametrize("axes", [1, 2, 3])
@fewer
@hypothesis.given(data=st.data())
def test_transposed_convolution_in_any_configuration(axes, data):
    def on_each_axis(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, dilation = on_each_axis(1, 3), on_each_axis(1, 3), on_each_axis(1, 3)
    room = [max(pair) - 1 for pair in zip(stride, dilation, strict=True)]
    output_padding = tuple(data.draw(st.integers(0, most)) for most in room)
    size, groups = on_each_axis(2, 3), data.draw(st.integers(1, 2))
    reach = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
    ]
    padding = tuple(data.draw(st.integers(0, min(2, (r - 1) // 2))) for r in reach)
    C_in, C_out = (groups * data.draw(st.integers(1, 2)) for _ in range(2))
    layer = getattr(nn, f"ConvTranspose{axes}d")(
        C_in,
        C_out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=output_padding,
        bias=data.draw(st.booleans()),
        rng=0,
    )
    x = np.random.default_rng(1).standard_normal((2, *size, C_in))
    assert layer(x).shape == (2, *layer.output_size(size), C_out)
    assert_passes(layer, x, elements=8)


@fewer
@hypothesis.given(
    kind=st.sampled_from(["batch", "batch in use", "layer", "group"]),
    N=st.integers(2, 3),
    size=st.lists(st.integers(1, 3), max_size=3),
    groups=st.integers(1, 3),
    per_group=st.integers(2, 3),
)
def test_norms_with_any_axes(kind, N, size, groups, per_group):
    C = groups * per_group
    rng = np.random.default_rng(C)
    norm = {"layer": nn.LayerNorm(C), "group": nn.GroupNorm(groups, C)}.get(kind, nn.BatchNorm(C))
    if kind == "batch in use":
        norm.eval().running_var[:] = rng.uniform(0.5, 2, C)
    # Of two values only the sign of their difference is left: no slope to speak of. An eps that
    # is not tiny keeps one.
    norm.eps = 0.1
    assert_passes(norm, 1 + 2 * rng.standard_normal((N, *size, C)), elements=12)


@pytest.mark.parametrize("axes", [2, 3])
@fewer
@hypothesis.given(data=st.data())
def test_upsampling_by_any_factor(axes, data):
    scale, size = (tuple(data.draw(st.integers(1, 3)) for _ in range(axes)) for _ in range(2))
    layer = getattr(nn, f"Upsample{axes}d")(
        scale, data.draw(st.sampled_from(["nearest", "linear"]))
    )
    x = np.random.default_rng(2).standard_normal((2, *size, 2))
    assert layer(x).shape == (2, *(n * s for n, s in zip(size, scale, strict=True)), 2)
    assert_passes(layer, x, elements=12)


@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@few
@hypothesis.given(data=st.data())
def test_pooling_in_any_configuration(kind, axes, data):
    kernel, stride, padding, _, size = data.draw(windows(axes, dilated=False))
    C, N, seed = (data.draw(st.integers(1, n)) for n in (3, 2, 99))
    pool = getattr(nn, f"{kind}{axes}d")(kernel, stride=stride, padding=padding)
    x = np.random.default_rng(seed).standard_normal((N, *size, C))
    if data.draw(st.booleans()):
        x = np.round(x)  # ties
    assert_passes(pool, x, seed=seed, elements=12)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@fewer
@hypothesis.given(data=st.data())
def test_recurrence_in_any_configuration(name, data):
    N, T, D, H, layers = (data.draw(st.integers(1, most)) for most in (2, 4, 3, 3, 2))
    both_ways, output_size = data.draw(st.booleans()), data.draw(st.sampled_from([None, 2]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = getattr(nn, name)
    layer = kind(D, H, output_size, num_layers=layers, bidirectional=both_ways, rng=rng)
    state = mask = None
    if data.draw(st.booleans()):
        shape = (layers * (1 + both_ways), N, H)
        state = rng.standard_normal(shape)
        state = (state, rng.standard_normal(shape)) if name == "LSTM" else state
    if data.draw(st.booleans()):
        mask = rng.random((N, T)) < 0.6
    report = nn.check_gradients(layer, rng.standard_normal((N, T, D)), state, mask, elements=8)
    assert report.passed, report


@few
@hypothesis.given(
    leading=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    D_in=st.integers(1, 5),
    D_out=st.integers(1, 5),
    bias=st.booleans(),
)
def test_linear_with_any_leading_axes(leading, D_in, D_out, bias):
    x = np.random.default_rng(D_in).standard_normal((*leading, D_in))
    assert_passes(nn.Linear(D_in, D_out, bias=bias, rng=D_out), x)


@few
@hypothesis.given(
    leading=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    K=st.integers(1, 5),
    smoothing=st.sampled_from([0.0, 0.3]),
    weighted=st.booleans(),
    soft=st.booleans(),
    ignore=st.booleans(),
)
def test_cross_entropy_with_any_options(leading, K, smoothing, weighted, soft, ignore):
    rng = np.random.default_rng(K)
    logits = 3 * rng.standard_normal((*leading, K))
    labels = rng.dirichlet(np.ones(K), leading) if soft else rng.integers(0, K, leading)
    loss = nn.CrossEntropyLoss(
        label_smoothing=smoothing,
        weight=rng.uniform(0.5, 2.0, K) if weighted else None,
        ignore_index=0 if ignore else None,
    )
    assert_passes(loss, logits, labels)


@few
@hypothesis.given(data=st.data())
def test_attention_in_any_configuration(data):
    N, H, T_q, T_k, D, D_v = (data.draw(st.integers(1, n)) for n in (2, 2, 5, 6, 4, 3))
    name = data.draw(st.sampled_from(["dot", "scaled_dot", "cosine", "general", "additive"]))
    lean = name != "additive" and data.draw(st.booleans())
    leading = (N, H) if data.draw(st.booleans()) else (N,)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    q, k, v = (rng.standard_normal((*leading, *size)) for size in ((T_q, D), (T_k, D), (T_k, D_v)))
    whole = (N, leading[1] if len(leading) > 1 else 1, T_q, T_k)
    kept = [data.draw(st.booleans()) for _ in whole]
    mask = rng.random([n if keep else 1 for n, keep in zip(whole, kept, strict=True)]) < 0.7
    mask = data.draw(st.sampled_from([None, mask]))
    causal = data.draw(st.booleans())
    assert_passes(nn.Attention(name, D, lean=lean, rng=0), q, k, v, mask, causal, elements=12)
    degree = nn.AttentionDegree(name, D, rng=0)
    assert_passes(degree, q, k, mask, causal, elements=12)


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
@fewer
@hypothesis.given(data=st.data())
def test_transformer_layers_in_any_configuration(kind, data):
    heads = data.draw(st.integers(1, 3))
    D = heads * data.draw(st.integers(4, 5) if heads == 1 else st.integers(2, 3))
    N, T, T_m = 2, data.draw(st.integers(1, 4)), 3
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    layer = getattr(nn, f"Transformer{kind}Layer")(
        D,
        heads,
        hidden=data.draw(st.integers(1, 5)),
        dropout=data.draw(st.sampled_from([0.0, 0.3])),
        activation="gelu",
        norm_first=data.draw(st.booleans()),
        lean=data.draw(st.booleans()),
        rng=rng,
    )
    for _, module in layer.named_modules():
        if isinstance(module, nn.LayerNorm):  # few channels may be almost equal
            module.eps = 0.1
    inputs = [rng.standard_normal((N, T, D))]
    masks = [data.draw(st.sampled_from([None, rng.random((N, 1, T, T)) < 0.7]))]
    if kind == "Decoder":
        inputs.append(rng.standard_normal((N, T_m, D)))
        masks.append(rng.random((N, heads, 1, T_m)) < 0.7)
    assert_passes(layer, *inputs, *masks, data.draw(st.booleans()), elements=6)


def test_a_network_with_every_kind_of_layer():
    rng = np.random.default_rng(3)
    network = nn.Sequential(
        nn.Conv3d(2, 4, (3, 2, 3), stride=(1, 2, 1), padding=(1, 0, 1), rng=rng),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(4, 4, (1, 3, 1), padding="same", groups=2, rng=rng),
        nn.Tanh(),
        nn.AvgPool3d((2, 1, 2), stride=1),
        nn.Dropout(0.3, rng=rng),
        nn.GlobalAvgPool(),
        nn.Linear(4, 5, rng=rng),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(5, 3, rng=rng),
        nn.Softmax(),
    )
    assert_passes(network, rng.standard_normal((2, 3, 8, 5, 2)), elements=20)


def test_a_network_with_ways_back_up():
    """What parts and meets, goes down and up, and measures its own means."""
    rng = np.random.default_rng(4)
    network = nn.Sequential(
        nn.Conv3d(2, 4, (1, 3, 2), stride=(1, 2, 1), rng=rng),
        nn.BatchNorm(4),
        nn.LeakyReLU(0.2),
        nn.Residual(nn.Conv3d(4, 4, 3, padding="same", rng=rng), nn.GroupNorm(2, 4), nn.SiLU()),
        nn.ConvTranspose3d(4, 2, 2, stride=(1, 2, 1), output_padding=(0, 1, 0), rng=rng),
        nn.GELU(),
        nn.Upsample3d((2, 1, 1), mode="linear"),
        nn.LayerNorm(2),
        nn.Upsample3d((1, 1, 2)),
        nn.Conv3d(2, 3, 1, rng=rng),
    )
    assert_passes(network, rng.standard_normal((2, 2, 5, 3, 2)), elements=12)


# ---- the command --------------------------------------------------------------------------


def test_command_passes_one_layer(capsys):
    assert command.main(["--layer", "Linear", "--kernels", "reference"]) == 0
    printed = capsys.readouterr().out
    assert "all passed" in printed
    assert "weight" in printed  # the tables of the one layer


def test_command_fails_with_a_table_and_a_count(capsys, monkeypatch):
    class Tanh(nn.Tanh):
        def backward(self, dy, need_input_grad=True):
            return -super().backward(dy)

    wrong = Case(lambda rng: Tanh(), lambda rng: (rng.standard_normal((2, 3)),))
    monkeypatch.setitem(CASES, "Tanh", [wrong, *CASES["Tanh"]])
    monkeypatch.setattr(command, "CASES", {"Tanh": CASES["Tanh"], "Linear": CASES["Linear"]})
    assert command.main(["--kernels", "reference"]) == 1
    printed = capsys.readouterr().out
    assert "1 FAILED" in printed
    assert "finite differences say" in printed
    assert "all passed" not in printed


def test_command_names_the_layers_it_knows(capsys):
    with pytest.raises(SystemExit) as exit:
        command.main(["--layer", "Lineal"])
    assert exit.value.code == 2
    assert "no layer 'Lineal'" in capsys.readouterr().err
