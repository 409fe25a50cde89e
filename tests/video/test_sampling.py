"""Which frames are seen: against the definition in exact fractions, and what must never change."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.sampling import SAMPLINGS, Offset, Window, generator, sampler

lengths = st.integers(1, 400)
counts = st.integers(1, 40)


@settings(deadline=None)
@given(lengths, counts)
def test_uniform_is_the_frame_at_the_centre_of_each_part(T, n):
    got = SAMPLINGS["uniform"](T, n)
    if T >= n:
        expected = [floor((k + Fraction(1, 2)) * T / n) for k in range(n)]
    else:
        expected = [min(k, T - 1) for k in range(n)]
    assert got.tolist() == expected


@settings(deadline=None)
@given(lengths, counts, st.integers(0, 2**32))
def test_random_takes_one_frame_on_display_in_each_part(T, n, seed):
    got = SAMPLINGS["random"](T, n, np.random.default_rng(seed))
    assert got.shape == (n,) and got.min() >= 0 and got.max() < T
    if T >= n:
        for k, j in enumerate(got.tolist()):
            # Frame j is on display during [j, j + 1); part k lasts from kT/n to (k+1)T/n.
            assert j < Fraction((k + 1) * T, n) and j + 1 > Fraction(k * T, n)


@settings(deadline=None)
@given(lengths, counts, st.integers(0, 2**32))
def test_dense_is_a_run_of_frames(T, n, seed):
    got = SAMPLINGS["dense"](T, n, np.random.default_rng(seed))
    assert got.min() >= 0 and got.max() < T
    if T >= n:
        assert (np.diff(got) == 1).all()


@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_short_clip_gives_all_its_frames_and_repeats_the_last(name):
    got = SAMPLINGS[name](3, 7, np.random.default_rng(0))
    assert got.tolist() == [0, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("name", ["random", "dense"])
def test_every_frame_can_be_met(name):
    rng = np.random.default_rng(0)
    seen = np.concatenate([SAMPLINGS[name](9, 1, rng) for _ in range(300)])
    counts = np.bincount(seen, minlength=9)
    assert counts.min() > 300 / 9 / 2  # about 33 each


def test_random_looks_move_inside_their_parts():
    rng = np.random.default_rng(0)
    seen = np.array([SAMPLINGS["random"](20, 4, rng) for _ in range(200)])
    assert [np.unique(column).tolist() for column in seen.T] == [
        list(range(5 * k, 5 * k + 5)) for k in range(4)
    ]


def test_draws_follow_from_seed_epoch_index_and_purpose():
    drawn = {
        key: generator(*key).integers(2**60)
        for key in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    }
    assert len(set(drawn.values())) == 5
    assert all(generator(*key).integers(2**60) == value for key, value in drawn.items())


def test_a_sampling_may_be_a_function_and_an_unknown_name_is_refused():
    def first(T, n, rng):
        return np.zeros(n, int)

    assert sampler(first) is first
    with pytest.raises(ValueError, match="uniform, random, dense, not 'evenly'"):
        sampler("evenly")


@settings(deadline=None)
@given(lengths, counts, st.integers(0, 7))
def test_offset_looks_at_a_share_of_each_part(T, n, eighths):
    got = Offset(eighths / 8)(T, n)
    if T >= n:
        expected = [floor((k + Fraction(eighths, 8)) * T / n) for k in range(n)]
        # In floats a place just below a whole number may be rounded up to it.
        assert all(g in (e, e + 1) for g, e in zip(got, expected, strict=True))
        assert got[-1] < T
    else:
        assert got.tolist() == [min(k, T - 1) for k in range(n)]
    for u in (-0.1, 1.0):
        with pytest.raises(ValueError, match="Offset"):
            Offset(u)


def test_offset_of_one_half_is_uniform():
    for T in range(1, 60):
        for n in (1, 3, 8, 16):
            assert np.array_equal(Offset(0.5)(T, n), SAMPLINGS["uniform"](T, n))


@settings(deadline=None)
@given(lengths, counts, st.integers(0, 2**32))
def test_window_is_in_order_and_lasts_as_long_as_asked(T, n, seed):
    got = Window(0.5)(T, n, np.random.default_rng(seed))
    assert len(got) == n and got.min() >= 0 and got.max() < T
    assert (np.diff(got) >= 0).all()
    if T >= n:
        assert got[-1] - got[0] >= (T / 2 - 1) * (n - 2) / n - 1
    else:
        assert got.tolist() == [min(k, T - 1) for k in range(n)]


def test_windows_reach_both_ends_and_have_many_lengths():
    shown = [Window(0.4)(100, 20, np.random.default_rng(seed)) for seed in range(200)]
    starts, lengths = [x[0] for x in shown], [x[-1] - x[0] for x in shown]
    assert min(starts) < 3 and max(x[-1] for x in shown) > 96
    assert max(starts) > 20 and min(lengths) < 64 and max(lengths) > 90
    with pytest.raises(ValueError, match="Window"):
        Window(1.0)
