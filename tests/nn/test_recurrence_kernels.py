"""LSTM and GRU with all steps in one kernel, against the plain loop over time."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_helpers import error_of, normal

import nn
from nn import kernels
from nn.kernels import gates, threads
from nn.kernels.tile import load, store
from nn.recurrent_cells import LSTMCell

KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def layer_of(kind, D, H, dtype=np.float64, seed=0, **options):
    """A layer whose biases are not zero either."""
    layer = kind(D, H, rng=seed, **options).astype(dtype)
    for i, parameter in enumerate(layer.parameters()):
        parameter.data += 0.2 * normal(*parameter.shape, seed=100 * seed + i).astype(dtype)
    return layer


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def results(layer, x, dy, state=None, dstate=None):
    """Everything that comes out of a layer, forward and backward."""
    layer.zero_grad()
    y = layer(x) if state is None else layer(x, state)
    last = as_tuple(layer.last_state)
    back = layer.backward(dy, dstate)
    dx, dstate0 = (back, ()) if state is None else (back[0], as_tuple(back[1]))
    return [y, *last, dx, *dstate0, *(p.grad for p in layer.parameters())]


def on_both(*args):
    """The results of the kernels and those of the plain loop, in pairs."""
    fast = results(*args)
    with kernels.using("reference"):
        plain = results(*args)
    return list(zip(fast, plain, strict=True))


def assert_close(pairs, tolerance):
    for fast, plain in pairs:
        assert fast.dtype == plain.dtype and fast.shape == plain.shape
        assert np.abs(fast - plain).max() <= tolerance * max(1, np.abs(plain).max())


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(list(KINDS.values())),
    N=st.sampled_from([1, 2, 5, 8, 11, 16, 19, 33]),
    T=st.sampled_from([1, 2, 5]),
    D=st.sampled_from([1, 7, 16, 40]),
    H=st.sampled_from([1, 6, 16, 32, 37]),
    num_layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    output_size=st.sampled_from([None, 3]),
    truncate=st.sampled_from([None, 1, 2]),
    with_state=st.booleans(),
    with_dstate=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_equal_to_the_plain_loop(kind, N, T, D, H, with_state, with_dstate, dtype, **options):
    layer = layer_of(kind, D, H, dtype, **options)
    shape = len(layer.cells), N, H

    def state(seed):
        parts = [normal(*shape, seed=seed + i).astype(dtype) for i in range(layer.cells[0].states)]
        return tuple(parts) if len(parts) > 1 else parts[0]

    x = normal(N, T, D).astype(dtype)
    dy = normal(N, T, layer._output_size(), seed=1).astype(dtype)
    args = x, dy, state(2) if with_state else None, state(5) if with_dstate else None
    assert_close(on_both(layer, *args), TOLERANCE[dtype])


@each_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_on_any_number_of_threads(kind, dtype):
    layer = layer_of(kind, 40, 160, dtype, num_layers=2)
    x, dy = normal(21, 6, 40).astype(dtype), normal(21, 6, 160, seed=1).astype(dtype)
    before, bits = threads.count(), []
    try:
        for count in (1, 2, 4):
            threads.set_count(count)
            bits.append([a.tobytes() for a in results(layer, x, dy)])
    finally:
        threads.set_count(before)
    assert bits[0] == bits[1] == bits[2]


@each_kind
def test_a_clip_has_the_same_bits_in_any_batch(kind):
    layer, x = layer_of(kind, 9, 33, np.float32), normal(23, 5, 9).astype(np.float32)
    with nn.inference():
        y = layer(x)
        for n in (0, 7, 22):
            np.testing.assert_array_equal(layer(x[n : n + 1])[0], y[n])
        np.testing.assert_array_equal(layer(x[4:15]), y[4:15])


@each_kind
def test_a_clip_that_is_not_finite_spoils_no_other(kind):
    layer, x = layer_of(kind, 9, 33), normal(11, 4, 9)
    with nn.inference():
        y = layer(x)
        x[6, 2, 3] = np.nan
        spoilt = layer(x)
    others = np.arange(11) != 6
    np.testing.assert_array_equal(spoilt[others], y[others])
    np.testing.assert_array_equal(spoilt[6, :2], y[6, :2])
    assert np.isnan(spoilt[6, 2:]).all()


@each_kind
def test_only_what_is_asked_for(kind):
    layer = layer_of(kind, 5, 12)
    x, dy = normal(3, 4, 5), normal(3, 4, 12, seed=1)
    results(layer, x, dy)
    grads = {name: p.grad.copy() for name, p in layer.named_parameters()}
    for frozen in grads:
        layer.zero_grad()
        for name, parameter in layer.named_parameters():
            parameter.trainable = name != frozen
        layer(x)
        assert layer.backward(dy, need_input_grad=False) is None
        for name, parameter in layer.named_parameters():
            if name != frozen:
                np.testing.assert_allclose(parameter.grad, grads[name], rtol=1e-12)
            else:
                assert not parameter.grad.any()


@each_kind
def test_what_lies_otherwise_in_memory(kind):
    layer = layer_of(kind, 6, 5)
    x, dy = normal(4, 7, 6), normal(4, 7, 5, seed=1)
    whole = results(layer, x, dy)
    turned = x.transpose(2, 1, 0).copy().transpose(2, 1, 0)
    turned.flags.writeable = False
    big = np.repeat(np.repeat(dy, 2, axis=0), 2, axis=2)[::2, :, ::2]
    for these, those in zip(results(layer, turned, big), whole, strict=True):
        np.testing.assert_array_equal(these, those)


@each_kind
def test_a_gradient_in_another_precision(kind):
    layer = layer_of(kind, 6, 20, np.float32)  # 20: the next whole number of vectors differs
    x, dy = normal(4, 7, 6).astype(np.float32), normal(4, 7, 20, seed=1)
    narrow = results(layer, x, dy.astype(np.float32))
    for these, those in zip(results(layer, x, dy), narrow, strict=True):
        np.testing.assert_allclose(these, those, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit():
    lstm, x = nn.LSTM(6, 5), normal(4, 7, 6).astype(np.float32)
    lstm.b.data = np.zeros(16, np.float32)
    assert "must have the shapes" in error_of(lstm, x)


@each_kind
def test_backward_on_the_equations_after_forward_on_the_kernel(kind):
    layer = layer_of(kind, 6, 5)
    x, dy = normal(4, 7, 6), normal(4, 7, 5, seed=1)
    layer(x)
    dx = layer.backward(dy)
    layer(x)
    with kernels.using("reference"):
        np.testing.assert_array_equal(layer.backward(dy), dx)
        layer(x)
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-11, atol=1e-13)


def test_who_has_no_kernel():
    assert kernels.all_steps("lstm", np.dtype(np.float32), 4)
    assert kernels.all_steps("lstm", np.dtype(np.float32), 3) is None
    assert kernels.all_steps("lstm", np.dtype(np.float16), 4) is None
    assert kernels.all_steps(None, np.dtype(np.float32), 4) is None
    with kernels.using("reference"):
        assert kernels.all_steps("gru", np.dtype(np.float32), 4) is None

    class Forgetful(LSTMCell):
        def step(self, p, q, state):
            return super().step(p, q, (state[0], 0 * state[1]))

    cell, x = Forgetful(3, 4, np.random.default_rng(0)), np.ones((2, 5, 3), np.float32)
    assert cell.compiled(x) is None
    assert nn.LSTM(3, 4).cells[0].compiled(x)
    assert nn.LSTM(3, 4).astype(np.float64).cells[0].compiled(x) is None


# ---- the bends --------------------------------------------------------------------------------


@numba.njit
def bent(x, y, z):
    for i in range(0, len(x), 32):
        store(gates.tanh(load(x, i, 0, 1, 1)), y, i, 0)
        store(gates.sigmoid(load(x, i, 0, 1, 1)), z, i, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bends(dtype):
    sizes = np.concatenate([np.logspace(-30, 3, 1000), [0, np.inf]])
    numbers = np.concatenate([sizes, -sizes, np.linspace(-25, 25, 2000)]).astype(dtype)
    x = np.repeat(numbers, 32)  # each at the beginning of a vector, however long it is
    y, z = np.empty_like(x), np.empty_like(x)
    bent(x, y, z)
    exact = numbers.astype(np.float64)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y[::32], np.tanh(exact), rtol=4 * eps)
    np.testing.assert_allclose(z[::32], (1 + np.tanh(exact / 2)) / 2, rtol=0, atol=eps)
    assert np.signbit(y[::32])[numbers < 0].all()
    bent(np.full(32, np.nan, dtype), y[:32], z[:32])
    assert np.isnan(y[0]) and np.isnan(z[0])
