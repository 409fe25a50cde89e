"""Cross-entropy on class ids, compiled, against its equations; and numbers at their ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from nn import kernels

DTYPES = [np.float32, np.float64]
drawn = settings(deadline=None, max_examples=40)


def both(loss, z, labels):
    """[(loss, dz)] of the compiled kernels and of the reference."""
    results = []
    for name in ("fast", "reference"):
        with kernels.using(name), np.errstate(invalid="ignore"):
            results.append((loss(z, labels), loss.backward()))
    return results


def assert_same(loss, z, labels):
    """Equal to rounding, and not a number in the same places. Returns the compiled ones."""
    (value, dz), (wanted, wanted_dz) = both(loss, z, labels)
    close = {4: 3e-6, 8: 1e-13}[z.itemsize]
    np.testing.assert_allclose(value, wanted, rtol=close, atol=close)
    np.testing.assert_allclose(dz, wanted_dz, rtol=close, atol=close / max(1, len(z)))
    assert dz.shape == z.shape and dz.dtype == z.dtype
    return value, dz


@pytest.mark.parametrize("dtype", DTYPES)
@drawn
@given(
    rows=st.integers(0, 40),
    K=st.sampled_from([1, 2, 7, 10, 31, 64, 65, 129, 1000]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    weighted=st.booleans(),
    ignore=st.sampled_from([None, 0, -1, 255]),
    by_columns=st.booleans(),
    size=st.sampled_from([0.1, 3.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_equals_the_equations(rows, K, smoothing, weighted, ignore, by_columns, size, seed, dtype):
    rng = np.random.default_rng(seed)
    z = (size * rng.standard_normal((rows, K))).astype(dtype)
    ids = rng.integers(0, K, rows)
    if ignore is not None:
        ids[rng.random(rows) < 0.4] = ignore
    weight = np.where(rng.random(K) < 0.2, 0, rng.uniform(0.5, 2, K)) if weighted else None
    loss = nn.CrossEntropyLoss(smoothing, weight, ignore)
    value, dz = assert_same(loss, np.asfortranarray(z) if by_columns else z, ids)
    assert (ids != ignore).any() or (value == 0 and not dz.any())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_large_enough_for_threads(smoothing, dtype):
    """The same bits for any number of them, and the equations' numbers."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1501, 101)).astype(dtype)
    ids = rng.integers(0, 101, 1501)
    loss = nn.CrossEntropyLoss(smoothing)
    value, dz = assert_same(loss, z, ids)
    count = kernels.threads.count()
    try:
        for threads in (1, 2, 4):
            kernels.threads.set_count(threads)
            assert loss(z, ids) == value
            np.testing.assert_array_equal(loss.backward(), dz)
    finally:
        kernels.threads.set_count(count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_that_are_ruled_out(dtype):
    """With the logit −∞ a class takes no probability, and no other feels that it is there."""
    rng = np.random.default_rng(1)
    z, ids = rng.standard_normal((9, 70)).astype(dtype), rng.integers(0, 20, 9)
    masked = z.copy()
    masked[:, 20:] = -np.inf
    loss = nn.CrossEntropyLoss()
    value, dz = assert_same(loss, masked, ids)
    assert value == pytest.approx(loss(z[:, :20], ids), rel=1e-6)
    np.testing.assert_allclose(dz[:, :20], loss.backward(), atol=1e-7)
    assert not dz[:, 20:].any()
    ids[4] = 33  # which cannot be
    assert assert_same(loss, masked, ids)[0] == np.inf
    assert both(nn.CrossEntropyLoss(0.1), masked, ids)[0][0] == np.inf
    ignoring = nn.CrossEntropyLoss(ignore_index=33)
    assert np.isfinite(assert_same(ignoring, masked, ids)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 17, 69])
def test_what_is_not_a_number_stays_so(place, bad, dtype):
    """In the loss, and in the gradients of its row; not in those of other rows."""
    z = np.random.default_rng(2).standard_normal((3, 70)).astype(dtype)
    z[1, place] = bad
    value, dz = assert_same(nn.CrossEntropyLoss(), z, np.array([5, 17, 2]))
    assert np.isnan(value) and np.isnan(dz[1]).all() and np.isfinite(dz[[0, 2]]).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_row_of_nothing_but_minus_infinity_is_not_a_number(smoothing):
    z = np.ones((3, 5), np.float32)
    z[1] = -np.inf
    (value, dz), _ = both(nn.CrossEntropyLoss(smoothing), z, np.array([1, 2, 3]))
    assert np.isnan(value) and np.isnan(dz[1]).all() and np.isfinite(dz[[0, 2]]).all()
    ignoring = nn.CrossEntropyLoss(smoothing, ignore_index=2)
    value, dz = assert_same(ignoring, z, np.array([1, 2, 3]))
    assert value == pytest.approx(np.log(5)) and not dz[1].any()


@pytest.mark.parametrize("offset", [0, 1e4, -1e4, 1e6])
def test_an_offset_of_all_logits_changes_nothing(offset):
    """Steps of 1/16 are exact in float32 up there, and so is what comes out."""
    rng = np.random.default_rng(3)
    z = (rng.integers(-50, 50, (20, 33)) / 16).astype(np.float32)
    ids = rng.integers(0, 33, 20)
    for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(0.1)):
        value, dz = loss(z, ids), loss.backward()
        assert loss(z + np.float32(offset), ids) == value
        np.testing.assert_array_equal(loss.backward(), dz)


def test_one_sure_row_in_float32_is_as_exact_as_in_float64():
    """What is nearly right costs 10⁻⁷, which log(S) near 1 resolves: no 1 − p anywhere."""
    z = np.zeros((1, 3), np.float32)
    z[0, 1] = 10
    loss = nn.CrossEntropyLoss()
    assert loss(z, np.array([1])) == pytest.approx(np.log1p(2 * np.exp(-10.0)), abs=2e-7)
    expected = np.exp(-10.0) / (1 + 2 * np.exp(-10.0))
    np.testing.assert_allclose(loss.backward()[0, [0, 2]], expected, rtol=3e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_wrong_ids_of_any_type_are_found(dtype):
    z = np.zeros((3, 4))
    ids = np.array([1, 200, 2]).astype(dtype)
    with pytest.raises(ValueError, match=f"label {ids[1]} at position 1 is outside 0..3"):
        nn.CrossEntropyLoss()(z, ids)
    with pytest.raises(ValueError, match=f"label {ids[1]} at position 1 is outside 0..3"):
        nn.CrossEntropyLoss(ignore_index=1)(z, ids)
