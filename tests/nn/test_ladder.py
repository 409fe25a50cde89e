"""The rungs of the kernel ladder against the reference, and its race."""

import os

import numba
import numpy as np
import pytest

from nn.bench import ladder as bench
from nn.kernels import ladder, reference
from nn.kernels.ladder import race

HOW = (1, 1), ((1, 1), (1, 1)), (1, 1), 1  # stride, padding, dilation, groups


def layer(N, H, W, C, O):
    """x and w for outputs of about unit size."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, C, O)) / np.sqrt(9 * C)
    return rng.standard_normal((N, H, W, C), dtype=np.float32), w.astype(np.float32)


@pytest.mark.parametrize("rung", ladder.RUNGS, ids=lambda rung: rung.__name__)
@pytest.mark.parametrize("shape", [(2, 7, 9, 5, 3), (1, 1, 2, 3, 35), (3, 11, 29, 33, 2)])
def test_every_rung_equals_the_reference(rung, shape):
    if rung is ladder.plain_python:
        shape = (*shape[:3], min(shape[3], 5), min(shape[4], 4))
    x, w = layer(*shape)
    y = rung(x, w)
    assert y.dtype == np.float32
    wanted = reference.conv_forward(x.astype(np.float64), w.astype(np.float64), None, *HOW)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5)


@pytest.fixture
def set_threads():
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit(set_threads):
    x, w = layer(3, 11, 29, 33, 2)
    dy = np.random.default_rng(1).standard_normal((3, 11, 29, 2), dtype=np.float32)

    def results():
        rungs = ladder.parallel, ladder.reordered, ladder.register_tile, ladder.winograd
        return [*(rung(x, w) for rung in rungs), race.mended(dy, x)]

    many = results()
    set_threads(1)
    for a, b in zip(many, results(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_mended_weight_gradient_equals_the_reference(set_threads):
    x, _ = layer(2, 7, 9, 5, 3)
    dy = np.random.default_rng(1).standard_normal((2, 7, 9, 3), dtype=np.float32)
    wanted = reference.conv_backward_weight(dy, x, (3, 3), *HOW)
    np.testing.assert_allclose(race.mended(dy, x), wanted, rtol=0, atol=1e-4)
    set_threads(1)  # alone, nothing can get lost
    np.testing.assert_allclose(race.racing(dy, x), wanted, rtol=0, atol=1e-4)


def test_the_race_loses_additions_and_the_mended_form_does_not():
    assert race.count_lost(race.mended)[0] == 0
    lost, made = race.count_lost(race.racing, tries=200)
    assert 0 <= lost < made == 64 * 62 * 62 * 9 * 2
    cores = getattr(os, "sched_getaffinity", lambda pid: ())(0)
    if len(cores) > 1 and numba.get_num_threads() > 1:  # otherwise tasks hardly ever meet
        assert lost > 0


@pytest.fixture
def small_bench(monkeypatch):
    """The command in small; what it measures is of no interest here."""
    monkeypatch.setattr(bench, "LAYER", (1, 6, 6, 16, 16))
    monkeypatch.setattr(bench, "PARTS", {"plain_python": (1, 3, 2, 4, 3)})
    monkeypatch.setattr(bench, "TIMED_FOR", 0)
    monkeypatch.setattr(bench, "measure_memory", lambda: 2e10)
    return monkeypatch


def test_the_command_prints_and_draws_every_rung(small_bench, capsys, tmp_path):
    small_bench.setattr("sys.argv", ["ladder", "--figure", str(tmp_path / "ladder.png")])
    bench.main()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in table]
    assert names == ["rung", "---", "ceiling", *(rung.__name__ for rung in ladder.RUNGS)]
    assert {line.count("|") for line in table} == {7}
    assert (tmp_path / "ladder.png").stat().st_size > 0


def test_the_command_stops_at_a_rung_that_is_wrong(small_bench):
    def mistaken(x, w):
        return ladder.im2col(x, w[::-1])

    with pytest.raises(SystemExit, match="mistaken is wrong: it differs from the reference by"):
        bench.measure(mistaken)
