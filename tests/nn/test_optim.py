"""Optimisers where the answer is known in closed form; parity with PyTorch is tested elsewhere."""

import math

import numpy as np
import pytest

import nn
from nn.optim import SGD, Adam, AdamW, RMSprop, clip_grad_norm

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


# ---- Adam -----------------------------------------------------------------------------------


def test_weight_decay_of_adam_is_divided_with_the_gradient():
    """With g = λθ alone, m̂ / √v̂ is the sign of θ at the first step, however small λ is."""
    theta = parameter()
    steps(Adam([theta], lr=0.5, weight_decay=1e-3, eps=0.0), theta, 1, np.zeros_like)
    np.testing.assert_allclose(theta.data, START - 0.5 * np.sign(START), rtol=1e-12)


def test_without_decay_adam_is_adamw():
    one, other = parameter(), parameter()
    steps(Adam([one], lr=0.1), one, 5, lambda t: 3 * t)
    steps(AdamW([other], lr=0.1, weight_decay=0.0), other, 5, lambda t: 3 * t)
    np.testing.assert_array_equal(one.data, other.data)
    assert not np.allclose(one.data, START)


# ---- RMSprop --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 30])
def test_rmsprop_under_a_constant_gradient(n):
    """s_k = (1 − αᵏ) g², so step k is lr · sign(g) / √(1 − αᵏ): long at first."""
    g, alpha = np.array([1e-3, -5.0, 200.0]), 0.8
    theta = parameter()
    steps(RMSprop([theta], lr=0.01, alpha=alpha, eps=0.0), theta, n, lambda t: g)
    way = sum(1 / math.sqrt(1 - alpha**k) for k in range(1, n + 1))
    np.testing.assert_allclose(theta.data, START - 0.01 * way * np.sign(g), rtol=1e-10)


def test_centered_rmsprop_under_a_constant_gradient():
    """m_k = (1 − αᵏ) g, so s_k − m_k² = (1 − αᵏ) αᵏ g²."""
    g, alpha = np.array([1e-3, -5.0, 200.0]), 0.5
    theta = parameter()
    optimizer = RMSprop([theta], lr=0.01, alpha=alpha, eps=0.0, centered=True)
    steps(optimizer, theta, 4, lambda t: g)
    way = sum(1 / math.sqrt((1 - alpha**k) * alpha**k) for k in range(1, 5))
    np.testing.assert_allclose(theta.data, START - 0.01 * way * np.sign(g), rtol=1e-10)


def test_a_spread_below_zero_by_rounding_is_none():
    """Under a constant gradient s − m² goes to zero, and in float32 now and then below it."""
    g = np.linspace(0.1, 7.0, 50, dtype=np.float32)
    theta = nn.Parameter(np.zeros(50, np.float32))
    optimizer = RMSprop([theta], lr=1e-3, alpha=0.5, eps=1.0, centered=True)
    below = 0
    for _ in range(60):
        steps(optimizer, theta, 1, lambda t: g)
        square, mean = (optimizer.memory[0][name] for name in ("square", "mean"))
        below += (square - mean * mean < 0).sum()
    assert below > 0 and np.isfinite(theta.data).all()


def test_momentum_of_rmsprop_by_hand():
    """α = ¾, gradients 1 and 3, momentum ½: s = ¼, d = 2, v = 2; s = 39/16, v = 1 + 3/√s."""
    theta = parameter([0.0])
    gradients = iter([1.0, 3.0])
    optimizer = RMSprop([theta], lr=0.1, alpha=0.75, eps=0.0, momentum=0.5)
    steps(optimizer, theta, 2, lambda t: [next(gradients)])
    expected = -0.1 * 2 - 0.1 * (1 + 3 / math.sqrt(39 / 16))
    np.testing.assert_allclose(theta.data, [expected], rtol=1e-12)


def test_weight_decay_of_rmsprop_is_part_of_the_gradient():
    theta = parameter()
    steps(RMSprop([theta], lr=0.1, alpha=0.75, weight_decay=0.1, eps=0.0), theta, 1, np.zeros_like)
    np.testing.assert_allclose(theta.data, START - 0.2 * np.sign(START), rtol=1e-12)


# ---- what all optimisers share --------------------------------------------------------------

