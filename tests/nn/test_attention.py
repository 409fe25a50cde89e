"""The attentions by hand: values on paper, masks, the lean form, what they must not see, errors."""

import numpy as np
import pytest
from layer_helpers import error_of, normal

import nn
from nn.kernels import lean_attention, threads

SIMILARITIES = ["dot", "scaled_dot", "cosine", "general", "additive"]
PRODUCTS = SIMILARITIES[:4]


@pytest.fixture(autouse=True)
def plain_kernels():
    """What the compiled kernels give is compared in tests of their own, below."""
    with nn.kernels.using("reference"):
        yield


def layer_with(similarity, kind=nn.Attention, **options):
    return kind(similarity, 4, rng=3, **options).astype(np.float64)


# ---- similarities, one pair at a time -----------------------------------------------------


def similarity_by_hand(layer, q, k):
    """s for one query (D,) and one key (D,)."""
    w = {name: p.data for name, p in layer.similarity.named_parameters()}
    return {
        "dot": lambda: q @ k,
        "scaled_dot": lambda: q @ k / np.sqrt(len(q)),
        "cosine": lambda: q @ k / np.sqrt(q @ q) / np.sqrt(k @ k),
        "general": lambda: q @ w["weight"] @ k,
        "additive": lambda: w["weight"] @ np.tanh(q @ w["query_weight"] + k @ w["key_weight"]),
    }[layer.name]()


def softmax_by_hand(s):
    e = np.exp(s - max(s))
    return e / sum(e)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_degree_is_the_sum_of_the_article(name):
    layer = layer_with(name, nn.AttentionDegree)
    x, c = normal(2, 3, 4), normal(2, 5, 4, seed=1)
    for a, other in ((layer(x), x), (layer(x, c), c)):
        assert a.shape == (2, 3)
        for n in range(2):
            for i in range(3):
                s = np.array([similarity_by_hand(layer, x[n, i], c_j) for c_j in other[n]])
                assert a[n, i] == pytest.approx(sum(softmax_by_hand(s) * s))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_attention_is_a_weighted_sum_of_values(name):
    layer = layer_with(name)
    q, k, v = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 6, seed=2)
    y = layer(q, k, v)
    assert y.shape == (2, 3, 6)
    for n in range(2):
        for i in range(3):
            s = np.array([similarity_by_hand(layer, q[n, i], k_j) for k_j in k[n]])
            np.testing.assert_allclose(y[n, i], softmax_by_hand(s) @ v[n])


def test_the_degree_on_paper():
    x = np.array([[[2.0], [0.0]]])  # s = [[4, 0], [0, 0]]
    a = nn.AttentionDegree("dot")(x)
    assert a[0, 0] == pytest.approx(4 * np.exp(4) / (np.exp(4) + 1))
    assert a[0, 1] == 0


def test_the_gradient_of_the_degree_on_paper():
    """∂a/∂s_j = p_j (1 + s_j − a), and with s = q·k and c fixed, dx = Σ_j ds_j c_j."""
    layer = nn.AttentionDegree("dot")
    c = np.array([[[3.0], [1.0]]])
    a = layer(np.array([[[1.0]]]), c)
    p = softmax_by_hand(np.array([3.0, 1.0]))
    assert a[0, 0] == pytest.approx(3 * p[0] + p[1])
    dx, dc = layer.backward(np.array([[2.0]]))
    ds = 2 * p * (1 + np.array([3, 1]) - a[0, 0])
    assert dx[0, 0, 0] == pytest.approx(ds @ [3, 1])
    np.testing.assert_allclose(dc[0, :, 0], ds)


def test_a_sharp_softmax_makes_the_degree_the_best_similarity():
    x, c = 30 * normal(1, 4, 6), normal(1, 7, 6, seed=1)
    best = (x @ c.swapaxes(1, 2)).max(axis=-1)
    np.testing.assert_allclose(nn.AttentionDegree("dot")(x, c), best, rtol=0.02)
    flat = (x @ c.swapaxes(1, 2)).mean(axis=-1)
    np.testing.assert_allclose(1e6 * nn.AttentionDegree("dot")(1e-6 * x, c), flat, rtol=1e-3)


