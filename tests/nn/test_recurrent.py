"""Recurrent layers by hand: the equations, states, streams, masks, truncation, directions."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn
from nn.activation import sigmoid

KINDS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def scrambled(layer, seed=7):
    """In float64, with weights that are the same each time, biases too."""
    rng = np.random.default_rng(seed)
    layer.astype(np.float64)
    for parameter in layer.parameters():
        parameter.data[...] = rng.uniform(-0.8, 0.8, parameter.shape)
    return layer


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def bare(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def state_for(layer, N, seed=3):
    """A state of random numbers, as forward takes it."""
    shape = (len(layer.cells), N, layer.hidden_size)
    parts = tuple(normal(*shape, seed=seed + i) for i in range(layer.cells[0].states))
    return parts if len(parts) > 1 else parts[0]


def assert_same_state(these, those):
    for a, b in zip(as_tuple(these), as_tuple(those), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# ---- the equations ------------------------------------------------------------------------


def test_rnn_on_paper():
    """One feature, one hidden unit, ReLU: h = max(0, 2 h − 3 x + 1), y = 5 h − 4."""
    rnn = nn.RNN(1, 1, output_size=1, activation="relu").astype(np.float64)
    rnn.W.data[:], rnn.U.data[:], rnn.b.data[:], rnn.V.data[:], rnn.c.data[:] = 2, -3, 1, 5, -4
    y = rnn(np.array([-1.0, 2, 0, 0]).reshape(1, 4, 1))
    assert y.ravel().tolist() == [5 * h - 4 for h in (4, 3, 7, 15)]
    assert rnn.last_state.tolist() == [[[15]]]
    dx = rnn.backward(np.array([0.0, 0, 0, 1]).reshape(1, 4, 1))
    assert dx.ravel().tolist() == [-3 * 5 * 2**k for k in (3, 2, 1, 0)]  # doubled by W each step
    assert rnn.W.grad.item() == 5 * (7 + 2 * 3 + 4 * 4)  # Σ da_t h_{t−1}
    assert rnn.b.grad.item() == 5 * (1 + 2 + 4 + 8)
    assert rnn.V.grad.item() == 15 and rnn.c.grad.item() == 1


@pytest.mark.parametrize(
    ("activation", "f"),
    [("tanh", np.tanh), ("relu", lambda a: np.maximum(a, 0)), ("sigmoid", sigmoid)],
)
def test_rnn_is_the_article(activation, f):
    rnn = scrambled(nn.RNN(3, 4, output_size=2, activation=activation))
    x, h = normal(5, 6, 3), normal(5, 4, seed=1)
    y = rnn(x, h[None])
    for t in range(6):
        h = f(h @ rnn.W.data + x[:, t] @ rnn.U.data + rnn.b.data)
        np.testing.assert_allclose(y[:, t], h @ rnn.V.data + rnn.c.data, rtol=1e-12, atol=1e-13)
    assert_same_state(rnn.last_state, h[None])


def test_lstm_is_its_equations():
    lstm = scrambled(nn.LSTM(3, 4))
    x, h, c = normal(5, 6, 3), normal(5, 4, seed=1), normal(5, 4, seed=2)
    y = lstm(x, (h[None], c[None]))
    for t in range(6):
        a = h @ lstm.W.data + x[:, t] @ lstm.U.data + lstm.b.data
        i, f, g, o = (a[:, 4 * k : 4 * k + 4] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(y[:, t], h, rtol=1e-12)
    assert_same_state(lstm.last_state, (h[None], c[None]))


def test_gru_is_its_equations():
    gru = scrambled(nn.GRU(3, 4))
    x, h = normal(5, 6, 3), normal(5, 4, seed=1)
    y = gru(x, h[None])
    for t in range(6):
        p = x[:, t] @ gru.U.data + gru.b.data
        q = h @ gru.W.data + gru.cells[0].b_h.data
        r, z = sigmoid(p[:, :4] + q[:, :4]), sigmoid(p[:, 4:8] + q[:, 4:8])
        n = np.tanh(p[:, 8:] + r * q[:, 8:])
        h = (1 - z) * n + z * h
        np.testing.assert_allclose(y[:, t], h, rtol=1e-12)


def test_an_open_gate_keeps_and_a_shut_one_forgets():
    lstm, gru = nn.LSTM(2, 3, rng=0), nn.GRU(2, 3, rng=0)
    x, h, c = normal(4, 50, 2), normal(1, 4, 3, seed=1), normal(1, 4, 3, seed=2)
    lstm.b.data[:6] = np.repeat([-50, 50], 3)  # nothing in, nothing lost
    gru.b.data[3:6] = 50  # z = 1
    lstm(x, (h, c))
    np.testing.assert_allclose(lstm.last_state[1], c, rtol=1e-5)
    np.testing.assert_allclose(gru(x, h)[:, -1], h[0], rtol=1e-5)
    gru.b.data[3:6] = -50  # z = 0, and a candidate that sees no h
    gru.W.data[:] = 0
    np.testing.assert_allclose(gru(x, h)[:, 1:], gru(x)[:, 1:], rtol=1e-5)


def test_first_weights():
    lstm = nn.LSTM(5, 8, rng=0)
    for k in range(4):  # each gate has a rotation of its own
        W = lstm.W.data[:, 8 * k : 8 * k + 8]
        np.testing.assert_allclose(W.T @ W, np.eye(8), atol=1e-6)
    assert lstm.b.data.reshape(4, 8).tolist() == [[0] * 8, [1] * 8, [0] * 8, [0] * 8]
    gru = nn.GRU(5, 8, rng=0)
    assert gru.b.data.reshape(3, 8).tolist() == [[0] * 8, [1] * 8, [0] * 8]
    assert not gru.cells[0].b_h.data.any()
    assert lstm.num_parameters == 4 * 8 * (5 + 8 + 1)
    assert nn.GRU(5, 8, rng=0).num_parameters == 3 * 8 * (5 + 8 + 2)
    assert np.array_equal(nn.LSTM(5, 8, rng=0).W.data, lstm.W.data)
    assert not np.array_equal(nn.LSTM(5, 8, rng=1).W.data, lstm.W.data)


# ---- states and streams -------------------------------------------------------------------


class WithLastState(nn.Module):
    """y and last_state as one row of numbers, so that gradients of both are checked at once."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x, state, mask=None):
        y = self.layer(x, state, mask)
        self.save(y.shape, self.layer.last_state)
        return np.concatenate([a.ravel() for a in (y, *as_tuple(self.layer.last_state))])

    def backward(self, dy, need_input_grad=True):
        shape, last = self.take()
        sizes = [np.prod(shape), *(a.size for a in as_tuple(last))]
        dy, *dstate = np.split(dy, np.cumsum(sizes)[:-1])
        dstate = tuple(d.reshape(as_tuple(last)[0].shape) for d in dstate)
        dstate = dstate if isinstance(last, tuple) else dstate[0]
        return self.layer.backward(dy.reshape(shape), dstate, need_input_grad=need_input_grad)