MAKERS = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda ps: AdamW(ps, lr=0.01),
    "adam": lambda ps: Adam(ps, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda ps: RMSprop(ps, lr=0.01),
    "rmsprop-all": lambda ps: RMSprop(ps, 0.01, momentum=0.9, centered=True, weight_decay=0.1),
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
def test_frozen_after_its_gradient_came(maker):
    theta, other = parameter(), parameter()
    optimizer = MAKERS[maker]([theta, other])
    theta.add_grad(np.ones(3))
    theta.trainable = False
    optimizer.step()
    np.testing.assert_array_equal(theta.data, START)


@pytest.mark.parametrize("maker", MAKERS)
def test_each_parameter_has_its_own_memory(maker):
    """Two parameters move together as each does alone."""
    both, alone = [parameter(), parameter(-START)], [parameter(), parameter(-START)]
    together, apart = MAKERS[maker](both), [MAKERS[maker]([p]) for p in alone]
    rng = np.random.default_rng(0)
    for _ in range(3):
        for p, q in zip(both, alone, strict=True):
            p.grad = rng.standard_normal(3)
            q.grad = p.grad.copy()
        together.step()
        for optimizer in apart:
            optimizer.step()
    for p, q in zip(both, alone, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


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
    with pytest.raises(ValueError, match="SGD: the saved state has no lr"):
        SGD([parameter()], lr=0.1).load_state_dict({"steps": np.int64(3)})


IMPOSSIBLE = {
    "no parameters": lambda p: SGD([], lr=0.1),
    "the learning rate is -0.1, expected >= 0": lambda p: AdamW([p], lr=-0.1),
    "the learning rate is nan": lambda p: AdamW([p], lr=math.nan),
    "SGD: lr is 'a', expected a number >= 0": lambda p: SGD([p], lr="a"),
    "lr is None, expected a number": lambda p: SGD([{"parameters": [p], "lr": None}], lr=0.1),
    r"momentum is \[0.9\], expected a number": lambda p: SGD([p], lr=0.1, momentum=[0.9]),
    "nesterov needs a momentum": lambda p: SGD([p], lr=0.1, nesterov=True),
    "momentum is -0.5, expected >= 0": lambda p: SGD([p], lr=0.1, momentum=-0.5),
    "weight_decay is nan": lambda p: Adam([p], weight_decay=math.nan),
    "eps is -1, expected >= 0": lambda p: RMSprop([p], eps=-1),
    "betas=": lambda p: Adam([p], betas=(0.9, 1.0)),
    "alpha=1.5, expected 0 <=": lambda p: RMSprop([p], alpha=1.5),
    r"Parameter\(3,\) float64 is given twice": lambda p: SGD([p, parameter(), p], lr=0.1),
    "given twice": lambda p: SGD([{"parameters": [p]}, {"parameters": [p]}], lr=0.1),
    "expected parameters, .* got Linear": lambda p: SGD([nn.Linear(2, 3)], lr=0.1),
    "expected parameters, .* got Conv2d": lambda p: SGD(nn.Conv2d(3, 4, 3), lr=0.1),
    "expected parameters, .* got dict": lambda p: SGD([p, {"parameters": []}], lr=0.1),
    "expected groups like .* got Parameter": lambda p: SGD([{"parameters": []}, p], lr=0.1),
    "expected groups like .* got dict": lambda p: SGD([{"params": [p]}], lr=0.1),
    "a group sets 'alpha'; there are lr, momentum, weight_decay, nesterov": lambda p: SGD(
        [{"parameters": [p], "alpha": 0.5}], lr=0.1
    ),
    "a group has the rate 0.1, which is in no proportion": lambda p: SGD(
        [{"parameters": [p], "lr": 0.1}], lr=0.0
    ),
    "the learning rate is -1": lambda p: SGD([{"parameters": [p], "lr": -1}], lr=0.1),
    "weight_decay is -2": lambda p: SGD([{"parameters": [p], "weight_decay": -2}], lr=0.1),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_impossible_settings(message):
    with pytest.raises(ValueError, match=message) as error:
        IMPOSSIBLE[message](parameter())
    assert "\n" not in str(error.value)


# ---- groups ---------------------------------------------------------------------------------


def test_groups_take_their_own_rate_and_the_rest_the_base():
    slow, fast, usual = parameter(), parameter(), parameter()
    optimizer = SGD(
        [{"parameters": [slow, fast], "lr": 0.02}, {"parameters": iter([usual])}], lr=0.1
    )
    assert optimizer.parameters == [slow, fast, usual] and optimizer.lr == 0.1
    g = np.array([1.0, 2.0, -3.0])
    for p in optimizer.parameters:
        p.add_grad(g.copy())
    optimizer.step()
    for p, lr in ((slow, 0.02), (fast, 0.02), (usual, 0.1)):
        np.testing.assert_allclose(p.data, START - lr * g, rtol=1e-12)


def test_the_rates_of_groups_keep_their_proportion():
    """With the base halved, as a schedule would, every group's rate is halved; zero stays zero."""
    ps = [parameter() for _ in range(3)]
    rates = (0.4, 0.1, 0.0)
    optimizer = SGD(
        [{"parameters": [p], "lr": lr} for p, lr in zip(ps, rates, strict=True)], lr=0.2
    )
    optimizer.lr /= 2
    for p in ps:
        p.add_grad(np.ones(3))
    optimizer.step()
    for p, lr in zip(ps, rates, strict=True):
        np.testing.assert_allclose(p.data, START - lr / 2, rtol=1e-12)


def test_groups_take_their_own_settings():
    """Decay for weights and none for biases is the commonest use; momentum may differ too."""
    weight, bias, quick = parameter(), parameter(), parameter()
    optimizer = SGD(
        [
            {"parameters": [weight]},
            {"parameters": [bias], "weight_decay": 0.0},
            {"parameters": [quick], "momentum": 0.5, "weight_decay": 0.0},
        ],
        lr=0.5,
        weight_decay=0.1,
    )
    for _ in range(2):
        optimizer.zero_grad()
        bias.add_grad(np.zeros(3))
        weight.add_grad(np.zeros(3))
        quick.add_grad(np.ones(3))
        optimizer.step()
    np.testing.assert_allclose(weight.data, START * 0.95**2, rtol=1e-12)
    np.testing.assert_array_equal(bias.data, START)
    np.testing.assert_allclose(quick.data, START - 0.5 * (1 + 1.5), rtol=1e-12)


def test_groups_go_on_from_a_saved_state():
    def make(ps):
        return Adam([{"parameters": ps[:1], "lr": 0.2}, {"parameters": ps[1:]}], lr=0.1)

    def run(optimizer, first, last):
        for k in range(first, last):
            for p in optimizer.parameters:
                p.grad = np.random.default_rng(k).standard_normal(3)
            optimizer.lr = 0.1 / (k + 1)
            optimizer.step()

    whole = [parameter(), parameter(-START)]
    run(make(whole), 0, 5)
    part = [parameter(), parameter(-START)]
    optimizer = make(part)
    run(optimizer, 0, 2)
    again = make(part)
    again.load_state_dict(optimizer.state_dict())
    run(again, 2, 5)
    for p, q in zip(part, whole, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_frozen_group_stays_and_can_thaw():
    body, head = parameter(), parameter()
    optimizer = SGD([{"parameters": [body], "lr": 0.01}, {"parameters": [head]}], lr=0.1)
    body.trainable = False
    for _ in range(2):
        optimizer.zero_grad()
        for p in (body, head):
            p.add_grad(np.ones(3))
        optimizer.step()
        np.testing.assert_array_equal(body.data, START)
    body.trainable = True
    body.add_grad(np.ones(3))
    optimizer.step()
    np.testing.assert_allclose(body.data, START - 0.01, rtol=1e-12)


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


# ---- large arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
def test_blocks_change_nothing(maker):
    """An array of several blocks moves as its elements would alone; a turned one as a plain one."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((257, 301)).astype(np.float32)  # more than two blocks
    gradients = rng.standard_normal((2, 257, 301)).astype(np.float32)
    large, turned = nn.Parameter(start.copy()), nn.Parameter(np.asfortranarray(start))
    few = nn.Parameter(start[200:203].copy())
    for p, rows in ((large, slice(None)), (turned, slice(None)), (few, slice(200, 203))):
        optimizer = MAKERS[maker]([p])
        for g in gradients:
            p.grad = g[rows].copy()
            optimizer.step()
    np.testing.assert_array_equal(large.data[200:203], few.data)
    np.testing.assert_allclose(turned.data, large.data, rtol=1e-6, atol=1e-7)
    assert turned.data.flags.f_contiguous
