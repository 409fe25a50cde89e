"""PyTorch's names and layouts, without PyTorch: axes, orders, names, and what is refused."""

import numpy as np
import pytest

import nn
from nn.flattening import feature_orders
from nn.interop import load_torch_state, torch_state
from video.models import FrameCNN


@pytest.fixture(autouse=True)
def plain_kernels():
    """Layouts are looked at here, not arithmetic."""
    with nn.kernels.using("reference"):
        yield


def scrambled(module, seed=0):
    """The same module, every parameter and buffer at random: none looks like another."""
    rng = np.random.default_rng(seed)
    for array in (*(p.data for p in module.parameters()), *dict(module.named_buffers()).values()):
        array[...] = rng.random(array.shape)
    return module


def assert_comes_back(build, input_shape=None):
    """What goes out and comes in again, into other weights, is what it was, bit by bit."""
    first, second = scrambled(build()), scrambled(build(), seed=1)
    state = torch_state(first, input_shape)
    load_torch_state(second, state, input_shape)
    for name, array in first.state_dict().items():
        assert np.array_equal(array, second.state_dict()[name]), name
    for name, array in torch_state(second, input_shape).items():
        assert np.array_equal(array, state[name]), name
        assert array.flags.c_contiguous
    return state


# ---- layouts --------------------------------------------------------------------------------

LAYOUTS = [
    (lambda: nn.Conv1d(4, 6, 5), (6, 4, 5)),
    (lambda: nn.Conv2d(4, 6, (5, 3), groups=2), (6, 2, 5, 3)),
    (lambda: nn.Conv3d(2, 3, (5, 4, 3)), (3, 2, 5, 4, 3)),
    (lambda: nn.ConvTranspose1d(4, 6, 5), (4, 6, 5)),
    (lambda: nn.ConvTranspose2d(4, 6, (5, 3), groups=2), (4, 3, 5, 3)),
    (lambda: nn.ConvTranspose3d(2, 3, (5, 4, 3)), (2, 3, 5, 4, 3)),
    (lambda: nn.Linear(4, 6, bias=False), (6, 4)),
    (lambda: nn.Embedding(9, 4), (9, 4)),
    (lambda: nn.LayerNorm(5), (5,)),
    (lambda: nn.GroupNorm(2, 6), (6,)),
]


@pytest.mark.parametrize(("build", "shape"), LAYOUTS)
def test_each_layer_in_its_layout(build, shape):
    state = assert_comes_back(build)
    assert state["weight"].shape == shape
    assert list(state) == list(build().state_dict())


def test_one_weight_by_hand():
    conv = nn.Conv2d(2, 3, (4, 5))
    weight = torch_state(scrambled(conv))["weight"]
    deconv = nn.ConvTranspose2d(2, 3, (4, 5))
    back = torch_state(scrambled(deconv))["weight"]
    for p, q, i, o in np.ndindex(4, 5, 2, 3):
        assert weight[o, i, p, q] == conv.weight.data[p, q, i, o]
        assert back[i, o, p, q] == deconv.weight.data[p, q, o, i]


def test_batch_norm_with_its_running_averages():
    state = assert_comes_back(lambda: nn.BatchNorm(5))
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert state["num_batches_tracked"].shape == () and state["num_batches_tracked"].dtype == int
    norm = nn.Sequential(nn.BatchNorm(5))
    state = {f"0.{name}": array for name, array in state.items()}
    load_torch_state(norm, {**state, "0.num_batches_tracked": np.array(77)})
    load_torch_state(norm, {k: v for k, v in state.items() if "tracked" not in k})  # may be absent
    assert np.array_equal(norm[0].running_var, state["0.running_var"])


def test_going_out_is_a_copy_and_coming_in_is_in_place():
    layer = scrambled(nn.LayerNorm(4))
    torch_state(layer)["weight"][:] = -1
    assert layer.weight.data.min() >= 0
    data = layer.weight.data
    load_torch_state(layer, {"weight": np.arange(4.0), "bias": np.zeros(4)})
    assert layer.weight.data is data and data.dtype == np.float32
    assert np.array_equal(data, np.arange(4))


