"""The fast kernels against the reference, over configurations drawn by hypothesis."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import kernels

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-13}

# The first example of each dtype compiles, which no deadline foresees.
drawn = settings(deadline=None, max_examples=40)


def assert_close(fast, wanted, dtype):
    assert fast.dtype == wanted.dtype == dtype
    assert fast.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(fast, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


def both(function, *args, using="fast"):
    """What the fast kernels and what the reference make of it."""
    with kernels.using(using):
        fast = function(*args)
    with kernels.using("reference"):
        return fast, function(*args)


@st.composite
def windows(draw, dilated=True):
    """A window that fits into its padded input, on one to three axes, unequal everywhere."""
    axes = draw(st.integers(1, 3))

    def per_axis(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    K = per_axis(1, 4)
    stride = per_axis(1, 3)
    dilation = per_axis(1, 3) if dilated else (1,) * axes
    spans = [d * (k - 1) + 1 for k, d in zip(K, dilation, strict=True)]
    padding, S = [], []
    for k, span in zip(K, spans, strict=True):
        most = k // 2 if not dilated else 3  # pooling windows never hold padding alone
        before, after = draw(st.integers(0, most)), draw(st.integers(0, most))
        least = max(1, span - before - after)
        S.append(draw(st.integers(least, least + (20 if axes == 1 else 7))))
        padding.append((before, after))
    return tuple(S), K, stride, tuple(padding), dilation


@pytest.mark.parametrize(
    "using, dtype",
    [("loops", np.float32), ("fast", np.float32), ("direct", np.float32), ("direct", np.float64)],
)
@drawn
@given(
    window=windows(),
    N=st.integers(1, 3),
    groups=st.integers(1, 3),
    C_group=st.integers(1, 9),
    outputs=st.integers(1, 20),
    bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolution_equals_the_reference(
    using, dtype, window, N, groups, C_group, outputs, bias, seed
):
    S, K, stride, padding, dilation = window
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, *S, groups * C_group)).astype(dtype)
    w = rng.standard_normal((*K, C_group, groups * outputs)).astype(dtype)
    b = rng.standard_normal(groups * outputs).astype(dtype) if bias else None
    how = (stride, padding, dilation, groups)

    y, y_wanted = both(kernels.conv_forward, x, w, b, *how, using=using)
    assert_close(y, y_wanted, dtype)

    dy = rng.standard_normal(y.shape).astype(dtype)
    assert_close(*both(kernels.conv_backward_input, dy, w, S, *how, using=using), dtype)
    assert_close(*both(kernels.conv_backward_weight, dy, x, K, *how, using=using), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@drawn
@given(
    window=windows(dilated=False),
    N=st.integers(1, 3),
    C=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_equals_the_reference(dtype, window, N, C, seed):
    S, K, stride, padding, _ = window
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (N, *S, C)).astype(dtype)  # many ties
    how = (K, stride, padding)

    (y, winner), (y_wanted, winner_wanted) = both(kernels.max_pool_forward, x, *how)
    assert winner.dtype == winner_wanted.dtype == np.uint8
    np.testing.assert_array_equal(y, y_wanted)
    np.testing.assert_array_equal(winner, winner_wanted)

    dy = rng.standard_normal(y.shape).astype(dtype)
    assert_close(*both(kernels.max_pool_backward, dy, winner, S, *how), dtype)
    assert_close(*both(kernels.avg_pool_forward, x, *how), dtype)
    assert_close(*both(kernels.avg_pool_backward, dy, S, *how), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "N, S, C_in, C_out, K, stride, padding, groups",
    [
        (2, (19, 37), 3, 33, (3, 3), (1, 1), ((1, 1), (1, 1)), 1),  # a colour image
        (1, (9, 30), 40, 70, (3, 3), (1, 1), ((1, 1), (1, 1)), 1),  # channels beyond one tile
        (1, (3, 9, 11), 17, 35, (3, 3, 3), (1, 2, 2), ((1, 1), (1, 1), (1, 1)), 1),
        (2, (13, 29), 24, 48, (1, 1), (1, 1), ((0, 0), (0, 0)), 1),  # a matrix product
        (2, (13, 29), 24, 48, (1, 1), (2, 3), ((0, 1), (0, 0)), 1),  # the same, with gaps
        (2, (6, 5, 7), 9, 11, (3, 1, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0)), 1),  # time alone
        (1, (2, 150), 5, 7, (2, 5), (1, 3), ((0, 1), (2, 0)), 1),  # a long row, unequal padding
        (1, (7, 7), 4, 6, (7, 7), (1, 1), ((0, 0), (0, 0)), 1),  # the kernel covers the input
        (1, (5, 301), 5, 40, (3, 3), (1, 1), ((1, 1), (1, 1)), 1),  # rows in several blocks
        (9, (3, 4), 30, 8, (3, 3), (1, 1), ((1, 1), (1, 1)), 1),  # several clips to a block
        (2, (6, 17), 10, 160, (3, 3), (2, 1), ((1, 1), (0, 0)), 2),  # groups, several panels
    ],
)
def test_convolution_of_ordinary_layers(dtype, N, S, C_in, C_out, K, stride, padding, groups):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, *S, C_in)).astype(dtype)
    w = rng.standard_normal((*K, C_in // groups, C_out)) / np.sqrt(np.prod(K) * C_in)
    w = w.astype(dtype)
    b = rng.standard_normal(C_out).astype(dtype)
    how = (stride, padding, (1,) * len(S), groups)
    y, y_wanted = both(kernels.conv_forward, x, w, b, *how)
    assert_close(y, y_wanted, dtype)
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert_close(*both(kernels.conv_backward_input, dy, w, S, *how), dtype)
    assert_close(*both(kernels.conv_backward_weight, dy, x, K, *how), dtype)


def test_large_weights_are_used_in_parts(monkeypatch):
    from nn.kernels import direct

    monkeypatch.setattr(direct, "PANEL_BYTES", 1)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 5, 7, 6)).astype(np.float32)
    w = rng.standard_normal((3, 3, 6, 150)).astype(np.float32)
    y, y_wanted = both(kernels.conv_forward, x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    assert_close(y, y_wanted, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@drawn
@given(
    window=windows(),
    N=st.integers(1, 2),
    C=st.integers(2, 40),
    multiplier=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_depthwise_equals_the_reference(dtype, window, N, C, multiplier, seed):
    S, K, stride, padding, dilation = window
    S = (*S[:-1], S[-1] + 14)  # wide enough for tiles beside the borders
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, *S, C)).astype(dtype)
    w = rng.standard_normal((*K, 1, multiplier * C)).astype(dtype)
    b = rng.standard_normal(multiplier * C).astype(dtype)
    how = (stride, padding, dilation, C)
    y, y_wanted = both(kernels.conv_forward, x, w, b, *how)
    assert_close(y, y_wanted, dtype)
    dy = rng.standard_normal(y.shape).astype(dtype)
    assert_close(*both(kernels.conv_backward_input, dy, w, S, *how), dtype)
    assert_close(*both(kernels.conv_backward_weight, dy, x, K, *how), dtype)


@pytest.mark.parametrize("C", [5, 40, 300])
def test_depthwise_in_blocks_of_the_width(C):
    """Three taps that meet the same inputs, and more outputs than one block takes."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 5, 101, C)).astype(np.float32)
    w = rng.standard_normal((3, 3, 1, C)).astype(np.float32)
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), C)
    y, y_wanted = both(kernels.conv_forward, x, w, None, *how)
    assert_close(y, y_wanted, np.float32)
    assert_close(*both(kernels.conv_backward_input, y, w, (5, 101), *how), np.float32)
    assert_close(*both(kernels.conv_backward_weight, y, x, (3, 3), *how), np.float32)


