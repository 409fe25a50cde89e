"""Optimisers where the answer is known in closed form; parity with PyTorch is tested elsewhere."""

import math

import numpy as np
import pytest

import nn
from nn.optim import SGD, AdamW, OneCycleLR, clip_grad_norm

START = np.array([1.0, -2.0, 0.25])


def parameter(values=START):
    return nn.Parameter(np.array(values, np.float64))


def steps(optimizer, theta, n, gradient):
    """n steps, each with the gradient that the function gives at θ."""
    for _ in range(n):
        optimizer.zero_grad()
        theta.add_grad(np.array(gradient(theta.data), theta.data.dtype))
        optimizer.step()


# ---- SGD ------------------------------------------------------------------------------------


def test_sgd_on_a_parabola():
    """L = ½ a θ² has gradient aθ, so each step shrinks θ by 1 − lr·a: (1 − lr·a)ⁿ in all."""
    a = np.array([1.0, 3.0, 0.5])
    theta = parameter()
    steps(SGD([theta], lr=0.2), theta, 7, lambda t: a * t)
    np.testing.assert_allclose(theta.data, START * (1 - 0.2 * a) ** 7, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_momentum_under_a_constant_gradient(n):
    """v_k = g (1 − mᵏ) / (1 − m); θ_n = θ − lr Σ v_k."""
    g, m = np.array([0.5, -1.0, 2.0]), 0.8
    theta = parameter()
    steps(SGD([theta], lr=0.1, momentum=m), theta, n, lambda t: g)
    v = [g * (1 - m**k) / (1 - m) for k in range(1, n + 1)]
    np.testing.assert_allclose(theta.data, START - 0.1 * sum(v), rtol=1e-12)


def test_nesterov_looks_one_step_ahead():
    """θ_n = θ − lr Σ (g + m v_k), with v_k as above."""
    g, m = np.array([0.5, -1.0, 2.0]), 0.8
    theta = parameter()
    steps(SGD([theta], lr=0.1, momentum=m, nesterov=True), theta, 3, lambda t: g)
    v = [g * (1 - m**k) / (1 - m) for k in (1, 2, 3)]
    np.testing.assert_allclose(theta.data, START - 0.1 * sum(g + m * vk for vk in v), rtol=1e-12)


def test_weight_decay_of_sgd_is_part_of_the_gradient():
    """Without a gradient θ_n = (1 − lr·λ)ⁿ θ; with momentum the decay gathers speed as well."""
    theta = parameter()
    steps(SGD([theta], lr=0.5, weight_decay=0.1), theta, 4, np.zeros_like)
    np.testing.assert_allclose(theta.data, START * 0.95**4, rtol=1e-12)
    theta = parameter()
    steps(SGD([theta], lr=0.5, momentum=0.5, weight_decay=0.1), theta, 2, np.zeros_like)
    # v₁ = 0.1, θ₁ = 0.95; v₂ = 0.05 + 0.095, θ₂ = 0.95 − 0.0725
    np.testing.assert_allclose(theta.data, START * 0.8775, rtol=1e-12)


# ---- AdamW ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 30])
def test_adamw_under_a_constant_gradient(n):
    """m̂ = g and v̂ = g² at every step, so each step is lr·g / (|g| + ε), whatever |g| is."""
    g = np.array([1e-3, -5.0, 200.0])
    theta = parameter()
    steps(AdamW([theta], lr=0.01, eps=1e-2, weight_decay=0.0), theta, n, lambda t: g)
    np.testing.assert_allclose(theta.data, START - n * 0.01 * g / (np.abs(g) + 1e-2), rtol=1e-10)


def test_adamw_by_hand():
    """β₁ = ½, β₂ = ¾, gradients 1 and then 3: every number can be worked out on paper."""
    theta = parameter([0.0])
    gradients = iter([1.0, 3.0])
    optimizer = AdamW([theta], lr=0.1, betas=(0.5, 0.75), eps=0.0, weight_decay=0.0)
    steps(optimizer, theta, 2, lambda t: [next(gradients)])
    # step 1: m̂ = v̂ = 1.   step 2: m = 0.5·0.5 + 0.5·3 = 1.75, m̂ = 1.75 / 0.75;
    #         v = 0.75·0.25 + 0.25·9 = 2.4375, v̂ = 2.4375 / 0.4375
    expected = -0.1 - 0.1 * (1.75 / 0.75) / math.sqrt(2.4375 / 0.4375)
    np.testing.assert_allclose(theta.data, [expected], rtol=1e-12)


def test_weight_decay_of_adamw_is_not_scaled_by_the_gradient():
    theta = parameter()
    steps(AdamW([theta], lr=0.5, weight_decay=0.1), theta, 4, np.zeros_like)
    np.testing.assert_allclose(theta.data, START * 0.95**4, rtol=1e-12)


# ---- what all optimisers share --------------------------------------------------------------

MAKERS = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda ps: AdamW(ps, lr=0.01),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_frozen_and_untouched_parameters_stay(maker):
    moved, frozen, unused = parameter(), parameter(), parameter()
    frozen.trainable = False
    optimizer = MAKERS[maker]([moved, frozen, unused])
    for p in (moved, frozen):
        p.add_grad(np.ones(3))
    array = moved.data
    optimizer.step()
    assert moved.data is array and not np.allclose(moved.data, START), "changed in place"
    np.testing.assert_array_equal(frozen.data, START)
    np.testing.assert_array_equal(unused.data, START)
    optimizer.zero_grad()
    assert not moved.has_grad and not moved.grad.any()


@pytest.mark.parametrize("maker", MAKERS)
def test_going_on_from_a_saved_state(maker):
    """Seven steps are three steps, saved and loaded elsewhere, and four more, to the last bit."""
    start = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)

    def run(optimizer, theta, first, last):
        for k in range(first, last):
            rng = np.random.default_rng(k)
            theta.grad = rng.standard_normal(theta.shape).astype(np.float32)
            optimizer.lr = 0.1 / (k + 1)
            optimizer.step()

    whole = nn.Parameter(start.copy())
    run(MAKERS[maker]([whole]), whole, 0, 7)

    part = nn.Parameter(start.copy())
    optimizer = MAKERS[maker]([part])
    run(optimizer, part, 0, 3)
    state = optimizer.state_dict()
    rest = nn.Parameter(part.data.copy())
    run(optimizer, part, 3, 5)  # the state must be a copy
    again = MAKERS[maker]([rest])
    again.load_state_dict(state)
    assert again.lr == pytest.approx(0.1 / 3)
    run(again, rest, 3, 7)
    np.testing.assert_array_equal(rest.data, whole.data)
    assert rest.data.dtype == np.float32
    assert {k: v.dtype for k, v in again.state_dict().items()} == {
        k: v.dtype for k, v in optimizer.state_dict().items()
    }