def test_recurrent_layers_under_their_names():
    state = assert_comes_back(
        lambda: nn.Sequential(nn.LSTM(4, 3, num_layers=2, bidirectional=True))
    )
    names = [f"0.{kind}_l{level}{way}" for level in range(2) for way in ("", "_reverse")
             for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
    assert list(state) == names
    assert state["0.weight_ih_l1_reverse"].shape == (12, 6)
    assert not state["0.bias_hh_l1"].any() and state["0.bias_ih_l1"].all()
    assert assert_comes_back(lambda: nn.GRU(4, 3))["bias_hh_l0"].all()
    rnn = assert_comes_back(lambda: nn.RNN(4, 3, output_size=2))
    assert rnn["V"].shape == (3, 2) and rnn["c"].shape == (2,)
    assert list(assert_comes_back(lambda: nn.ConvLSTM2d(4, 3, 2)))[0] == "cells.0.U"


def test_two_biases_become_their_sum():
    lstm, ones = nn.LSTM(2, 3), np.ones(12, np.float32)
    state = torch_state(lstm) | {"bias_ih_l0": ones, "bias_hh_l0": 2 * ones}
    load_torch_state(lstm, state)
    assert (lstm.b.data == 3).all()
    del state["bias_hh_l0"]
    with pytest.raises(ValueError, match="LSTM: bias_hh_l0 is missing"):
        load_torch_state(lstm, state)


def test_flattened_features_reach_a_recurrent_layer_in_their_order():
    class Reader(nn.Module):
        def __init__(self):
            self.flatten, self.time = nn.Flatten(), nn.GRU(12, 2, bidirectional=True)

        def forward(self, x):  # (N, T, H, W, C)
            N, T = x.shape[:2]
            return self.time(self.flatten(x.reshape(N * T, *x.shape[2:])).reshape(N, T, -1))

    assert_comes_back(Reader, (5, 2, 3, 2))
    reader = Reader()
    state = torch_state(reader, (5, 2, 3, 2))
    order = np.arange(12).reshape(2, 3, 2).transpose(2, 0, 1).ravel()
    for cell, ending in zip(reader.time.cells, ("", "_reverse"), strict=True):
        assert np.array_equal(state[f"time.weight_ih_l0{ending}"], cell.U.data[order].T)


# ---- flattened images -----------------------------------------------------------------------


def small(H=4, W=3, C=2, out=5, between=()):
    return nn.Sequential(nn.Conv2d(3, C, 1), nn.Flatten(), *between, nn.Linear(H * W * C, out))


def test_the_rows_of_a_dense_layer_change_places():
    H, W, C = 4, 3, 2
    model = scrambled(small())
    there = torch_state(model, (H, W, 3))["2.weight"].reshape(5, C, H, W)
    here = model[2].weight.data.reshape(H, W, C, 5)
    for h, w, c, o in np.ndindex(H, W, C, 5):
        assert there[o, c, h, w] == here[h, w, c, o]
    assert_comes_back(small, (H, W, 3))


@pytest.mark.parametrize(
    "between",
    [
        (),
        (nn.ReLU(), nn.Dropout(0.5)),
        (nn.Sequential(nn.Tanh(), nn.Sequential()),),
        (nn.BatchNorm(24), nn.Sigmoid()),
        (nn.LayerNorm(24),),
    ],
    ids=lambda layers: " ".join(type(layer).__name__ for layer in layers) or "nothing",
)
def test_with_layers_between(between):
    """The state that goes out, used on an image flattened as PyTorch does, gives the same y."""
    H, W = 4, 3
    model = scrambled(small(between=between)).eval()
    state = torch_state(model, (H, W, 3))
    conv, flatten, *rest = model
    theirs = nn.Sequential(*rest)
    image = conv(np.random.default_rng(5).random((6, H, W, 3)).astype(np.float32))
    expected = theirs(flatten(image))
    straight = {f"{int(n[0]) - 2}{n[1:]}": array for n, array in state.items() if n[0] > "1"}
    load_torch_state(theirs, straight)  # no Flatten in it: rows stay as they come
    assert np.allclose(theirs(flatten(np.moveaxis(image, -1, 1))), expected, rtol=1e-5)
    assert_comes_back(lambda: small(between=between), (H, W, 3))


def orders_of(model, input_shape):
    """{name of a layer: {(array, axis)}} of what has another order."""
    names = {module: name for name, module in model.named_modules()}
    found = {}
    for layer, array, axis in feature_orders(model, input_shape):
        found.setdefault(names[layer], set()).add((array, axis))
    return found


class Heads(nn.Module):
    """Two images flattened, one of them read twice, and a dense layer that reads features."""

    def __init__(self):
        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, (2, 1))
        self.flatten = nn.Flatten()
        self.heads = [nn.Linear(24, 3), nn.Linear(24, 4)]
        self.other = nn.Linear(18, 18)
        self.last = nn.Linear(18, 3)

    def forward(self, x):
        a, b = self.flatten(self.a(x)), self.flatten(self.b(x))
        first, second = (head(a) for head in self.heads)
        return first + second[:, :3] + self.last(self.other(b))