@each_kind
@pytest.mark.parametrize("options", [{}, dict(num_layers=2, bidirectional=True, output_size=2)])
def test_gradients_of_the_last_state(kind, options):
    layer = kind(2, 3, rng=0, **options)
    mask = np.array([[True] * 4, [True, False, True, False], [False] * 4])
    state = state_for(layer, 3)
    for given in (None, mask):
        report = nn.check_gradients(
            WithLastState(layer), normal(3, 4, 2), state, mask=given, elements=20
        )
        assert report.passed, report


def test_gradients_of_the_last_state_of_maps():
    layer = nn.ConvLSTM2d(1, 2, (2, 3), rng=0)
    state = normal(1, 1, 3, 2, 2, seed=1), normal(1, 1, 3, 2, 2, seed=2)
    report = nn.check_gradients(WithLastState(layer), normal(1, 2, 3, 2, 1), state, elements=12)
    assert report.passed, report


@each_kind
@pytest.mark.parametrize("layers", [1, 2])
def test_a_stream_in_chunks_is_the_whole(kind, layers):
    layer = scrambled(kind(3, 4, num_layers=layers))
    x, state, chunks = normal(2, 9, 3), None, []
    with nn.inference():
        whole = layer(x)
        last = layer.last_state
        for start, stop in [(0, 4), (4, 5), (5, 9)]:
            chunks.append(layer(x[:, start:stop], state))
            state = layer.last_state
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), whole, rtol=1e-12)
    assert_same_state(state, last)