def test_cosine_does_not_see_lengths():
    layer, x, c = nn.AttentionDegree("cosine"), normal(2, 3, 4), normal(2, 5, 4, seed=1)
    stretch = np.random.default_rng(2).uniform(0.1, 10, (2, 3, 1))
    np.testing.assert_allclose(layer(x * stretch, c), layer(x, c))
    layer(x, c)
    dx, _ = layer.backward(normal(2, 3, seed=5))
    np.testing.assert_allclose((dx * x).sum(-1), 0, atol=1e-14)  # nothing along x itself


def test_a_vector_without_direction_has_cosine_0():
    layer, c = nn.AttentionDegree("cosine"), normal(1, 5, 4)
    x = normal(1, 3, 4, seed=1)
    x[0, 1] = 0
    assert layer(x, c)[0, 1] == 0
    dx, dc = layer.backward(np.ones((1, 3)))
    assert not dx[0, 1].any() and np.isfinite(dc).all()


# ---- masks --------------------------------------------------------------------------------


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_what_is_masked_might_as_well_not_be_there(name, lean):
    forgetful = layer_with(name, lean=lean)

    def layer(*inputs):
        with nn.inference():
            return forgetful(*inputs)

    q, k, v = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 6, seed=2)
    few = layer(q, k[:, [0, 2, 3]], v[:, [0, 2, 3]])
    mask = np.array([True, False, True, True, False])
    for shape in [(5,), (1, 5), (1, 1, 5), (1, 1, 1, 5)]:
        np.testing.assert_allclose(layer(q, k, v, mask.reshape(shape)), few)
    per_clip = np.broadcast_to(mask, (2, 3, 5)).copy()
    per_clip[1] = True
    y = layer(q, k, v, per_clip)
    np.testing.assert_allclose(y[0], few[0])
    np.testing.assert_allclose(y[1], layer(q, k, v)[1])