def test_states_that_do_not_fit():
    theta = parameter()
    optimizer = SGD([theta], lr=0.1, momentum=0.9)
    steps(optimizer, theta, 1, np.ones_like)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"AdamW: the saved state 0\.velocity \(3,\) does not fit"):
        AdamW([theta], lr=0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="does not fit these 1 parameters"):
        SGD([parameter([1.0, 2.0])], lr=0.1, momentum=0.9).load_state_dict(state)


def test_impossible_settings():
    with pytest.raises(ValueError, match="no parameters"):
        SGD([], lr=0.1)
    for lr in (-0.1, math.nan):
        with pytest.raises(ValueError, match="learning rate"):
            AdamW([parameter()], lr=lr)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        SGD([parameter()], lr=0.1, nesterov=True)


# ---- clipping -------------------------------------------------------------------------------


def test_clipping_shortens_all_gradients_together():
    a, b, without = parameter(np.zeros((2, 1))), parameter(np.zeros(3)), parameter()
    ga, gb = np.array([[3.0], [0.0]]), np.array([0.0, -4.0, 12.0])
    a.add_grad(ga.copy())
    b.add_grad(gb.copy())
    assert clip_grad_norm([a, b, without], 6.5) == pytest.approx(13.0)  # 3, 4, 12 → 13
    np.testing.assert_allclose(a.grad, ga / 2, rtol=1e-6)
    np.testing.assert_allclose(b.grad, gb / 2, rtol=1e-6)
    assert not without.has_grad
    before = b.grad.copy()
    assert clip_grad_norm([a, b], 6.6) == pytest.approx(6.5)
    np.testing.assert_array_equal(b.grad, before)
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        clip_grad_norm([a, b], 0.0)


# ---- the schedule ---------------------------------------------------------------------------


def test_one_cycle_starts_peaks_and_ends():
    optimizer = SGD([parameter()], lr=99.0)
    schedule = OneCycleLR(optimizer, 0.5, 40, warmup=0.25, start_div=10.0, end_div=100.0)
    rates = [optimizer.lr]
    for _ in range(39):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates[0] == pytest.approx(0.05)
    assert rates[5] == pytest.approx((0.05 + 0.5) / 2), "half way up a half cosine"
    assert rates[10] == pytest.approx(0.5) and max(rates) == rates[10]
    assert rates[39] == pytest.approx(0.005)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    schedule.step()
    assert optimizer.lr == pytest.approx(0.005), "and there it stays"


def test_one_cycle_goes_on_from_a_saved_state():
    first, second = SGD([parameter()], lr=1.0), SGD([parameter()], lr=1.0)
    schedule, again = OneCycleLR(first, 0.1, 20), OneCycleLR(second, 0.1, 20)
    for _ in range(7):
        schedule.step()
    again.load_state_dict(schedule.state_dict())
    assert second.lr == first.lr
    schedule.step()
    again.step()
    assert second.lr == first.lr


@pytest.mark.parametrize("total, warmup", [(1, 0.3), (2, 0.5), (5, 0.0), (5, 1.0)])
def test_one_cycle_of_few_steps(total, warmup):
    optimizer = SGD([parameter()], lr=1.0)
    schedule = OneCycleLR(optimizer, 0.1, total, warmup=warmup)
    for _ in range(total + 1):
        assert 0 < optimizer.lr <= 0.1
        schedule.step()


def test_rates_leave_float32_alone():
    """A rate that were a NumPy float64 would make every update a float64 one."""
    theta = nn.Parameter(START.astype(np.float32))
    optimizer = SGD([theta], lr=1.0)
    OneCycleLR(optimizer, 0.1, 10).step()
    assert type(optimizer.lr) is float
    steps(optimizer, theta, 1, np.ones_like)
    assert theta.data.dtype == np.float32
    with pytest.raises(ValueError, match="total_steps"):
        OneCycleLR(optimizer, 0.1, 0)