@each_kind
def test_chunks_that_hand_back_their_state_have_the_gradients_of_the_whole(kind):
    layer = scrambled(kind(3, 4))
    x, dy = normal(2, 6, 3), normal(2, 6, 4, seed=1)
    layer(x)
    dx = layer.backward(dy)
    whole = [p.grad.copy() for p in layer.parameters()]

    layer.zero_grad()
    layer(x[:, :4])
    layer(x[:, 4:], layer.last_state)
    second, dstate = layer.backward(dy[:, 4:])
    first = layer.backward(dy[:, :4], dstate)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), dx, rtol=1e-11, atol=1e-13)
    for parameter, grad in zip(layer.parameters(), whole, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=1e-11, atol=1e-13)


@each_kind
def test_the_gradient_of_a_state_comes_without_that_of_the_input(kind):
    layer = scrambled(kind(3, 4, num_layers=2, bidirectional=True, rng=0))
    x, state, dy = normal(2, 5, 3), state_for(layer, 2), normal(2, 5, 8, seed=1)
    layer(x, state)
    _, expected = layer.backward(dy)
    layer(x, state)
    dx, dstate = layer.backward(dy, need_input_grad=False)
    assert dx is None
    assert_same_state(dstate, expected)
    layer(x)
    assert layer.backward(dy, need_input_grad=False) is None


@each_kind
def test_the_last_state_is_nobody_elses(kind):
    layer = scrambled(kind(3, 4, bidirectional=True))
    y = layer(normal(2, 5, 3))
    h = as_tuple(layer.last_state)[0].copy()
    np.testing.assert_array_equal(h[0], y[:, -1, :4])  # forward: after the last step
    np.testing.assert_array_equal(h[1], y[:, 0, 4:])  # backward: after the first
    y[:] = 0
    np.testing.assert_array_equal(as_tuple(layer.last_state)[0], h)


@each_kind
def test_without_dy_only_the_state_matters(kind):
    layer = scrambled(kind(3, 4))
    x = normal(2, 5, 3)
    y = layer(x)
    dstate = state_for(layer, 2)
    dx = layer.backward(None, dstate)
    layer(x)
    np.testing.assert_array_equal(dx, layer.backward(np.zeros_like(y), dstate))
    assert dx.any()


# ---- truncation ---------------------------------------------------------------------------


@each_kind
def test_truncation_leaves_forward_as_it_is(kind):
    layer, x = scrambled(kind(3, 4)), normal(2, 7, 3)
    whole = layer(x)
    layer.truncate = 2
    np.testing.assert_array_equal(layer(x), whole)


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_truncated_gradients_stay_in_their_block(kind, bidirectional):
    layer = scrambled(kind(3, 4, bidirectional=bidirectional, truncate=3))
    for t in range(8):  # blocks 0..2, 3..5, 6..7
        y = layer(normal(1, 8, 3))
        dy = np.zeros_like(y)
        dy[:, t] = normal(*dy[:, t].shape, seed=t)
        reached = np.flatnonzero(layer.backward(dy).any(axis=(0, 2)))
        first, last = t - t % 3, min(t - t % 3 + 2, 7)
        assert reached.tolist() == list(range(first, (last if bidirectional else t) + 1))


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_long_truncation_is_none(kind, bidirectional):
    layer, x = scrambled(kind(3, 4, bidirectional=bidirectional)), normal(2, 5, 3)
    dy = normal(*layer(x).shape, seed=1)
    dx = layer.backward(dy)
    for truncate, same in ((4, False), (5, True), (99, True)):
        layer.truncate = truncate
        layer(x)
        assert np.array_equal(layer.backward(dy), dx) == same