def test_winners_of_large_windows_take_two_bytes():
    rng = np.random.default_rng(9)
    x = rng.standard_normal((1, 20, 21, 18)).astype(np.float32)
    how = ((17, 17), (2, 1), ((0, 3), (8, 0)))
    (y, winner), (y_wanted, winner_wanted) = both(kernels.max_pool_forward, x, *how)
    assert winner.dtype == winner_wanted.dtype == np.uint16
    assert winner.max() > 255
    np.testing.assert_array_equal(y, y_wanted)
    np.testing.assert_array_equal(winner, winner_wanted)
    dx, dx_wanted = both(kernels.max_pool_backward, y, winner, (20, 21), *how)
    assert_close(dx, dx_wanted, np.float32)


def test_arrays_need_not_be_contiguous_or_writeable():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 5, 9, 8)).astype(np.float32).transpose(0, 2, 3, 1)[:, ::2]
    w = np.asfortranarray(rng.standard_normal((3, 3, 5, 4)).astype(np.float32))
    x.flags.writeable = w.flags.writeable = False
    b = np.broadcast_to(np.float32(0.5), (4,))
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y, y_wanted = both(kernels.conv_forward, x, w, b, *how)
    assert_close(y, y_wanted, np.float32)
    dy = np.broadcast_to(np.float32(0.25), y.shape)
    assert_close(*both(kernels.conv_backward_input, dy, w, x.shape[1:-1], *how), np.float32)
    assert_close(*both(kernels.conv_backward_weight, dy, x, (3, 3), *how), np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_goes_through(dtype):
    x = np.ones((1, 6, 6, 3), dtype)
    x[0, 1, 2, 1] = np.nan
    pool = ((2, 2), (2, 2), ((0, 0), (0, 0)))
    (y, winner), (y_wanted, winner_wanted) = both(kernels.max_pool_forward, x, *pool)
    np.testing.assert_array_equal(y, y_wanted)
    np.testing.assert_array_equal(winner, winner_wanted)
    assert np.isnan(y).sum() == 1
    w = np.ones((3, 3, 3, 2), dtype)
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y, y_wanted = both(kernels.conv_forward, x, w, None, *how)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(y_wanted))
    assert 0 < np.isnan(y).sum() < y.size


