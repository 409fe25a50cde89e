"""Schedules against their closed forms, step by step."""

import math

import numpy as np
import pytest

import nn
from nn.optim import SGD, CosineLR, OneCycleLR, StepLR


def optimizer(lr=0.5):
    return SGD([nn.Parameter(np.ones(3))], lr=lr)


def rates(schedule, steps):
    """The rates that the optimiser has at steps 0, 1, …, steps − 1."""
    seen = []
    for _ in range(steps):
        seen.append(schedule.optimizer.lr)
        schedule.step()
    return seen


# ---- steps ----------------------------------------------------------------------------------


def test_step_falls_by_gamma():
    expected = [0.5] * 3 + [0.1] * 3 + [0.02] * 3
    assert rates(StepLR(optimizer(), 3, gamma=0.2), 9) == pytest.approx(expected)


def test_step_counts_from_the_end_of_the_warmup():
    """Four steps up by fifths of the rate, which the fifth step has."""
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert rates(StepLR(optimizer(), 2, gamma=0.5, warmup=4), 9) == pytest.approx(expected)


# ---- cosine ---------------------------------------------------------------------------------


def test_cosine_falls_to_zero_and_stays():
    """(1 + cos πt/4) / 2 at t = 0, 1, 2, 3, 4."""
    half = math.sqrt(0.5)
    expected = [0.5, (1 + half) / 4, 0.25, (1 - half) / 4, 0, 0, 0]
    assert rates(CosineLR(optimizer(), 4), 7) == pytest.approx(expected, abs=1e-15)


def test_cosine_falls_to_its_end():
    expected = [0.5, 0.3, 0.1, 0.1]
    assert rates(CosineLR(optimizer(), 2, min_lr=0.1), 4) == pytest.approx(expected)


def test_cosine_ends_with_total_steps_warmup_included():
    found = rates(CosineLR(optimizer(), 30, warmup=10), 32)
    assert found[:11] == pytest.approx(np.arange(1, 12) * 0.5 / 11)
    t = np.arange(20)
    assert found[10:30] == pytest.approx(0.25 * (1 + np.cos(np.pi * t / 20)))
    assert found[30:] == pytest.approx([0, 0], abs=1e-15)


# ---- one cycle ------------------------------------------------------------------------------


def test_one_cycle_starts_peaks_and_ends():
    schedule = OneCycleLR(optimizer(99.0), 0.5, 40, warmup=0.25, start_div=10.0, end_div=100.0)
    found = rates(schedule, 41)
    assert found[0] == pytest.approx(0.05)
    assert found[5] == pytest.approx((0.05 + 0.5) / 2), "half way up a half cosine"
    assert found[10] == pytest.approx(0.5) and max(found) == found[10]
    assert found[39] == pytest.approx(0.005)
    assert found[:11] == sorted(found[:11]) and found[10:] == sorted(found[10:], reverse=True)
    assert found[40] == pytest.approx(0.005), "and there it stays"


@pytest.mark.parametrize("total, warmup", [(1, 0.3), (2, 0.5), (5, 0.0), (5, 1.0)])
def test_one_cycle_of_few_steps(total, warmup):
    found = rates(OneCycleLR(optimizer(), 0.1, total, warmup=warmup), total + 1)
    assert all(0 < rate <= 0.1 for rate in found)


# ---- what all schedules share ---------------------------------------------------------------

MAKERS = {
    "step": lambda o: StepLR(o, 3, warmup=2),
    "cosine": lambda o: CosineLR(o, 20, warmup=4, min_lr=0.01),
    "one cycle": lambda o: OneCycleLR(o, 0.1, 20),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_going_on_from_a_saved_state(maker):
    schedule, again = MAKERS[maker](optimizer()), MAKERS[maker](optimizer())
    rates(schedule, 7)
    again.load_state_dict(schedule.state_dict())
    assert again.optimizer.lr == schedule.optimizer.lr
    assert rates(again, 15) == rates(schedule, 15)


@pytest.mark.parametrize("maker", MAKERS)
def test_rate_tells_what_step_will_set(maker):
    schedule = MAKERS[maker](optimizer())
    assert [schedule.rate(t) for t in range(25)] == rates(schedule, 25)


@pytest.mark.parametrize("maker", MAKERS)
def test_rates_leave_float32_alone(maker):
    """A rate that were a NumPy float64 would make every update a float64 one."""
    theta = nn.Parameter(np.ones(3, np.float32))
    sgd = SGD([theta], lr=0.5)
    schedule = MAKERS[maker](sgd)
    for _ in range(6):
        schedule.step()
        assert type(sgd.lr) is float
    theta.add_grad(np.ones(3, np.float32))
    sgd.step()
    assert theta.data.dtype == np.float32


@pytest.mark.parametrize("maker", MAKERS)
def test_a_schedule_scales_all_groups_alike(maker):
    plain, tenth = (nn.Parameter(np.zeros(2)) for _ in range(2))
    sgd = SGD([{"parameters": [plain]}, {"parameters": [tenth], "lr": 0.05}], lr=0.5)
    schedule = MAKERS[maker](sgd)
    way = 0.0
    for _ in range(8):
        for p in (plain, tenth):
            p.grad = np.ones(2)
        way += sgd.lr
        sgd.step()
        schedule.step()
    np.testing.assert_allclose(plain.data, -way, rtol=1e-12)
    np.testing.assert_allclose(tenth.data, -way / 10, rtol=1e-12)


IMPOSSIBLE = {
    "StepLR: step_size must be at least 1, got 0": lambda o: StepLR(o, 0),
    "StepLR: gamma must be at least 0, got -1": lambda o: StepLR(o, 3, gamma=-1),
    "StepLR: warmup is -1 steps": lambda o: StepLR(o, 3, warmup=-1),
    "CosineLR: total_steps must be above the 5 of the warm-up, got 5": lambda o: CosineLR(
        o, 5, warmup=5
    ),
    "CosineLR: min_lr must be from 0 to the optimiser's rate 0.5, got 0.6": lambda o: CosineLR(
        o, 5, min_lr=0.6
    ),
    "OneCycleLR: total_steps must be at least 1, got 0": lambda o: OneCycleLR(o, 0.1, 0),
    "OneCycleLR: warmup is the share of the steps": lambda o: OneCycleLR(o, 0.1, 9, warmup=3),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_impossible_settings(message):
    with pytest.raises(ValueError, match=message):
        IMPOSSIBLE[message](optimizer())
