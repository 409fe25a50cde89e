"""Positions and transformer layers by hand: values on paper, order, what passes where, errors."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn
from nn.positional import sinusoids


@pytest.fixture(autouse=True)
def plain_kernels():
    with nn.kernels.using("reference"):
        yield


# ---- positions ----------------------------------------------------------------------------


def test_sinusoids_on_paper():
    P = sinusoids(3, 4, np.float64)
    assert P[0].tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(P[2], [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)])
    assert sinusoids(4, 5).shape == (4, 5) and sinusoids(4, 5).dtype == np.float32


def test_a_distance_is_the_same_turn_everywhere():
    P = sinusoids(50, 8, np.float64)
    for k in (1, 7):
        products = (P[:-k] * P[k:]).sum(axis=1)
        np.testing.assert_allclose(products, products[0])
    turn, *_ = np.linalg.lstsq(P[:-3], P[3:], rcond=None)
    np.testing.assert_allclose(P[:-3] @ turn, P[3:], atol=1e-9)


def test_each_kind_adds_its_tables():
    x = normal(2, 3, 4)
    np.testing.assert_allclose(nn.PositionalEncoding(4)(x), x + sinusoids(3, 4), rtol=1e-6)
    learned = nn.PositionalEncoding(4, "learned", size=6, rng=0)
    np.testing.assert_array_equal(learned(x), x + learned.weight.data[:3])
    clip = normal(2, 3, 4, 5, 6)
    layer = nn.PositionalEncoding(6, "space-time", size=(4, 5, 5), rng=0)
    y = layer(clip)
    for t, h, w in np.ndindex(3, 4, 5):
        position = layer.time_weight.data[t] + layer.space_weight.data[h, w]
        np.testing.assert_allclose(y[:, t, h, w], clip[:, t, h, w] + position)


def test_space_time_gradients_on_paper():
    layer = nn.PositionalEncoding(1, "space-time", size=(3, 2, 2), rng=0).astype(np.float64)
    dy = np.arange(8.0).reshape(1, 2, 2, 2, 1)
    layer(np.zeros((1, 2, 2, 2, 1)))
    assert layer.backward(dy) is dy
    assert layer.time_weight.grad[:, 0].tolist() == [0 + 1 + 2 + 3, 4 + 5 + 6 + 7, 0]
    assert layer.space_weight.grad[..., 0].tolist() == [[4, 6], [8, 10]]


def test_positions_keep_float32():
    for layer in (nn.PositionalEncoding(4), nn.PositionalEncoding(4, "learned", 5)):
        assert layer(np.zeros((1, 3, 4), np.float32)).dtype == np.float32


def test_errors_of_positions():
    assert "got 'rotary'" in error_of(nn.PositionalEncoding, 4, "rotary")
    assert "size, the largest T" in error_of(nn.PositionalEncoding, 4, "learned")
    assert "size=(T, H, W)" in error_of(nn.PositionalEncoding, 4, "space-time", (3, 4))
    assert "takes no size" in error_of(nn.PositionalEncoding, 4, "sinusoidal", 3)
    learned = nn.PositionalEncoding(4, "learned", 5)
    assert "(6,) positions are more than its size (5,)" in error_of(learned, normal(1, 6, 4))
    assert "expected (N, T, 4), got (1, 6, 3)" in error_of(learned, normal(1, 6, 3))
    assert "expected (N, T, H, W, 4)" in error_of(
        nn.PositionalEncoding(4, "space-time", (2, 2, 2)), normal(1, 2, 4)
    )
    learned(normal(1, 3, 4))
    assert "expected (1, 3, 4)" in error_of(learned.backward, normal(1, 5, 4))


def test_with_positions_a_transformer_sees_order():
    layer = nn.TransformerEncoderLayer(6, 2, 8, rng=0).astype(np.float64)
    x, order = normal(2, 5, 6), [4, 2, 0, 1, 3]
    np.testing.assert_allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-12)
    encode = nn.PositionalEncoding(6)
    layer.forget()
    assert np.abs(layer(encode(x[:, order])) - layer(encode(x))[:, order]).max() > 0.01


# ---- layers -------------------------------------------------------------------------------


def encoder(**options):
    return nn.TransformerEncoderLayer(6, 2, 8, rng=0, **options).astype(np.float64)


def decoder(**options):
    return nn.TransformerDecoderLayer(6, 2, 8, rng=0, **options).astype(np.float64)


def test_encoder_is_its_equations():
    x, act = normal(2, 5, 6), {"gelu": nn.GELU(), "relu": nn.ReLU()}
    for name in act:
        layer = encoder(activation=name)
        z = x + layer.self_attn(layer.norm1(x))
        expected = z + layer.linear2(act[name](layer.linear1(layer.norm2(z))))
        np.testing.assert_allclose(layer(x), expected)
        layer = encoder(activation=name, norm_first=False)
        z = layer.norm1(x + layer.self_attn(x))
        expected = layer.norm2(z + layer.linear2(act[name](layer.linear1(z))))
        np.testing.assert_allclose(layer(x), expected)


def test_decoder_is_its_equations():
    x, m, act = normal(2, 5, 6), normal(2, 3, 6, seed=1), nn.GELU()
    layer = decoder()
    z = x + layer.self_attn(layer.norm1(x), causal=True)
    z = z + layer.multihead_attn(layer.norm2(z), m)
    expected = z + layer.linear2(act(layer.linear1(layer.norm3(z))))
    np.testing.assert_allclose(layer(x, m), expected)
    layer = decoder(norm_first=False)
    z = layer.norm1(x + layer.self_attn(x))
    z = layer.norm2(z + layer.multihead_attn(z, m))
    expected = layer.norm3(z + layer.linear2(act(layer.linear1(z))))
    np.testing.assert_allclose(layer(x, m, causal=False), expected)


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_future_stays_hidden(norm_first):
    x, m = normal(2, 7, 6), normal(2, 3, 6, seed=1)
    for layer, inputs, options in (
        (encoder(norm_first=norm_first), (), {"causal": True}),
        (decoder(norm_first=norm_first), (m,), {}),
    ):
        y = layer(x, *inputs, **options)
        later = x.copy()
        later[:, 4:] += 1
        np.testing.assert_array_equal(layer(later, *inputs, **options)[:, :4], y[:, :4])
        dy = np.zeros_like(y)
        dy[:, 3] = normal(2, 6, seed=2)
        dx = layer.backward(dy)
        dx = dx[0] if inputs else dx
        assert dx[:, :4].any(axis=-1).all() and not dx[:, 4:].any()


def test_masked_frames_change_nothing():
    """Padding at the end of a clip: whatever stands there, the valid frames do not notice."""
    layer, x = encoder(), normal(2, 5, 6)
    valid = np.array([[True] * 5, [True, True, True, False, False]])
    y = layer(x, mask=valid[:, None, None, :])
    other = x.copy()
    other[1, 3:] = 99
    np.testing.assert_allclose(layer(other, mask=valid[:, None, None, :])[valid], y[valid])
    np.testing.assert_allclose(y[1:, :3], layer(x[1:, :3]))
    memory_layer, m = decoder(), normal(2, 5, 6, seed=3)
    y = memory_layer(x, m, memory_mask=valid[:, None, None, :])
    np.testing.assert_allclose(y[1:], memory_layer(x[1:], m[1:, :3]))


def test_dropout_works_in_training_only():
    layer, x = encoder(dropout=0.5), normal(2, 5, 6)
    assert np.abs(layer(x) - layer(x)).max() > 0.1
    layer.eval()
    np.testing.assert_array_equal(layer(x), encoder()(x))


def test_without_its_detours_a_pre_norm_layer_does_nothing():
    layer, x, dy = encoder(), normal(2, 5, 6), normal(2, 5, 6, seed=1)
    for last in (layer.self_attn.out_proj, layer.linear2):
        last.weight.data[...] = 0
        last.bias.data[...] = 0
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.backward(dy), dy)


def test_a_stack_learns_to_copy_from_another_place():
    """Each position shall say what stood in the first: only attention can bring it there."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Embedding(4, 16, rng=0),
        nn.PositionalEncoding(16),
        nn.TransformerEncoderLayer(16, 2, 32, rng=1),
        nn.LayerNorm(16),
        nn.Linear(16, 4, rng=2),
    )
    loss, optimizer = nn.CrossEntropyLoss(), nn.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        ids = rng.integers(0, 4, (16, 6))
        loss(model(ids), np.repeat(ids[:, :1], 6, axis=1))
        model.zero_grad()
        model.backward(loss.backward(), need_input_grad=False)
        optimizer.step()
    ids = rng.integers(0, 4, (50, 6))
    with nn.inference():
        right = model(ids).argmax(-1) == ids[:, :1]
    assert right.mean() > 0.9


