"""Attention and transformer layers beside PyTorch's: values, gradients of all inputs and of all
parameters, masks, and weights on their way there and back."""

import numpy as np
import pytest

import nn
from nn.interop import load_torch_state, torch_state

torch = pytest.importorskip("torch")
F = torch.nn.functional

# (kernels, dtype, largest difference as a share of the largest entry)
RUNS = [
    pytest.param("reference", np.float64, 1e-12, id="reference-float64"),
    pytest.param("fast", np.float64, 1e-12, id="fast-float64"),
    pytest.param("fast", np.float32, 2e-5, id="fast-float32"),
]
on_all_runs = pytest.mark.parametrize(("kernels", "dtype", "tolerance"), RUNS)
plain_and_lean = pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])


@pytest.fixture
def rng():
    return np.random.default_rng(13)


def tensor(array):
    return torch.from_numpy(np.array(array, order="C")).requires_grad_()


def assert_close(ours, theirs, tolerance, what):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    difference = np.abs(ours - theirs).max(initial=0.0)
    assert difference <= tolerance * max(np.abs(theirs).max(initial=0.0), 1e-3), (what, difference)


def some_mask(rng, *shape):
    """Random, but each query sees something: PyTorch gives NaN where it does not."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] = True
    return mask


# ---- values weighed by scores -------------------------------------------------------------


@on_all_runs
@plain_and_lean
@pytest.mark.parametrize("masking", ["none", "mask", "causal"])
def test_scaled_dot_product_attention(masking, lean, kernels, dtype, tolerance, rng):
    """(N, heads, T, D) with T_q, T_k, D, D_v all different."""
    arrays = [(2, 3, 7, 5), (2, 3, 11, 5), (2, 3, 11, 4)]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in arrays]
    options, theirs = {}, {}
    if masking == "mask":
        mask = some_mask(rng, 2, 1, 7, 11)
        options, theirs = {"mask": mask}, {"attn_mask": torch.from_numpy(mask)}
    elif masking == "causal":
        options, theirs = {"causal": True}, {"is_causal": True}
    layer = nn.Attention(lean=lean)
    with nn.kernels.using(kernels):
        y = layer(*arrays, **options)
        dy = rng.standard_normal(y.shape).astype(dtype)
        gradients = layer.backward(dy)
    tensors = [tensor(array) for array in arrays]
    their_y = F.scaled_dot_product_attention(*tensors, **theirs)
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    for mine, other, name in zip(gradients, tensors, ("dq", "dk", "dv"), strict=True):
        assert_close(mine, other.grad, tolerance, name)


def scores(layer, q, k):
    """Each similarity in PyTorch's words."""
    w = {name: tensor(p.data) for name, p in layer.similarity.named_parameters()}
    s = {
        "dot": lambda: q @ k.mT,
        "scaled_dot": lambda: q @ k.mT / q.shape[-1] ** 0.5,
        "cosine": lambda: F.cosine_similarity(q[:, :, None], k[:, None], dim=-1),
        "general": lambda: q @ w["weight"] @ k.mT,
        "additive": lambda: (
            torch.tanh((q @ w["query_weight"])[:, :, None] + (k @ w["key_weight"])[:, None])
            @ w["weight"]
        ),
    }[layer.name]()
    return s, w


@on_all_runs
@pytest.mark.parametrize("name", ["dot", "scaled_dot", "cosine", "general", "additive"])
@pytest.mark.parametrize("kind", ["Attention", "AttentionDegree"])
def test_every_similarity(kind, name, kernels, dtype, tolerance, rng):
    layer = getattr(nn, kind)(name, 5, rng=1).astype(dtype)
    q, k = (rng.standard_normal((2, T, 5)).astype(dtype) for T in (20, 17))
    with nn.kernels.using(kernels):
        y = layer(q, k)
        dy = rng.standard_normal(y.shape).astype(dtype)
        gradients = layer.backward(dy)
    their_q, their_k = tensor(q), tensor(k)
    s, w = scores(layer, their_q, their_k)
    p = s.softmax(-1)
    their_y = p @ their_k if kind == "Attention" else (p * s).sum(-1)
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    assert_close(gradients[0], their_q.grad, tolerance, "dq")
    assert_close(gradients[1], their_k.grad, tolerance, "dk")
    for parameter, array in layer.similarity.named_parameters():
        assert_close(array.grad, w[parameter].grad, tolerance, parameter)


# ---- modules with weights -----------------------------------------------------------------


def both(ours, theirs, dtype, rng):
    """The two modules with the same random weights, ours from theirs, in one dtype."""
    theirs = theirs.to(getattr(torch, np.dtype(dtype).name))
    with torch.no_grad():
        for parameter in theirs.parameters():  # no biases of 0, no gains of 1
            change = rng.uniform(-0.4, 0.4, tuple(parameter.shape)).astype(dtype)
            parameter += torch.from_numpy(np.asarray(change))
    state = {name: array.numpy().copy() for name, array in theirs.state_dict().items()}
    ours = ours.astype(dtype)
    load_torch_state(ours, state)
    again = torch_state(ours)
    assert list(again) == list(state)  # the same names in the same order, and the same way back
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)
    return ours, theirs