def test_several_flattens_and_several_readers():
    rows = {("weight", 0)}
    assert orders_of(Heads(), (4, 3, 3)) == {"heads.0": rows, "heads.1": rows, "other": rows}
    assert_comes_back(Heads, (4, 3, 3))


def test_where_the_order_is_the_same():
    one_place = nn.Sequential(nn.Conv2d(3, 7, (4, 3)), nn.Flatten(), nn.Linear(7, 2))
    assert orders_of(one_place, (4, 3, 3)) == {}
    one_channel = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(12, 2))
    assert orders_of(one_channel, (4, 3, 3)) == {}
    sequence = nn.Sequential(nn.Embedding(9, 4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 2))
    assert orders_of(sequence, (5,)) == {}  # PyTorch has (N, T, D) too
    dense = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))
    assert orders_of(dense, (5, 6)) == {}
    residual = nn.Sequential(nn.Linear(6, 4), nn.Residual(nn.Tanh()), *dense[2:])
    assert orders_of(residual, (5, 6)) == {}


def test_an_image_without_convolution_is_flattened_in_another_order_too():
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 2))
    assert orders_of(model, (4, 3, 2)) == {"1": {("weight", 0)}}


def test_a_residual_image_is_still_an_image():
    model = nn.Sequential(nn.Residual(nn.Conv2d(2, 2, 1)), nn.Flatten(), nn.Linear(24, 2))
    assert orders_of(model, (4, 3, 2)) == {"2": {("weight", 0)}}


class FramesThenTime(nn.Module):
    """Each frame an image, flattened; then a convolution over time, and all of it flattened."""

    def __init__(self, averaged=False):
        self.frame = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
        self.time, self.averaged = nn.Conv1d(24, 4, 2), averaged
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        self.mean_head = nn.Linear(24, 3)

    def forward(self, x):
        N, T, H, W, C = x.shape
        frames = self.frame(x.reshape(N * T, H, W, C)).reshape(N, T, -1)
        if self.averaged:
            return self.mean_head(frames.mean(axis=1))
        return self.head(self.time(frames))


def test_flattened_frames_in_a_sequence():
    found = orders_of(FramesThenTime(), (5, 4, 3, 3))
    assert found == {"time": {("weight", -2)}, "head.1": {("weight", 0)}}
    assert_comes_back(FramesThenTime, (5, 4, 3, 3))
    averaged = FramesThenTime(averaged=True)
    assert orders_of(averaged, (5, 4, 3, 3)) == {"mean_head": {("weight", 0)}}


class AllFrames(nn.Module):
    """Each frame flattened, then the frames one behind the other: PyTorch has (T, C, H, W)."""

    def __init__(self):
        self.frame = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(5 * 24, 3))

    def forward(self, x):
        N, T, H, W, C = x.shape
        return self.head(self.frame(x.reshape(N * T, H, W, C)).reshape(N, T, -1))


def test_flattened_frames_flattened_again():
    model = scrambled(AllFrames())
    there = torch_state(model, (5, 4, 3, 3))["head.1.weight"].reshape(3, 5, 2, 4, 3)
    here = model.head[1].weight.data.reshape(5, 4, 3, 2, 3)
    assert np.array_equal(there, here.transpose(4, 0, 3, 1, 2))
    assert_comes_back(AllFrames, (5, 4, 3, 3))