def test_a_second_nan_does_not_take_the_place_of_the_first():
    x = np.array([1, np.nan, 5, np.nan], np.float32).reshape(1, 4, 1)
    _, winner = kernels.max_pool_forward(x, (4,), (4,), ((0, 0),))
    assert winner.item() == 1


@pytest.mark.parametrize("name", ["reference", "fast"])
def test_padding_never_wins_even_against_minus_infinity(name):
    x = np.full((1, 2, 1), -np.inf, np.float32)
    with kernels.using(name):
        y, winner = kernels.max_pool_forward(x, (2,), (1,), ((1, 1),))
        dx = kernels.max_pool_backward(np.ones_like(y), winner, (2,), (2,), (1,), ((1, 1),))
    assert (y == -np.inf).all()
    assert dx.sum() == 3


def test_no_clips_give_no_outputs():
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    w = np.ones((3, 3, 2, 4), np.float32)
    x = np.empty((0, 5, 6, 2), np.float32)
    y = kernels.conv_forward(x, w, None, *how)
    assert y.shape == (0, 5, 6, 4)
    assert kernels.conv_backward_input(y, w, (5, 6), *how).shape == x.shape
    np.testing.assert_array_equal(kernels.conv_backward_weight(y, x, (3, 3), *how), 0 * w)


BITS = """
import hashlib, sys
import numpy as np
from nn import kernels

kernels.threads.set_count(int(sys.argv[1]))
digest = hashlib.sha256()
rng = np.random.default_rng(8)
for S, C_in, C_out, groups in [
    ((13, 21), 3, 40, 1), ((13, 21), 24, 40, 1), ((9, 17), 24, 24, 24), ((8, 8), 32, 20, 4)
]:
    x = rng.standard_normal((3, *S, C_in)).astype(np.float32)
    w = rng.standard_normal((3, 3, C_in // groups, C_out)).astype(np.float32)
    for stride in (1, 1), (2, 2):
        how = stride, ((1, 1), (1, 1)), (1, 1), groups
        y = kernels.conv_forward(x, w, None, *how)
        digest.update(y.tobytes())
        digest.update(kernels.conv_backward_input(y, w, S, *how).tobytes())
        digest.update(kernels.conv_backward_weight(y, x, (3, 3), *how).tobytes())
        pool = (3, 3), stride, ((1, 1), (1, 1))
        y, winner = kernels.max_pool_forward(x, *pool)
        digest.update(kernels.max_pool_backward(y, winner, S, *pool).tobytes())
        digest.update(kernels.avg_pool_forward(x, *pool).tobytes())
print(digest.hexdigest())
"""


def test_the_number_of_threads_changes_no_bit():
    def run(threads):
        env = {**os.environ}
        command = [sys.executable, "-c", BITS, str(threads)]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert run(1) == run(2) == run(4) != ""


def test_wrong_arrays_are_refused_in_one_line():
    how = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    x, w = np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2, 4), np.float32)
    with pytest.raises(TypeError, match="float32 or float64, got uint8.*astype"):
        kernels.conv_forward(x.astype(np.uint8), w.astype(np.uint8), None, *how)
    with pytest.raises(ValueError, match=r"x must have the shape .*, 2\), got .*, 3\)"):
        kernels.conv_forward(np.ones((1, 5, 5, 3), np.float32), w, None, *how)
    with pytest.raises(ValueError, match=r"dy must have the shape \(1, 3, 3, 4\)"):
        kernels.conv_backward_input(np.ones((1, 9, 9, 4), np.float32), w, (5, 5), *how)
    with pytest.raises(ValueError, match=r"dy must have the shape \(1, 3, 3, 4\)"):
        kernels.conv_backward_weight(np.ones((1, 9, 9, 4), np.float32), x, (3, 3), *how)
    with pytest.raises(ValueError, match=r"dy must have the shape \(1, 2, 2, 2\)"):
        pool = ((2, 2), (2, 2), ((0, 0), (0, 0)))
        kernels.avg_pool_backward(np.ones((1, 3, 3, 2), np.float32), (5, 5), *pool)


def test_using_nests_and_is_validated():
    assert kernels.current() == "fast"
    with kernels.using("reference"):
        assert kernels.current() == "reference"
        with kernels.using("fast"):
            assert kernels.current() == "fast"
        assert kernels.current() == "reference"
        seen = []
        other = threading.Thread(target=lambda: seen.append(kernels.current()))
        other.start()
        other.join()
        assert seen == ["fast"]
    assert kernels.current() == "fast"
    with pytest.raises(ValueError, match="reference.*fast.*got 'quick'"):
        kernels.using("quick")


def test_an_error_inside_using_restores_the_choice():
    with pytest.raises(ZeroDivisionError), kernels.using("reference"):
        raise ZeroDivisionError
    assert kernels.current() == "fast"