@each_kind
def test_the_gradient_of_a_state_reaches_one_block(kind):
    layer = scrambled(kind(3, 4, truncate=2))
    state = state_for(layer, 1)
    layer(normal(1, 5, 3), state)
    dy = np.zeros((1, 5, 4))
    dy[:, 2:] = 1
    dx, dstate0 = layer.backward(dy, state)
    assert not any(a.any() for a in as_tuple(dstate0))
    assert not dx[:, :2].any() and dx[:, 2:].all()


# ---- masks --------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("options", [{}, dict(num_layers=2, bidirectional=True, output_size=2)])
def test_an_example_is_as_if_it_stood_alone(kind, options):
    layer = scrambled(kind(3, 4, **options))
    lengths = [2, 5, 1]
    x, state = normal(3, 5, 3), state_for(layer, 3)
    mask = np.arange(5) < np.array(lengths)[:, None]
    y = layer(x, state, mask)
    last = as_tuple(layer.last_state)
    dy = normal(*y.shape, seed=8)
    dx, dstate0 = layer.backward(dy)
    for n, length in enumerate(lengths):
        own = bare([a[:, n : n + 1] for a in as_tuple(state)])
        alone = layer(x[n : n + 1, :length], own)
        np.testing.assert_allclose(y[n, :length], alone[0], rtol=1e-12)
        assert not y[n, length:].any() and not dx[n, length:].any()
        assert_same_state(tuple(a[:, n : n + 1] for a in last), as_tuple(layer.last_state))
        dx_alone, dstate_alone = layer.backward(dy[n : n + 1, :length])
        np.testing.assert_allclose(dx[n, :length], dx_alone[0], rtol=1e-10, atol=1e-13)
        for a, b in zip(as_tuple(dstate0), as_tuple(dstate_alone), strict=True):
            np.testing.assert_allclose(a[:, n : n + 1], b, rtol=1e-10, atol=1e-13)


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_gap_is_passed_over(kind, bidirectional):
    layer = scrambled(kind(3, 4, bidirectional=bidirectional))
    x, mask = normal(2, 5, 3), np.ones((2, 5), bool)
    mask[:, 2] = False
    y = layer(x, mask=mask)
    valid = [0, 1, 3, 4]
    np.testing.assert_allclose(y[:, valid], layer(x[:, valid]), rtol=1e-12)
    assert not y[:, 2].any()


@each_kind
def test_what_stands_at_masked_steps_does_not_matter(kind):
    layer = scrambled(kind(3, 4, num_layers=2, bidirectional=True, output_size=2))
    x, mask = normal(2, 5, 3), np.arange(5) < np.array([[3], [5]])
    y = layer(x, mask=mask)
    dy = normal(*y.shape, seed=1)
    dx = layer.backward(dy)
    grads = [p.grad.copy() for p in layer.parameters()]
    layer.zero_grad()
    other, other_dy = x.copy(), dy.copy()
    other[~mask], other_dy[~mask] = np.nan, 1e9
    np.testing.assert_array_equal(layer(other, mask=mask), y)
    np.testing.assert_array_equal(layer.backward(other_dy), dx)
    for parameter, grad in zip(layer.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)


@each_kind
def test_nothing_valid_keeps_the_state(kind):
    layer = scrambled(kind(3, 4))
    state = state_for(layer, 2)
    y = layer(normal(2, 3, 3), state, np.zeros((2, 3), bool))
    assert not y.any()
    assert_same_state(layer.last_state, state)
    dx, dstate0 = layer.backward(normal(*y.shape), state)
    assert not dx.any()
    assert_same_state(dstate0, state)


# ---- directions and layers ----------------------------------------------------------------


@each_kind
def test_the_past_does_not_know_the_future(kind):
    layer, x = scrambled(kind(3, 4, num_layers=2)), normal(2, 6, 3)
    y = layer(x)
    x[:, 4:] += 1
    np.testing.assert_array_equal(layer(x)[:, :4], y[:, :4])
    assert not np.isclose(layer(x)[:, 4:], y[:, 4:]).any()