class Decoder(nn.Module):
    """Features folded into an image, which is flattened's way back."""

    def __init__(self):
        self.encode = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(24, 5))
        self.dense, self.norm = nn.Linear(5, 4 * 3 * 6), nn.BatchNorm(72)
        self.decode = nn.ConvTranspose2d(6, 3, 2)

    def forward(self, x):
        h = self.norm(self.dense(self.encode(x)))
        return self.decode(h.reshape(-1, 4, 3, 6))


def test_features_folded_into_an_image():
    model = Decoder()
    norm = {(name, 0) for name in ("weight", "bias", "running_mean", "running_var")}
    assert orders_of(model, (4, 3, 3)) == {
        "encode.2": {("weight", 0)},
        "dense": {("weight", 1), ("bias", 0)},
        "norm": norm,
    }
    state = assert_comes_back(Decoder, (4, 3, 3))
    scrambled(model)
    there, here = state["dense.weight"].reshape(6, 4, 3, 5), model.dense.weight.data
    here = here.reshape(5, 4, 3, 6)
    assert np.array_equal(there, here.transpose(3, 1, 2, 0))


@pytest.mark.parametrize("after", [nn.Upsample2d(2), nn.MaxPool2d(2), nn.BatchNorm(2), nn.Tanh()])
def test_features_that_become_the_image_that_comes_out(after):
    class Draw(nn.Module):
        def __init__(self):
            self.dense, self.after = nn.Linear(5, 24), after

        def forward(self, x):
            return self.after(self.dense(x).reshape(-1, 4, 3, 2))

    assert orders_of(Draw(), (5,)) == {"dense": {("weight", 1), ("bias", 0)}}


class Doubled(nn.Module):
    """Arithmetic of its own before a convolution, while a flattened image waits."""

    def __init__(self):
        self.a, self.b, self.flatten = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Flatten()
        self.dense, self.halved = nn.Linear(24, 3), nn.Linear(48, 3)

    def forward(self, x):
        flat = self.flatten(self.a(x))
        other = self.flatten(self.b(x * 2))
        return self.dense(flat) + self.halved(other / 2)


def test_arithmetic_between_modules_keeps_the_order():
    rows = {("weight", 0)}
    assert orders_of(Doubled(), (4, 3, 3)) == {"dense": rows, "halved": rows}


def test_frame_cnn():
    shape = (2, 13, 10, 3)

    def build():
        return FrameCNN(5, size=(13, 10), frames=2, channels=(3, 6, 7, 11), rng=0)

    assert orders_of(build(), shape) == {"classifier.1": {("weight", 0)}}
    assert_comes_back(build, shape)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm(3), nn.Dropout(0.5), *small())
    model[1].eval()
    before = model.state_dict()
    torch_state(model, (4, 3, 3))
    assert [m.training for _, m in model.named_modules()] == [True, True, False, *[True] * 3]
    assert not any(m._saved for _, m in model.named_modules())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


# ---- names ----------------------------------------------------------------------------------


def shared():
    layer = nn.Linear(4, 4, rng=0)
    return nn.Sequential(layer, nn.Tanh(), layer)


def test_a_shared_module_has_all_its_names():
    model = scrambled(shared())
    state = torch_state(model)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert_comes_back(shared)
    other = shared()
    load_torch_state(other, {k: v for k, v in state.items() if k[0] == "2"})  # one name is enough
    assert np.array_equal(other[0].weight.data, model[0].weight.data)
    with pytest.raises(ValueError, match=r"2\.bias differs from 0\.bias, which is the same array"):
        load_torch_state(other, {**state, "2.bias": state["2.bias"] + 1})


def test_a_shared_parameter_has_all_its_names():
    def tied():
        model = nn.Sequential(nn.Linear(4, 4, rng=0), nn.Linear(4, 4, rng=1))
        model[1].weight = model[0].weight
        return model

    state = assert_comes_back(tied)
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert np.array_equal(state["0.weight"], state["1.weight"])