def test_errors_and_descriptions_of_layers():
    assert "activation must be one of" in error_of(nn.TransformerEncoderLayer, 4, 2, None, 0, "elu")
    assert "5 features do not fall into 2" in error_of(nn.TransformerEncoderLayer, 5, 2)
    assert "hidden must be an integer" in error_of(nn.TransformerDecoderLayer, 4, 2, 0)
    assert "expected x (N, T, 6), got (2, 5, 4)" in error_of(encoder(), normal(2, 5, 4))
    assert "expected memory (N, T, 6)" in error_of(decoder(), normal(2, 5, 6), normal(2, 6))
    layer = encoder()
    layer(normal(2, 5, 6))
    assert "expected (2, 5, 6)" in error_of(layer.backward, normal(2, 4, 6))
    assert layer.describe() == (
        "TransformerEncoderLayer(6, 2, hidden=8, dropout=0.0, activation='gelu')"
    )
    assert (
        nn.TransformerDecoderLayer(4, 2, norm_first=False)
        .describe()
        .endswith("hidden=16, dropout=0.0, activation='gelu', norm_first=False)")
    )


def test_parts_are_found_once_and_saved(tmp_path):
    layer = decoder()
    nn.save(layer, tmp_path / "layer.npz")
    other = nn.TransformerDecoderLayer(6, 2, 8, rng=9).astype(np.float64)
    nn.load(other, tmp_path / "layer.npz")
    x, m = normal(2, 5, 6), normal(2, 3, 6, seed=1)
    np.testing.assert_array_equal(other(x, m), layer(x, m))