@each_kind
def test_time_turned_around_swaps_the_directions(kind):
    layer, x = scrambled(kind(3, 4, bidirectional=True)), normal(2, 6, 3)
    y = layer(x)
    layer.cells.reverse()
    turned = layer(x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(np.concatenate([turned[..., 4:], turned[..., :4]], -1), y)


@each_kind
def test_layers_are_a_row_of_layers(kind):
    layer, x = scrambled(kind(3, 4, num_layers=2, bidirectional=True)), normal(2, 6, 3)
    first, second = kind(3, 4, bidirectional=True), kind(8, 4, bidirectional=True)
    first.cells, second.cells = layer.cells[:2], layer.cells[2:]
    y = layer(x)
    np.testing.assert_array_equal(second(first(x)), y)
    dy = normal(*y.shape, seed=1)
    dx = first.backward(second.backward(dy))
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-12)


@each_kind
def test_dropout_is_between_layers_and_in_training_only(kind):
    x = normal(2, 6, 3).astype(np.float32)
    layer = kind(3, 4, num_layers=2, dropout=0.5, rng=0)
    assert not np.array_equal(layer(x), layer(x))
    layer.eval()
    np.testing.assert_array_equal(layer(x), layer(x))
    alone = kind(3, 4, num_layers=1, dropout=0.5, rng=0)
    np.testing.assert_array_equal(alone(x), alone(x))


# ---- maps ---------------------------------------------------------------------------------


def test_conv_lstm_on_single_pixels_is_an_lstm():
    conv, lstm = nn.ConvLSTM2d(3, 4, 1, num_layers=2), scrambled(nn.LSTM(3, 4, num_layers=2))
    conv.astype(np.float64)
    for ours, theirs in zip(conv.cells, lstm.cells, strict=True):
        ours.U.data[...], ours.W.data[...], ours.b.data[...] = (
            theirs.U.data,
            theirs.W.data,
            theirs.b.data,
        )
    x = normal(2, 5, 2, 3, 3)
    each_pixel = x.transpose(0, 2, 3, 1, 4).reshape(12, 5, 3)
    expected = lstm(each_pixel).reshape(2, 2, 3, 5, 4).transpose(0, 3, 1, 2, 4)
    np.testing.assert_allclose(conv(x), expected, rtol=1e-10, atol=1e-12)


def test_conv_lstm_moves_with_its_input():
    conv = nn.ConvLSTM2d(2, 3, 3, rng=0).astype(np.float64)
    x = np.zeros((1, 4, 14, 13, 2))
    x[:, :, 5:7, 5:8] = normal(1, 4, 2, 3, 2)  # three steps reach at most 8 pixels far
    y = conv(x)
    moved = conv(np.roll(x, (1, -1), axis=(2, 3)))
    expected = np.roll(y, (1, -1), axis=(2, 3))
    inner = np.s_[:, :, 4:-4, 4:-4]
    np.testing.assert_allclose(moved[inner], expected[inner], rtol=1e-10, atol=1e-12)


def test_conv_lstm_in_chunks_and_with_masks():
    conv = nn.ConvLSTM2d(2, 3, (3, 2), num_layers=2, rng=0).astype(np.float64)
    x = normal(2, 5, 4, 3, 2)
    whole = conv(x)
    first = conv(x[:, :2])
    np.testing.assert_allclose(first, whole[:, :2], rtol=1e-12)
    np.testing.assert_allclose(conv(x[:, 2:], conv.last_state), whole[:, 2:], rtol=1e-12)
    assert conv.last_state[0].shape == (2, 2, 4, 3, 3)
    y = conv(x, mask=np.arange(5) < np.array([[2], [5]]))
    np.testing.assert_allclose(y[0, :2], whole[0, :2], rtol=1e-12)
    np.testing.assert_allclose(y[1], whole[1], rtol=1e-12)
    assert not y[0, 2:].any()


# ---- how layers behave --------------------------------------------------------------------


@each_kind
def test_float32_stays(kind):
    layer = kind(3, 4, output_size=2, num_layers=2, bidirectional=True, dropout=0.3, rng=0)
    x, mask = normal(2, 5, 3).astype(np.float32), np.ones((2, 5), bool)
    state = bare([a.astype(np.float32) for a in as_tuple(state_for(layer, 2))])
    y = layer(x, state, mask)
    dx, dstate0 = layer.backward(y)
    arrays = [y, dx, *as_tuple(dstate0), *as_tuple(layer.last_state)]
    arrays += [p.grad for p in layer.parameters()]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