def refused(model, state, input_shape=None):
    """The message of the ValueError, which must be one line and leave the model as it was."""
    before = model.state_dict()
    with pytest.raises(ValueError) as error:
        load_torch_state(model, state, input_shape)
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_and_unknown_names_are_named():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4))
    state = torch_state(model)
    renamed = {name.replace("0.", "fc."): array for name, array in state.items()}
    assert refused(model, renamed) == (
        "interop: these weights do not fit Sequential: 0.weight is missing; 0.bias is missing; "
        "fc.weight is unknown; fc.bias is unknown"
    )
    assert "3.num_batches_tracked is unknown" in refused(
        model, {**state, "3.num_batches_tracked": np.array(1)}
    )
    many = {**renamed, **{f"extra{i}": np.zeros(1) for i in range(9)}}
    assert refused(model, many).endswith("extra1 is unknown (and 7 more)")


def test_shapes_are_named_as_pytorch_has_them():
    model = nn.Sequential(nn.Conv2d(2, 3, (4, 5), rng=0))
    state = torch_state(model)
    wrong = {**state, "0.weight": state["0.weight"].transpose(1, 0, 2, 3)}
    assert refused(model, wrong).endswith("0.weight has shape (2, 3, 4, 5), expected (3, 2, 4, 5)")
    flat = {**state, "0.weight": state["0.weight"].ravel(), "0.bias": np.zeros((3, 1))}
    message = refused(model, flat)
    assert "0.weight has shape (120,), expected (3, 2, 4, 5)" in message
    assert "0.bias has shape (3, 1), expected (3,)" in message


# ---- what is refused ------------------------------------------------------------------------


def test_a_flatten_needs_the_shape_of_the_input():
    message = r"interop: this network has a Flatten.*give input_shape"
    with pytest.raises(ValueError, match=message):
        torch_state(small())
    assert "give input_shape" in refused(small(), {})


def test_a_shape_that_does_not_fit_is_named_by_the_layer():
    with pytest.raises(ValueError, match=r"Linear\(24, 5\): expected an input \(..., 24\)"):
        torch_state(small(), (5, 3, 3))


class Beside(nn.Module):
    """Reads the same dense layer with a flattened image and with plain features."""

    def __init__(self):
        self.conv, self.flatten = nn.Conv2d(3, 2, 1), nn.Flatten()
        self.dense = nn.Linear(24, 24)

    def forward(self, x):
        return self.dense(self.dense(self.flatten(self.conv(x))))


class Joined(nn.Module):
    """Two flattened images side by side, before anything reads them."""

    def __init__(self):
        self.a, self.b, self.flatten = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Flatten()
        self.dense = nn.Linear(72, 3)

    def forward(self, x):
        flat = [self.flatten(self.a(x)), self.flatten(self.b(x))]
        return self.dense(np.concatenate(flat, axis=1))


class Gain(nn.Module):
    """A learner's layer with a weight for each feature."""

    def __init__(self, features):
        self.gain = nn.Parameter(np.ones(features, np.float32))

    def forward(self, x):
        return x * self.gain.data


CONV = (nn.Conv2d(3, 2, 1), nn.Flatten())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Beside(), r"dense: Linear\(24, 24\) meets its features in two orders"),
        (Joined(), r"dense: Linear\(72, 3\) reads what was computed from a flattened image"),
        (nn.Sequential(*CONV, Gain(24)), r"2: Gain\(\) reads a flattened image in a way"),
        (nn.Sequential(*CONV, nn.GroupNorm(2, 24)), r"2: GroupNorm.* in a way interop does not"),
        (
            nn.Sequential(*CONV, nn.Residual(nn.Linear(24, 24)), nn.Linear(24, 2)),
            r"2: Residual uses a flattened image beside a layer that reads it",
        ),
    ],
    ids=["read twice", "joined", "own layer", "groups", "residual"],
)
def test_networks_that_pytorch_would_not_have_in_any_order(model, message):
    with pytest.raises(ValueError, match=f"interop: {message}.*bring the modules inside over"):
        torch_state(model, (4, 3, 3))


def test_several_inputs_are_refused_where_a_shape_is_needed():
    class Pair(nn.Module):
        def __init__(self):
            self.flatten, self.dense = nn.Flatten(), nn.Linear(6, 2)

        def forward(self, a, b):
            return self.dense(self.flatten(a)) + b

    with pytest.raises(
        ValueError, match=r"Pair\(\): a shape stands for one input, but .* 2 \(a, b"
    ):
        torch_state(Pair(), (3, 2))