def assert_same_gradients(ours, theirs, tolerance):
    """Gradients take the way of weights: into a module of ours, whose layout they then have."""
    for (name, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        grad = other.grad if other.ndim < 2 else other.grad.mT
        assert_close(parameter.grad, grad, tolerance, name)


@on_all_runs
@plain_and_lean
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masking", ["none", "heads", "keys", "causal"])
def test_multi_head_attention(masking, bias, lean, kernels, dtype, tolerance, rng):
    N, H, T_q, T_k, D = 2, 3, 7, 11, 12
    ours, theirs = both(
        nn.MultiHeadAttention(D, H, bias=bias, lean=lean),
        torch.nn.MultiheadAttention(D, H, bias=bias, batch_first=True),
        dtype,
        rng,
    )
    if masking == "causal":
        T_k = T_q
    arrays = [rng.standard_normal((N, T, D)).astype(dtype) for T in (T_q, T_k, T_k)]
    options, their_options = {}, {}
    if masking == "heads":  # theirs are True where nothing may be seen, N·H of them
        mask = some_mask(rng, N, H, T_q, T_k)
        options = {"mask": mask}
        their_options = {"attn_mask": torch.from_numpy(~mask.reshape(N * H, T_q, T_k))}
    elif masking == "keys":
        valid = some_mask(rng, N, T_k)
        options = {"mask": valid[:, None, None, :]}
        their_options = {"key_padding_mask": torch.from_numpy(~valid)}
    elif masking == "causal":
        options = {"causal": True}
        future = torch.nn.Transformer.generate_square_subsequent_mask(T_q) != 0
        their_options = {"attn_mask": future, "is_causal": True}
    with nn.kernels.using(kernels):
        with nn.watch(ours) as seen:
            y = ours(*arrays, **options)
        dy = rng.standard_normal(y.shape).astype(dtype)
        gradients = ours.backward(dy)
    tensors = [tensor(array) for array in arrays]
    their_y, weights = theirs(*tensors, average_attn_weights=False, **their_options)
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    assert_close(seen[ours].weights, weights, tolerance, "weights")
    for mine, other, name in zip(gradients, tensors, ("dq", "dk", "dv"), strict=True):
        assert_close(mine, other.grad, tolerance, name)
    assert_same_gradients(ours, theirs, tolerance)


@on_all_runs
@pytest.mark.parametrize("lean", [False, True], ids=["plain", "lean"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_encoder_layer(norm_first, activation, lean, kernels, dtype, tolerance, rng):
    options = dict(norm_first=norm_first, activation=activation)
    ours, theirs = both(
        nn.TransformerEncoderLayer(12, 3, 20, lean=lean, **options),
        torch.nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True, **options),
        dtype,
        rng,
    )
    x, valid = rng.standard_normal((2, 7, 12)).astype(dtype), some_mask(rng, 2, 7)
    future = torch.nn.Transformer.generate_square_subsequent_mask(7) != 0
    with nn.kernels.using(kernels):
        y = ours(x, mask=valid[:, None, None, :], causal=True)
        dy = rng.standard_normal(y.shape).astype(dtype)
        dx = ours.backward(dy)
    their_x = tensor(x)
    their_y = theirs(their_x, src_mask=future, src_key_padding_mask=torch.from_numpy(~valid))
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    assert_close(dx, their_x.grad, tolerance, "dx")
    assert_same_gradients(ours, theirs, tolerance)


@on_all_runs
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm_first", [True, False], ids=["pre", "post"])
def test_decoder_layer(norm_first, activation, kernels, dtype, tolerance, rng):
    options = dict(norm_first=norm_first, activation=activation)
    ours, theirs = both(
        nn.TransformerDecoderLayer(12, 3, 20, **options),
        torch.nn.TransformerDecoderLayer(12, 3, 20, dropout=0.0, batch_first=True, **options),
        dtype,
        rng,
    )
    x, memory = (rng.standard_normal((2, T, 12)).astype(dtype) for T in (7, 11))
    valid = some_mask(rng, 2, 11)
    with nn.kernels.using(kernels):
        y = ours(x, memory, memory_mask=valid[:, None, None, :])
        dy = rng.standard_normal(y.shape).astype(dtype)
        dx, d_memory = ours.backward(dy)
    future = torch.nn.Transformer.generate_square_subsequent_mask(7) != 0
    their_x, their_memory = tensor(x), tensor(memory)
    their_y = theirs(
        their_x, their_memory, tgt_mask=future, memory_key_padding_mask=torch.from_numpy(~valid)
    )
    their_y.backward(torch.from_numpy(dy))
    assert_close(y, their_y, tolerance, "y")
    assert_close(dx, their_x.grad, tolerance, "dx")
    assert_close(d_memory, their_memory.grad, tolerance, "dmemory")
    assert_same_gradients(ours, theirs, tolerance)