@each_kind
def test_nothing_is_saved_in_inference_and_the_input_is_left_alone(kind):
    layer, x = kind(3, 4, rng=0), normal(2, 5, 3).astype(np.float32)
    with nn.inference():
        layer(x)
    with pytest.raises(RuntimeError, match="backward without a forward"):
        layer.backward(x)


@each_kind
def test_saved_and_loaded(kind, tmp_path):
    layer, other = (kind(3, 4, output_size=2, bidirectional=True, rng=i) for i in range(2))
    nn.save(layer, tmp_path / "layer.npz")
    nn.load(other, tmp_path / "layer.npz")
    x = normal(2, 5, 3).astype(np.float32)
    np.testing.assert_array_equal(layer(x), other(x))


def test_shown():
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.5, truncate=8)
    assert lstm.describe() == (
        "LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.5, truncate=8)"
    )
    assert nn.RNN(3, 4, output_size=2, activation="relu").describe() == (
        "RNN(3, 4, output_size=2, activation='relu')"
    )
    assert "cells.3: LSTMCell()  U (8, 16), W (4, 16), b (16,)  = 208" in repr(lstm)
    assert nn.ConvLSTM2d(3, 4, 5).describe() == "ConvLSTM2d(3, 4, kernel_size=(5, 5))"


def test_work_in_the_summary():
    summary = nn.LSTM(3, 4).summary((10, 3))
    assert str(10 * 4 * 4 * (3 + 4)) in summary.replace(",", "").replace("1.12 k", "1120")
    assert "not used" not in summary


def test_errors():
    lstm, gru, x = nn.LSTM(3, 4, num_layers=2), nn.GRU(3, 4), normal(2, 5, 3)
    assert error_of(lstm, normal(2, 3)) == (
        "LSTM(3, 4, num_layers=2): expected an input (N, T, D) with D = 3 features and at least "
        "one step, got (2, 3)"
    )
    assert "got (2, 0, 3)" in error_of(lstm, normal(2, 0, 3))
    assert "got (2, 5, 4)" in error_of(gru, normal(2, 5, 4))
    pair = normal(2, 2, 4), normal(2, 2, 4)
    assert "expected state to be a pair (h, c), each (2, 2, 4), got (2, 2, 4)" in error_of(
        lstm, x, pair[0]
    )
    assert "got [(2, 2, 4), (1, 2, 4)]" in error_of(lstm, x, (pair[0], pair[0][:1]))
    assert "GRU(3, 4): expected state to be an array (1, 2, 4), got (2, 4)" in error_of(
        gru, x, normal(2, 4)
    )
    assert "expected a boolean mask (N, T) = (2, 5), True where valid, got bool (5, 2)" in error_of(
        gru, x, mask=np.ones((5, 2), bool)
    )
    assert "got float64 (2, 5)" in error_of(gru, x, mask=np.ones((2, 5)))
    gru(x)
    assert "expected (2, 5, 4)" in error_of(gru.backward, normal(2, 5, 3))
    gru(x)
    assert "expected dstate to be an array" in error_of(gru.backward, normal(2, 5, 4), pair)
    assert "activation is one of" in error_of(nn.RNN, 3, 4, activation="softmax")
    assert "truncate must be an integer of at least 1" in error_of(nn.RNN, 3, 4, truncate=0)
    assert "hidden_size must be" in error_of(nn.LSTM, 3, 0)
    assert "num_layers must be" in error_of(nn.GRU, 3, 4, num_layers=0)
    assert "output_size must be" in error_of(nn.RNN, 3, 4, output_size=0)
    conv = nn.ConvLSTM2d(2, 3, 3)
    assert "expected an input (N, T, H, W, C) with C = 2" in error_of(conv, normal(2, 5, 4, 2))
    assert "kernel_size must be" in error_of(nn.ConvLSTM2d, 2, 3, (3, 3, 3))
    assert "hidden_channels must be" in error_of(nn.ConvLSTM2d, 2, 0, 3)
    assert "in_channels must be" in error_of(nn.ConvLSTM2d, 0, 3, 3)