@pytest.mark.parametrize("lean", [False, True])
def test_a_row_with_nothing_to_see_gives_zeros(lean):
    layer = nn.Attention(lean=lean)
    q, k, v = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 6, seed=2)
    mask = np.ones((2, 3, 5), bool)
    mask[1, 2] = False
    y = layer(q, k, v, mask)
    assert not y[1, 2].any() and y[1, :2].all()
    dy = normal(*y.shape, seed=3)
    dq, dk, dv = layer.backward(dy)
    assert not dq[1, 2].any()
    dy[1, 2] += 100  # what is asked of it reaches nobody
    layer(q, k, v, mask)
    for mine, other in zip(layer.backward(dy), (dq, dk, dv), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("lean", [False, True])
def test_no_keys_at_all_give_zeros(lean, kernels):
    q, none = normal(2, 3, 4), np.zeros((2, 0, 4))
    layer = nn.Attention(lean=lean)
    with nn.kernels.using(kernels):
        assert not layer(q, none).any()
        dq, d_none = layer.backward(normal(2, 3, 4))
        assert not dq.any() and d_none.shape == none.shape
        assert layer(q[:0], q[:0]).shape == (0, 3, 4)  # nor any clips
        assert nn.AttentionDegree()(q, none).tolist() == [[0] * 3] * 2


def test_a_degree_with_nothing_to_see_is_0():
    layer = nn.AttentionDegree()
    mask = np.ones((3, 3), bool)
    mask[1] = False
    assert layer(normal(2, 3, 4), mask=mask)[:, 1].tolist() == [0, 0]
    dx = layer.backward(normal(2, 3))
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("lean", [False, True])
def test_a_causal_layer_does_not_see_the_future(lean):
    layer = nn.MultiHeadAttention(6, 2, rng=0, lean=lean).astype(np.float64)
    x = normal(2, 70, 6)
    y = layer(x, causal=True)
    other = x.copy()
    other[:, 40:] = normal(2, 30, 6, seed=1)
    np.testing.assert_array_equal(layer(other, causal=True)[:, :40], y[:, :40])
    dy = np.zeros_like(y)
    dy[:, 39] = 1
    dx = layer.backward(dy)
    assert dx[:, :40].all() and not dx[:, 40:].any()


def test_causal_is_the_lower_triangle_of_a_mask():
    layer = nn.Attention()
    q, k = normal(2, 3, 4), normal(2, 5, 4, seed=1)
    np.testing.assert_array_equal(layer(q, k, causal=True), layer(q, k, mask=np.tri(3, 5) > 0))
    both = layer(q, k, mask=np.arange(5) != 0, causal=True)
    assert not both[:, 0].any() and both[:, 1:].all()


@pytest.mark.parametrize("layer", [nn.Attention(), nn.MultiHeadAttention(4, 2)])
def test_values_without_keys_are_refused(layer):
    x = normal(2, 3, 4)
    with pytest.raises(ValueError, match="values need keys"):
        layer(x, value=x)


@pytest.mark.parametrize("sizes", [((2, 3), (3, 4), (3, 4)), ((2, 3), (2, 4), (2, 5))])
def test_several_heads_say_what_does_not_fit(sizes):
    query, key, value = (normal(*size, 4) for size in sizes)
    with pytest.raises(ValueError, match=r"MultiHeadAttention\(4, 2\): .*query \(2, 3, 4\)"):
        nn.MultiHeadAttention(4, 2)(query, key, value)


# ---- lean ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_lean_is_equal_to_plain(name, kernels):
    """More queries and keys than a tile has, and no whole number of tiles."""
    q, k, v = normal(2, 71, 4), normal(2, 150, 4, seed=1), normal(2, 150, 3, seed=2)
    mask = np.random.default_rng(4).random((2, 1, 71, 150)) < 0.7
    mask[1, :, 50] = False
    plain, lean = layer_with(name, lean=False), layer_with(name, lean=True)
    with nn.kernels.using(kernels):
        for options in ({}, {"causal": True}, {"mask": mask}, {"mask": mask, "causal": True}):
            y, other = plain(q, k, v, **options), lean(q, k, v, **options)
            np.testing.assert_allclose(other, y, rtol=1e-12, atol=1e-13)
            dy = normal(*y.shape, seed=5)
            for a, b in zip(plain.backward(dy), lean.backward(dy), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)
    for (_, a), (_, b) in zip(plain.named_parameters(), lean.named_parameters(), strict=True):
        np.testing.assert_allclose(b.grad, a.grad, rtol=1e-10)


MASKS = {"none": None, "keys": (2, 1, 1, 130), "pairs": (2, 3, 37, 130), "queries": (1, 1, 37, 1)}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_compiled_attention_is_the_specification_in_float32(mask, causal):
    rng = np.random.default_rng(0)
    sizes = [(2, 3, 37, 7), (2, 3, 37, 5), (2, 3, 130, 5), (2, 3, 130, 7)]
    dy, a, b, v = (rng.standard_normal(size).astype(np.float32) for size in sizes)
    seen = None if MASKS[mask] is None else rng.random(MASKS[mask]) < 0.6
    both = []
    for kernels in ("reference", "fast"):
        with nn.kernels.using(kernels):
            y, log_sum = nn.kernels.attention_forward(a, b, v, seen, causal)
            both.append(
                (y, log_sum)
                + tuple(nn.kernels.attention_backward(dy, a, b, v, y, log_sum, seen, causal))
            )
    for mine, other in zip(*both, strict=True):
        assert mine.dtype == other.dtype == np.float32
        np.testing.assert_allclose(other, mine, atol=3e-5 * np.abs(mine).max())


def test_the_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    q, k, dy = (rng.standard_normal((2, 3, 40, 5)).astype(np.float32) for _ in range(3))
    before, results = threads.count(), []
    try:
        for number in (1, 2, 5):
            threads.set_count(number)
            with nn.kernels.using("fast"):
                layer = nn.Attention(lean=True)
                results.append([layer(q, k), *layer.backward(dy)])
    finally:
        threads.set_count(before)
    for result in results[1:]:
        for mine, other in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("size", [60, 1e-20])
def test_lean_attention_neither_overflows_nor_loses_its_way(kernels, size):
    """Scores of thousands, where e^s is infinite; and scores that are nearly all the same."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((1, 50, 8)).astype(np.float32) for _ in range(3))
    q *= size
    layer = nn.Attention("dot", lean=True)
    with nn.kernels.using(kernels):
        y = layer(q, k, v)
        gradients = layer.backward(np.ones_like(y))
    s = q[0].astype(float) @ k[0].T
    e = np.exp(s - s.max(axis=1, keepdims=True))
    np.testing.assert_allclose(y[0], e / e.sum(axis=1, keepdims=True) @ v[0], atol=2e-4)
    assert all(np.isfinite(d).all() for d in gradients)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_stays_nan(kernels, dtype):
    x = normal(1, 40, 3).astype(dtype)
    x[0, 20, 1] = np.nan
    with nn.kernels.using(kernels):
        y = nn.Attention(lean=True)(np.ones((1, 2, 3), dtype), x)
        assert np.isnan(y).all()
        q = np.ones((1, 3, 3), dtype)
        q[0, 1, 0] = np.nan
        y = nn.Attention(lean=True)(q, np.ones((1, 40, 3), dtype))
        assert np.isnan(y[0, 1]).all() and np.isfinite(y[0, [0, 2]]).all()


def test_lean_saves_nothing_as_large_as_the_weights():
    x = normal(1, 200, 4)
    plain, lean = nn.Attention(lean=False), nn.Attention(lean=True)
    plain(x)
    p, v = plain.take()[0]
    assert p.size == 200 * 200
    lean(x)
    values, _, _ = lean.take()
    assert max(a.size for a in values if isinstance(a, np.ndarray)) == x.size


def test_lean_chooses_itself_by_size():
    layer, x = nn.Attention(), normal(2, 16, 3)
    assert len(layer(x) is not None and layer.take()[0]) > 2
    layer(x[:, :15])
    assert len(layer.take()[0]) == 2
    additive = nn.Attention("additive", 3, rng=0)
    additive(x)
    assert len(additive.take()[0]) == 2


def test_the_running_softmax_on_paper():
    """Two tiles of one key each: the second raises the maximum, the first is put right."""
    keys = lean_attention.KEYS
    try:
        lean_attention.KEYS = 1
        a, b, v = np.ones((1, 1, 1, 1)), np.array([[[[1.0], [2.0]]]]), np.array([[[[10.0], [20]]]])
        y, log_sum = lean_attention.attention_forward(a, b, v)
    finally:
        lean_attention.KEYS = keys
    assert y[0, 0, 0, 0] == pytest.approx((10 * np.e + 20 * np.e**2) / (np.e + np.e**2))
    assert log_sum[0, 0, 0] == pytest.approx(np.log(np.e + np.e**2))


# ---- several heads ------------------------------------------------------------------------


def test_one_head_with_identities_is_plain_attention():
    layer = nn.MultiHeadAttention(4, 1).astype(np.float64)
    layer.in_proj_weight.data[...] = np.tile(np.eye(4), 3)
    layer.out_proj.weight.data[...] = np.eye(4)
    q, k, v = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2)
    np.testing.assert_allclose(layer(q, k, v), nn.Attention()(q, k, v))


def test_heads_are_neighbouring_features():
    layer = nn.MultiHeadAttention(6, 3).astype(np.float64)
    layer.in_proj_weight.data[...] = np.tile(np.eye(6), 3)
    layer.out_proj.weight.data[...] = np.eye(6)
    q, k = normal(2, 3, 6), normal(2, 5, 6, seed=1)
    y = layer(q, k)
    for h in range(3):
        part = slice(2 * h, 2 * h + 2)
        np.testing.assert_allclose(y[..., part], nn.Attention()(q[..., part], k[..., part]))


def test_arguments_left_out_are_those_before():
    for layer in (nn.Attention(), nn.MultiHeadAttention(4, 2, rng=0)):
        layer.astype(np.float64)
        x, c = normal(2, 3, 4), normal(2, 5, 4, seed=1)
        dy = normal(2, 3, 4, seed=2)
        y = layer(x, x, x)
        three = layer.backward(dy)
        np.testing.assert_array_equal(layer(x), y)
        np.testing.assert_allclose(layer.backward(dy), sum(three), atol=1e-14)
        y = layer(x, c, c)
        dx, dk, dv = layer.backward(dy)
        np.testing.assert_array_equal(layer(x, c), y)
        again_dx, dc = layer.backward(dy)
        np.testing.assert_allclose(again_dx, dx)
        np.testing.assert_allclose(dc, dk + dv)


def test_attention_alone_knows_no_order():
    layer = nn.MultiHeadAttention(6, 2, rng=0).astype(np.float64)
    x, order = normal(2, 7, 6), np.random.default_rng(1).permutation(7)
    np.testing.assert_allclose(layer(x[:, order]), layer(x)[:, order])


def test_masks_may_differ_from_head_to_head():
    layer = nn.MultiHeadAttention(4, 2).astype(np.float64)
    layer.in_proj_weight.data[...] = np.tile(np.eye(4), 3)
    layer.out_proj.weight.data[...] = np.eye(4)
    x = normal(1, 5, 4)
    mask = np.stack([np.ones((5, 5), bool), np.eye(5, dtype=bool)])  # head 1 sees only itself
    y = layer(x, mask=mask)
    np.testing.assert_allclose(y[..., 2:], x[..., 2:])
    np.testing.assert_allclose(y[..., :2], layer(x)[..., :2])


# ---- watching -----------------------------------------------------------------------------


@pytest.mark.parametrize("lean", [False, True])
def test_watch_keeps_the_weights(lean):
    q, k = normal(2, 3, 6), normal(2, 5, 6, seed=1)
    for layer, heads in ((nn.Attention(lean=lean), 1), (nn.MultiHeadAttention(6, 3, lean=lean), 3)):
        mask = np.arange(5) != 2
        with nn.watch(layer) as seen:
            layer(q, k, mask=mask)
        weights = seen[layer].weights
        assert weights.shape == (2, heads, 3, 5)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
        assert not weights[..., 2].any() and weights[..., :2].all()
        layer.backward(normal(2, 3, 6))
        assert not any(module._saved for _, module in layer.named_modules())
    degree = nn.AttentionDegree()
    with nn.watch(degree) as seen:
        degree(q, k)
    assert seen[degree].weights.shape == (2, 1, 3, 5)


# ---- errors and descriptions --------------------------------------------------------------


def test_errors_name_the_layer_and_both_shapes():
    x, c = normal(2, 3, 4), normal(2, 5, 4)
    layer, heads = nn.Attention(), nn.MultiHeadAttention(4, 2)
    assert "expected query (N, T, D)" in error_of(layer, x[0])
    assert "may differ in T only" in error_of(layer, x, c[..., :3])
    assert "may differ in T only" in error_of(layer, x, c[:1])
    assert "a value for each key, got (2, 5, 4) keys and (2, 4, 4)" in error_of(
        layer, x, c, c[:, :4]
    )
    assert "expected key (N, T, 4), got (2, 5, 3)" in error_of(heads, x, c[..., :3])
    assert "boolean mask" in error_of(layer, x, c, c, np.ones((3, 5)))
    assert "valid[:, None, None, :]" in error_of(heads, x, c, c, np.ones((2, 5), bool))
    assert "expected 7 features" in error_of(nn.Attention("general", 7), x, c)
    layer(x, c)
    assert "expected (2, 3, 4)" in error_of(layer.backward, c)
    heads(x, c)
    assert "expected (2, 3, 4)" in error_of(heads.backward, c)
    degree = nn.AttentionDegree()
    degree(x, c)
    assert "expected (2, 3)" in error_of(degree.backward, x)
    assert "may differ in T only" in error_of(degree, x, c[..., :2])


def test_errors_of_making():
    assert "got 'scaled'" in error_of(nn.Attention, "scaled")
    for name in ("general", "additive"):
        assert "give dim" in error_of(nn.AttentionDegree, name)
    assert "dim must be an integer" in error_of(nn.Attention, "general", 2.5)
    assert "5 features do not fall into 2 equal heads" in error_of(nn.MultiHeadAttention, 5, 2)
    assert "lean needs scores that are products" in error_of(nn.Attention, "additive", 3, lean=True)


def test_descriptions():
    assert nn.Attention("general", 4).describe() == "Attention('general', 4)"
    assert nn.Attention(lean=True).describe() == "Attention('scaled_dot', lean=True)"
    assert nn.AttentionDegree().describe() == "AttentionDegree('scaled_dot')"
    assert nn.MultiHeadAttention(4, 2, bias=False).describe() == (
        "MultiHeadAttention(4, 2, bias=False)"
    )


def test_the_summary_counts_projections_and_pairs():
    """3·T·D·D for the projections, T·T·D twice for scores and values, T·D·D for the output."""
    heads = nn.MultiHeadAttention(4, 2)
    text = nn.Sequential(heads).summary((5, 4))
    assert f"{3 * 5 * 16 + 2 * 5 * 5 * 4 + 5 * 16}" in text.splitlines()[-1]
