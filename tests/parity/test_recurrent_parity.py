"""RNN, LSTM and GRU beside PyTorch's: outputs, last states, all gradients, those of states too;
unequal lengths beside packed sequences; truncation beside states that are detached."""

import numpy as np
import pytest

import nn
from nn.interop import load_torch_state, torch_state

torch = pytest.importorskip("torch")

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
OPTIONS = {
    "one": {},
    "two layers": dict(num_layers=2),
    "both ways": dict(bidirectional=True),
    "both": dict(num_layers=3, bidirectional=True),
}
KINDS = {
    "tanh": (nn.RNN, torch.nn.RNN, {"activation": "tanh"}, {"nonlinearity": "tanh"}),
    "relu": (nn.RNN, torch.nn.RNN, {"activation": "relu"}, {"nonlinearity": "relu"}),
    "LSTM": (nn.LSTM, torch.nn.LSTM, {}, {}),
    "GRU": (nn.GRU, torch.nn.GRU, {}, {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def pair(kind, options, dtype=np.float64):
    """The same layer on both sides, by way of PyTorch's names: 4 features, 3 hidden ones."""
    ours, theirs, our_options, their_options = KINDS[kind]
    torch.manual_seed(2)
    other = theirs(4, 3, batch_first=True, **options, **their_options)
    other.to(torch.float64 if dtype == np.float64 else torch.float32)
    our = ours(4, 3, **options, **our_options).astype(dtype)
    load_torch_state(our, {name: t.numpy() for name, t in other.state_dict().items()})
    return our, other


def tensor(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def bare(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def assert_close(ours, theirs, tolerance, what):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, what
    difference = np.abs(ours - theirs).max()
    assert difference <= tolerance * max(np.abs(theirs).max(), 0.1), (what, difference)


def assert_same_gradients(our, other, tolerance):
    """Of all weights. Of PyTorch's two biases each has the gradient of our one."""
    for i, cell in enumerate(our.cells):
        level, direction = divmod(i, our.directions)
        ending = f"l{level}" + "_reverse" * direction
        grads = {name: getattr(other, f"{name}_{ending}").grad for name in ("weight_ih", "bias_ih")}
        assert_close(cell.U.grad.T, grads["weight_ih"], tolerance, f"U of {ending}")
        assert_close(cell.b.grad, grads["bias_ih"], tolerance, f"b of {ending}")
        hidden = getattr(other, f"weight_hh_{ending}").grad
        assert_close(cell.W.grad.T, hidden, tolerance, f"W of {ending}")
        second = getattr(cell, "b_h", cell.b).grad
        assert_close(second, getattr(other, f"bias_hh_{ending}").grad, tolerance, ending)


@each_kind
@each_option
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
def test_values_and_all_gradients(kind, options, dtype, rng):
    our, other = pair(kind, options, dtype)
    tolerance = TOLERANCE[dtype]
    x = rng.standard_normal((5, 7, 4)).astype(dtype)
    shape, parts = (len(our.cells), 5, 3), our.cells[0].states
    state = [rng.standard_normal(shape).astype(dtype) for _ in range(parts)]
    dstate = [rng.standard_normal(shape).astype(dtype) for _ in range(parts)]
    their_x, their_state = tensor(x), [tensor(a) for a in state]

    y, (their_y, their_last) = our(x, bare(state)), other(their_x, bare(their_state))
    assert_close(y, their_y, tolerance, "y")
    for mine, their in zip(as_tuple(our.last_state), as_tuple(their_last), strict=True):
        assert_close(mine, their, tolerance, "last state")

    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, dstate0 = our.backward(dy, bare(dstate))
    torch.autograd.backward(
        [their_y, *as_tuple(their_last)], [torch.from_numpy(a) for a in (dy, *dstate)]
    )
    assert_close(dx, their_x.grad, tolerance, "dx")
    for mine, their in zip(as_tuple(dstate0), their_state, strict=True):
        assert_close(mine, their.grad, tolerance, "dstate0")
    assert_same_gradients(our, other, tolerance)


@each_kind
@each_option
def test_unequal_lengths_beside_packed_sequences(kind, options, rng):
    our, other = pair(kind, options)
    lengths = [3, 6, 1, 5]
    x = rng.standard_normal((4, 6, 4))
    mask = np.arange(6) < np.array(lengths)[:, None]
    their_x = tensor(x)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        their_x, lengths, batch_first=True, enforce_sorted=False
    )
    their_y, their_last = other(packed)
    their_y, _ = torch.nn.utils.rnn.pad_packed_sequence(their_y, batch_first=True)

    y = our(x, mask=mask)
    assert_close(y, their_y, 1e-12, "y")
    for mine, their in zip(as_tuple(our.last_state), as_tuple(their_last), strict=True):
        assert_close(mine, their, 1e-12, "last state")
    dy = rng.standard_normal(y.shape)
    dstate = [rng.standard_normal(a.shape) for a in as_tuple(our.last_state)]
    dx = our.backward(dy, bare(dstate))
    torch.autograd.backward(
        [their_y, *as_tuple(their_last)], [torch.from_numpy(a) for a in (dy, *dstate)]
    )
    assert_close(dx, their_x.grad, 1e-12, "dx")
    assert_same_gradients(our, other, 1e-12)


@each_kind
@pytest.mark.parametrize("truncate", [1, 3, 7, 9])
def test_truncation_beside_detached_states(kind, truncate, rng):
    """PyTorch on blocks of `truncate` steps, each from the detached state of the one before."""
    our, other = pair(kind, dict(num_layers=2))
    our.truncate = truncate
    x, dy = rng.standard_normal((2, 7, 4)), rng.standard_normal((2, 7, 3))
    their_x, state, outputs = tensor(x), None, []
    for start in range(0, 7, truncate):
        if state is not None:
            state = bare([a.detach() for a in as_tuple(state)])
        y, state = other(their_x[:, start : start + truncate], state)
        outputs.append(y)
    their_y = torch.cat(outputs, dim=1)
    their_y.backward(torch.from_numpy(dy))

    assert_close(our(x), their_y, 1e-12, "y")
    assert_close(our.backward(dy), their_x.grad, 1e-12, "dx")
    assert_same_gradients(our, other, 1e-12)


@each_kind
def test_dropout_between_layers_stands_where_pytorch_has_it(kind, rng):
    """With all but nothing kept, both give what the last layer makes of zeros."""
    our, other = pair(kind, dict(num_layers=2))
    x = rng.standard_normal((2, 3, 4))
    other.dropout = 1.0
    our.dropout = nn.Dropout(1 - 1e-12, rng=0)
    their_y, _ = other(torch.from_numpy(x))
    assert_close(our(x), their_y, 1e-12, "y")


@each_kind
@each_option
def test_weights_go_back(kind, options):
    our, other = pair(kind, options)
    state = torch_state(our)
    assert list(state) == list(other.state_dict())
    other.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    again, _ = pair(kind, options)
    load_torch_state(again, {name: t.numpy() for name, t in other.state_dict().items()})
    for name, array in our.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name]), name


class OurReader(nn.Module):
    """Flattened features of each frame, read over time: their order differs in PyTorch."""

    def __init__(self, kind):
        self.frame = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten())
        self.time = kind(18, 4, bidirectional=True)
        self.classes = nn.Linear(8, 5)

    def forward(self, x):
        N, T = x.shape[:2]
        features = self.frame(x.reshape(N * T, *x.shape[2:]))
        return self.classes(self.time(features.reshape(N, T, -1)))


class TheirReader(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.frame = torch.nn.Sequential(
            torch.nn.Conv2d(2, 3, 2), torch.nn.Tanh(), torch.nn.Flatten()
        )
        self.time = kind(18, 4, bidirectional=True, batch_first=True)
        self.classes = torch.nn.Linear(8, 5)

    def forward(self, x):  # (N, T, C, H, W)
        features = self.frame(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.classes(self.time(features)[0])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_network_over_frames_comes_over(name, rng):
    our = OurReader(getattr(nn, name)).astype(np.float64)
    other = TheirReader(getattr(torch.nn, name)).double()
    load_torch_state(our, {n: t.numpy() for n, t in other.state_dict().items()}, (5, 4, 3, 2))
    x = rng.standard_normal((2, 5, 4, 3, 2))
    their_y = other(torch.from_numpy(np.moveaxis(x, -1, 2).copy()))
    assert_close(our(x), their_y, 1e-12, "y")
    state = torch_state(our, (5, 4, 3, 2))
    assert list(state) == list(other.state_dict())
    assert np.array_equal(
        state["time.weight_ih_l0_reverse"], other.time.weight_ih_l0_reverse.detach().numpy()
    )


def test_conv_lstm_beside_convolutions_of_pytorch(rng):
    """PyTorch has no ConvLSTM: its convolutions, with the equations around them."""
    layer = nn.ConvLSTM2d(2, 3, (3, 2), rng=1).astype(np.float64)
    x, dy = rng.standard_normal((2, 4, 5, 6, 2)), rng.standard_normal((2, 4, 5, 6, 3))
    state = tuple(rng.standard_normal((1, 2, 5, 6, 3)) for _ in range(2))
    cell = layer.cells[0]
    U, W, b = tensor(cell.U.data), tensor(cell.W.data), tensor(cell.b.data)
    their_x, their_state = tensor(x), [tensor(a) for a in state]

    def conv(maps, kernel):
        maps = torch.nn.functional.pad(maps.movedim(-1, 1), (0, 1, 1, 1))
        return torch.nn.functional.conv2d(maps, kernel.permute(3, 2, 0, 1)).movedim(1, -1)

    (h, c), outputs = (a[0] for a in their_state), []
    for t in range(4):
        i, f, g, o = (conv(their_x[:, t], U) + conv(h, W) + b).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    their_y = torch.stack(outputs, dim=1)
    their_y.backward(torch.from_numpy(dy))

    assert_close(layer(x, state), their_y, 1e-12, "y")
    assert_close(layer.last_state[1][0], c, 1e-12, "c")
    dx, (dh0, dc0) = layer.backward(dy)
    for mine, their, name in [
        (dx, their_x, "dx"),
        (dh0, their_state[0], "dh0"),
        (dc0, their_state[1], "dc0"),
        (cell.U.grad, U, "U"),
        (cell.W.grad, W, "W"),
        (cell.b.grad, b, "b"),
    ]:
        assert_close(mine, their.grad, 1e-12, name)
