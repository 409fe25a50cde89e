"""Divisions of a data set: nothing lost, no group torn apart, classes mixed alike."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.splitting import split


class Listed:
    """The part of a data set that `split` needs."""

    def __init__(self, samples, classes):
        self.samples, self.classes = samples, classes

    def subset(self, indices):
        return Listed([self.samples[i] for i in indices], self.classes)


def listed(counts, recordings=None, seed=0):
    """counts[k] clips of class k, named after one of so many recordings (or each its own)."""
    rng = np.random.default_rng(seed)
    classes = [f"class{k}" for k in range(len(counts))]
    samples = []
    for k, count in enumerate(counts):
        for i in range(count):
            take = i if recordings is None else rng.integers(recordings)
            samples.append((f"data/{classes[k]}/rec{take:03d}_{i:03d}.mp4", k))
    return Listed(samples, classes)


def per_class(part):
    return np.bincount([label for _, label in part.samples], minlength=len(part.classes))


@settings(deadline=None)
@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=5),
    st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.6, 0.25, 0.15)]),
    st.integers(12, 30),
    st.integers(0, 10**6),
)
def test_parts_share_neither_clips_nor_recordings(counts, fractions, recordings, seed):
    data = listed(counts, recordings, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small classes may well be missing from a part
        try:
            parts = split(data, fractions, group=r"^rec\d+", seed=seed)
        except ValueError as error:
            assert "of clips cannot fill" in str(error)  # too few: never torn apart instead
            return
    assert sorted(s for part in parts for s in part.samples) == sorted(data.samples)
    groups = [{re.search(r"rec\d+", path).group() for path, _ in part.samples} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups))


@settings(deadline=None)
@given(
    st.lists(st.integers(10, 60), min_size=2, max_size=8),
    st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.7, 0.15, 0.15)]),
    st.integers(0, 10**6),
)
def test_single_clips_are_divided_as_asked_in_every_class(counts, fractions, seed):
    parts = split(listed(counts), fractions, seed=seed)
    for fraction, part in zip(fractions, parts, strict=True):
        assert abs(len(part.samples) - fraction * sum(counts)) <= 1.5
        assert np.abs(per_class(part) - fraction * np.array(counts)).max() <= 2


def test_recordings_that_hold_several_classes_are_mixed_alike():
    data = listed([60, 20, 20], recordings=25)
    train, test = split(data, (0.75, 0.25), group=r"^rec\d+", seed=3)
    assert abs(len(test.samples) - 25) <= 4
    np.testing.assert_allclose(per_class(test), [15, 5, 5], atol=3)


def test_many_small_classes_still_give_the_shares_asked_for():
    with pytest.warns(UserWarning, match="part 1 .* no clip of .* classes: class"):
        parts = split(listed([2] * 50), (0.8, 0.2))
    assert [len(part.samples) for part in parts] == [80, 20]


def grouped(sizes):
    """One class; a recording of each of these numbers of clips."""
    names = [f"data/a/rec{r:02d}_{i:02d}.mp4" for r, size in enumerate(sizes) for i in range(size)]
    return Listed([(name, 0) for name in names], ["a"])


@pytest.mark.parametrize("seed", range(5))
def test_one_large_recording_does_not_spoil_the_shares(seed):
    parts = split(grouped([1] * 35 + [30] + [1] * 35), (0.7, 0.3), group=r"rec\d+", seed=seed)
    assert [len(part.samples) for part in parts] == [70, 30]


def test_large_and_small_recordings_go_to_all_parts():
    _, test = split(grouped([10] * 8 + [1] * 40), (0.75, 0.25), group=r"rec\d+")
    large = {path for path, _ in test.samples if path.endswith("_09.mp4")}
    assert len(large) == 2 and len(test.samples) == 30


def test_the_seed_decides_and_every_part_keeps_all_classes():
    data = listed([9, 9])
    first, again, other = (split(data, (0.5, 0.5), seed=s) for s in (1, 1, 2))
    assert [p.samples for p in first] == [p.samples for p in again]
    assert [p.samples for p in first] != [p.samples for p in other]
    assert all(part.classes == data.classes for part in first)


def test_group_may_be_a_function_or_an_expression_with_groups():
    data = listed([12, 12], recordings=6)
    by_function = split(data, (0.5, 0.5), group=lambda name: name.split("_")[0])
    by_match = split(data, (0.5, 0.5), group=r"^rec\d+")
    by_group = split(data, (0.5, 0.5), group=r"^(rec\d+)_\d")  # what is in brackets is the group
    assert [p.samples for p in by_function] == [p.samples for p in by_match]
    assert [p.samples for p in by_group] == [p.samples for p in by_match]


def test_a_group_in_two_classes_stays_whole():
    samples = [("a/x1.mp4", 0), ("a/x2.mp4", 0), ("b/x1.mp4", 1), ("b/x2.mp4", 1)]
    parts = split(Listed(samples, ["a", "b"]), (0.5, 0.5), group=r"^x\d")
    assert {tuple(sorted(path[2:] for path, _ in part.samples)) for part in parts} == {
        ("x1.mp4", "x1.mp4"),
        ("x2.mp4", "x2.mp4"),
    }


def test_what_cannot_be_divided_is_said():
    data = listed([10, 10], recordings=2)
    with pytest.raises(ValueError, match="2 groups of clips cannot fill 3 parts"):
        split(data, (0.4, 0.3, 0.3), group=r"^rec\d+")
    with pytest.raises(ValueError, match=r"'\^take' matches no file name, such as 'rec"):
        split(data, (0.5, 0.5), group="^take")
    with pytest.raises(ValueError, match="1 group of clips cannot fill 2 parts"):
        split(data, (0.5, 0.5), group="^rec")
    with pytest.raises(ValueError, match=r"^group '\(' is no regular expression: missing \)"):
        split(data, (0.5, 0.5), group="(")
    with pytest.raises(ValueError, match="group 3 is no regular expression"):
        split(data, (0.5, 0.5), group=3)
    with pytest.raises(ValueError, match="part 1 .* would be empty"):
        split(listed([10]), (0.98, 0.02))
    for fractions in [(0.5, 0.4), (1.2, -0.2), (), 0.8]:
        with pytest.raises(ValueError, match="sum 1"):
            split(data, fractions)


def test_names_that_do_not_match_and_missing_classes_are_warned_about():
    data = listed([6, 6], recordings=4)
    data.samples.append(("data/class0/other.mp4", 0))
    with pytest.warns(UserWarning, match="does not match 1 file name, such as 'other.mp4'"):
        split(data, (0.5, 0.5), group=r"^rec\d+")
    with pytest.warns(UserWarning, match="no clip of 1 class: class1"):
        split(listed([8, 1]), (0.5, 0.5))
