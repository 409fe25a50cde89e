"""The checker itself: what it compares, what it says, and what it does at kinks."""

import subprocess
import sys

import numpy as np
import pytest

import nn


def normal(*shape, seed=7):
    return np.random.default_rng(seed).standard_normal(shape)


class Scale(nn.Module):
    """y = w · x, the smallest layer with a parameter; the wrong ones below inherit from it."""

    def __init__(self):
        self.w = nn.Parameter(np.array([2.0, -1.0, 0.5], np.float32))

    def forward(self, x):
        self.save(x)
        return x * self.w.data

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        if self.w.trainable:
            self.w.add_grad((dy * x).sum(axis=0))
        return dy * self.w.data


def check(layer, *inputs, **options):
    return nn.check_gradients(layer, *inputs, **options)


def problem_of(layer, *inputs):
    """The one line that a report has to say, and that it failed."""
    report = check(layer, *inputs)
    assert not report.passed
    assert len(report.problems) == 1, report
    assert "\n" not in report.problems[0]
    assert report.problems[0] in str(report)
    return report.problems[0]


# ---- what it compares ---------------------------------------------------------------------


def test_a_right_layer_passes():
    report = check(Scale(), normal(4, 3))
    assert report.passed and report
    assert [row.name for row in report.rows] == ["x", "w"]
    assert [row.checked for row in report.rows] == ["12 of 12", "3 of 3"]
    assert 0 < report.max_relative_error < 1e-9
    assert "passed" in str(report) and "FAIL" not in str(report)


def test_failure_names_tensor_index_and_both_values():
    class Wrong(Scale):
        def backward(self, dy, need_input_grad=True):
            dx = super().backward(dy)
            dx[2, 1] += 0.25
            return dx

    report = check(Wrong(), normal(4, 3))
    x, w = report.rows
    assert not report.passed and not report
    assert (x.passed, w.passed) == (False, True)
    assert x.worst == "[2, 1]"
    assert x.analytic - x.numeric == pytest.approx(0.25)
    assert f"worst at [2, 1]: backward says {x.analytic:.10g}" in str(report)
    assert report.max_relative_error == x.relative_error > 1e-3


def test_relative_error_is_the_one_defined():
    class Doubled(Scale):
        def backward(self, dy, need_input_grad=True):
            return 2 * super().backward(dy)

    report = check(Doubled(), normal(4, 3))  # |2n − n| / (|2n| + |n|)
    assert report.rows[0].relative_error == pytest.approx(1 / 3)


def test_the_module_is_left_as_it_was():
    layer, x = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5, rng=1)), normal(2, 3)
    layer(x.astype(np.float32))
    state = {name: array.copy() for name, array in layer.state_dict().items()}
    drawn = layer[1].rng.bit_generator.state
    assert check(layer, x).passed
    assert layer[1].rng.bit_generator.state == drawn
    assert layer[0].weight.data.dtype == np.float32
    assert not layer[0].weight.has_grad
    assert len(layer[0]._saved) == 1  # the forward above still waits for its backward
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    np.testing.assert_array_equal(x, normal(2, 3))


def test_same_seed_same_report():
    layer, x = nn.Linear(3, 2, rng=0), normal(4, 3)
    assert str(check(layer, x, seed=5)) == str(check(layer, x, seed=5))
    assert str(check(layer, x, seed=5)) != str(check(layer, x, seed=6))


def test_upstream_differs_from_inputs_of_the_same_seed():
    class TakesXForDy(nn.ReLU):
        def backward(self, dy, need_input_grad=True):
            return dy * (dy > 0)

    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((3, 4))
        assert not check(TakesXForDy(), x, seed=seed).passed


def test_float32_lists_and_ids():
    assert check(Scale(), normal(4, 3).astype(np.float32)).passed
    assert check(Scale(), [[1.0, 2.0, 3.0]]).passed


def test_several_inputs_in_order():
    class Product(nn.Module):
        def forward(self, a, ids, b):
            self.save(a, ids, b)
            return a[ids] * b

        def backward(self, dy, need_input_grad=True):
            a, ids, b = self.take()
            da = np.zeros_like(a)
            np.add.at(da, ids, dy * b)
            return da, None, dy * a[ids]

    class Swapped(Product):
        def backward(self, dy, need_input_grad=True):
            da, _, db = super().backward(dy)
            return db, None, da

    inputs = normal(4, 3), np.array([0, 2, 2, 1]), normal(4, 3, seed=8)
    report = check(Product(), *inputs)
    assert report.passed, report
    assert [row.name for row in report.rows] == ["a", "b"]
    assert [row.passed for row in check(Swapped(), *inputs).rows] == [False, False]


def test_a_loss_is_checked_for_its_first_argument():
    report = check(nn.MSELoss(), normal(4, 3), normal(4, 3, seed=8))
    assert report.passed
    assert [row.name for row in report.rows] == ["outputs"]


def test_frozen_parameters_are_not_compared():
    layer = nn.Linear(3, 2, rng=0)
    layer.weight.trainable = False
    report = check(layer, normal(4, 3))
    assert report.passed
    assert [row.name for row in report.rows] == ["x", "bias"]


def test_a_gradient_that_is_zero_everywhere_passes_and_is_pointed_out():
    report = check(nn.Linear(3, 2, rng=0), np.zeros((4, 3)))
    assert report.passed
    assert "zero everywhere" in str(report)


def test_rounding_noise_around_a_zero_gradient_is_no_error():
    class Centred(nn.Module):
        """y = x + b − mean(x + b): b cancels, its gradient is zero but for rounding."""

        def __init__(self):
            self.b = nn.Parameter(np.zeros(1))

        def forward(self, x):
            self.save()
            z = x + self.b.data
            return z - z.mean(axis=-1, keepdims=True)

        def backward(self, dy, need_input_grad=True):
            self.take()
            dz = dy - dy.mean(axis=-1, keepdims=True)
            if self.b.trainable:
                self.b.add_grad(dz.sum(keepdims=True).reshape(1))
            return dz

    assert check(Centred(), 100 + normal(4, 50)).passed


def test_large_tensors_are_sampled_and_large_modules_take_directions():
    medium = check(nn.Linear(40, 10, rng=0), normal(3, 40))
    assert [row.checked for row in medium.rows] == [
        "120 of 120",
        "100 of 400 + 3 directions",
        "10 of 10",
    ]
    large = check(nn.Linear(300, 80, rng=0), normal(2, 300))
    assert [row.elements for row in large.rows] == [0, 0, 0]
    assert [row.directions for row in large.rows] == [3, 3, 3]
    assert medium.passed and large.passed


@pytest.mark.parametrize("size", [40, 300])
def test_one_wrong_entry_of_a_large_tensor_is_caught_by_directions(size):
    class OneWrong(nn.Linear):
        def backward(self, dy, need_input_grad=True):
            dx = super().backward(dy, need_input_grad)
            self.weight.grad[-1, -1] += 1.0
            return dx

    report = check(OneWrong(size, 80, rng=0), normal(2, size), elements=0)
    assert [row.passed for row in report.rows] == [True, False, True]
    assert "a random direction" in report.rows[1].worst


# ---- kinks --------------------------------------------------------------------------------


def test_relu_at_zero_is_checked_close_by():
    x = normal(3, 5)
    x[1] = 0
    report = check(nn.ReLU(), x)
    assert report.passed
    assert report.rows[0].kinks >= 5
    assert report.rows[0].excluded == 0
    assert "on a kink" in str(report)


def test_kinks_at_every_element_do_not_hide_a_bug():
    class HalfSlope(nn.ReLU):
        """At 0 its claim is the mean of the one-sided slopes: just what the difference says."""

        def backward(self, dy, need_input_grad=True):
            (y,) = self.take()
            return dy * np.where(y > 0, 0.9, 0.5)

    assert check(nn.ReLU(), np.zeros((3, 4))).passed
    assert not check(HalfSlope(), np.zeros((3, 4))).passed


@pytest.mark.parametrize("slope", [-0.5, 1.5])
def test_at_the_kink_the_claim_must_lie_between_the_slopes(slope):
    class AtZero(nn.ReLU):
        def forward(self, x):
            self.save(x)
            return np.maximum(x, 0)

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            return dy * np.where(x == 0, slope, x > 0).astype(dy.dtype)

    assert check(AtZero(), normal(3, 4)).passed
    assert not check(AtZero(), np.round(normal(3, 4))).passed


def test_both_conventions_at_a_tie_are_right():
    class LastWins(nn.Module):
        """Max over the last axis; of equal inputs the last wins, where MaxPool takes the first."""

        def forward(self, x):
            self.save(x)
            return x.max(axis=-1)

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            last = x.shape[-1] - 1 - x[..., ::-1].argmax(axis=-1)
            return dy[..., None] * (np.arange(x.shape[-1]) == last[..., None])

    class Shared(LastWins):
        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            winners = x == x.max(axis=-1, keepdims=True)
            return dy[..., None] * winners / winners.sum(axis=-1, keepdims=True, dtype=dy.dtype)

    class AllWin(LastWins):
        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            return dy[..., None] * (x == x.max(axis=-1, keepdims=True))

    x = np.random.default_rng(0).integers(0, 3, (4, 5)).astype(float)
    assert check(LastWins(), x).passed
    assert check(Shared(), x).passed
    assert not check(AllWin(), x).passed
    assert "equal values together" in check(AllWin(), x).rows[0].worst


def test_a_kink_within_the_step_is_no_failure():
    x = np.array([[3e-6, -3e-6, 2e-8, -2e-8, 1.0]])  # the step is 1e-5
    report = check(nn.ReLU(), x)
    assert report.passed, report


def test_no_slope_anywhere_fails():
    class Staircase(nn.Module):
        """Jumps everywhere: no finite difference means anything."""

        def forward(self, x):
            self.save()
            return np.sin(x * 1e30)

        def backward(self, dy, need_input_grad=True):
            self.take()
            return dy

    assert not check(Staircase(), normal(3, 4)).passed


def test_straight_through_is_told_as_what_it_is():
    class Round(nn.Module):
        def forward(self, x):
            self.save()
            return np.round(x)

        def backward(self, dy, need_input_grad=True):
            self.take()
            return dy

    report = check(Round(), normal(3, 4))
    assert not report.passed
    assert report.rows[0].numeric == 0


# ---- broken promises, each in one line ------------------------------------------------------


def test_wrong_shape_none_and_count():
    class Shape(Scale):
        def backward(self, dy, need_input_grad=True):
            return super().backward(dy).T

    class Nothing(Scale):
        def backward(self, dy, need_input_grad=True):
            super().backward(dy)

    class TooMany(Scale):
        def backward(self, dy, need_input_grad=True):
            dx = super().backward(dy)
            return dx, dx

    x = normal(4, 3)
    assert "returned (3, 4) as the gradient of x; expected its shape (4, 3)" in problem_of(
        Shape(), x
    )
    assert "returned None for x" in problem_of(Nothing(), x)
    assert "returned 2 gradients for 1 arguments (x)" in problem_of(TooMany(), x)
    assert check(Shape(), x).max_relative_error == np.inf


def test_an_exception_in_backward():
    class Raises(Scale):
        def backward(self, dy, need_input_grad=True):
            return dy @ np.ones((5, 5))

    assert "Raises.backward raised ValueError: matmul" in problem_of(Raises(), normal(4, 3))


def test_forgot_to_take_and_took_too_often():
    class NeverTakes(Scale):
        def backward(self, dy, need_input_grad=True):
            (x,) = self._saved[-1]
            if self.w.trainable:
                self.w.add_grad((dy * x).sum(axis=0))
            return dy * self.w.data

    class TakesTwice(Scale):
        def backward(self, dy, need_input_grad=True):
            self.take()
            return super().backward(dy)

    report = check(NeverTakes(), normal(4, 3))
    assert any("still holds 1 forward after backward" in line for line in report.problems)
    assert "backward without a forward" in problem_of(TakesTwice(), normal(4, 3))


def test_kept_in_an_attribute():
    class Attribute(Scale):
        def forward(self, x):
            self.x = x
            return x * self.w.data

        def backward(self, dy, need_input_grad=True):
            if self.w.trainable:
                self.w.add_grad((dy * self.x).sum(axis=0))
            return dy * self.w.data

    assert "mix up their values" in problem_of(Attribute(), normal(4, 3))


def test_gradient_replaced_instead_of_added():
    class Replaces(Scale):
        def backward(self, dy, need_input_grad=True):
            self.w.grad = None
            return super().backward(dy)

    report = check(Replaces(), normal(4, 3))
    assert any("do not add up in w.grad" in line for line in report.problems)


def test_frozen_parameter_gets_a_gradient():
    class Eager(Scale):
        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            self.w.grad += (dy * x).sum(axis=0)
            return dy * self.w.data

    assert "w was frozen, yet backward computed its gradient" in problem_of(Eager(), normal(4, 3))


def test_freezing_one_must_not_freeze_the_other():
    class BothOrNone(nn.Linear):
        def backward(self, dy, need_input_grad=True):
            if not self.weight.trainable:
                self.take()
                return dy @ self.weight.data.T
            return super().backward(dy, need_input_grad)

    line = problem_of(BothOrNone(3, 2, rng=0), normal(4, 3))
    assert "freezing one parameter changes the gradient of another" in line


def test_need_input_grad_false_must_leave_the_parameters_alone():
    class SkipsAll(Scale):
        def backward(self, dy, need_input_grad=True):
            if not need_input_grad:
                self.take()
                return None
            return super().backward(dy)

    assert "need_input_grad=False changes" in problem_of(SkipsAll(), normal(4, 3))


def test_arguments_changed_in_place():
    class SpoilsDy(Scale):
        def backward(self, dy, need_input_grad=True):
            dx = super().backward(dy)
            dy *= 2
            return dx

    class SpoilsX(Scale):
        def backward(self, dy, need_input_grad=True):
            (x,) = self._saved[-1]
            dx = super().backward(dy)
            x += 1
            return dx

    assert any("changed dy in place" in line for line in check(SpoilsDy(), normal(4, 3)).problems)
    assert any("x was changed in place" in line for line in check(SpoilsX(), normal(4, 3)).problems)


def test_dy_changed_in_place_is_one_message():
    class InPlace(Scale):
        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            if self.w.trainable:
                self.w.add_grad((dy * x).sum(axis=0))
            dy *= self.w.data
            return dy

    report = check(InPlace(), normal(4, 3))
    assert all(row.passed for row in report.rows)
    assert "changed dy in place" in problem_of(InPlace(), normal(4, 3))


def test_input_changed_in_place_by_forward():
    class InPlace(Scale):
        def forward(self, x):
            self.save(x.copy())
            x *= self.w.data
            return x

    assert "forward changed its input in place (x)" in problem_of(InPlace(), normal(4, 3))


def test_gradient_assigned_is_not_called_a_mix_up():
    class Assigns(Scale):
        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            if self.w.trainable:
                self.w.grad = (dy * x).sum(axis=0)
            return dy * self.w.data

    assert "two backwards do not add up in w.grad" in problem_of(Assigns(), normal(4, 3))


def test_a_parameter_without_axes():
    class Gain(nn.Module):
        factor = 1

        def __init__(self):
            self.g = nn.Parameter(np.array(2.0, np.float32))

        def forward(self, x):
            self.save(x)
            return x * self.g.data

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            self.g.add_grad(self.factor * (dy * x).sum())
            return dy * self.g.data

    class Twice(Gain):
        factor = 2

    report = check(Gain(), normal(4, 3))
    assert report.passed, report
    assert report.rows[1].checked == "1 of 1" and report.rows[1].shape == ()
    row = check(Twice(), normal(4, 3)).rows[1]
    assert not row.passed and row.worst == "its only value"
    assert row.hints and "added twice" in row.hints[0]


def test_nan_in_backward_alone():
    class Divides(nn.ReLU):
        def backward(self, dy, need_input_grad=True):
            (y,) = self.take()
            with np.errstate(invalid="ignore"):
                return dy * (y / y)

    line = problem_of(Divides(), -np.abs(normal(2, 3)))
    assert "gave nan as the gradient of x at (0, 0)" in line


def test_nan_in_forward():
    line = problem_of(Scale(), np.full((2, 3), np.nan))
    assert "NaN or infinity here: choose other inputs, such as --input positive:2,3" in line


def test_randomness_that_cannot_be_frozen():
    class Noisy(Scale):
        def forward(self, x):
            return super().forward(x) + np.random.default_rng().random()

    assert "another output for the same input" in problem_of(Noisy(), normal(4, 3))


def test_float32_made_inside():
    class Coarse(Scale):
        def forward(self, x):
            return super().forward(x).astype(np.float32)

    class CoarseBackward(Scale):
        def backward(self, dy, need_input_grad=True):
            return super().backward(dy).astype(np.float32)

    assert "turned float64 into float32" in problem_of(Coarse(), normal(4, 3))
    assert "returned float32" in problem_of(CoarseBackward(), normal(4, 3))


def test_float64_made_of_float32():
    class Widened(Scale):
        def forward(self, x):
            return super().forward(x) * np.sqrt(2.0)

        def backward(self, dy, need_input_grad=True):
            return super().backward(dy * np.sqrt(2.0))

    class Kept(Widened):
        def forward(self, x):
            return Scale.forward(self, x) * float(np.sqrt(2.0))

    class WidenedBack(Kept):
        def backward(self, dy, need_input_grad=True):
            return Scale.backward(self, dy * float(np.sqrt(2.0))) * np.ones(1)

    class KeptBack(Kept):
        def backward(self, dy, need_input_grad=True):
            return Scale.backward(self, dy * float(np.sqrt(2.0)))

    class Loss(nn.MSELoss):
        def backward(self):
            return super().backward() * np.ones(1)

    line = problem_of(Widened(), normal(4, 3))
    assert "forward turned float32 into float64: make what is made inside of x.dtype" in line
    back = "backward turned float32 into float64 in the gradient of"
    assert f"{back} x: make what is made inside of dy.dtype" in problem_of(
        WidenedBack(), normal(4, 3)
    )
    assert back in problem_of(Loss(), normal(4, 3), normal(4, 3, seed=1))
    assert check(KeptBack(), normal(4, 3)).passed


def test_integers_where_floats_are_meant():
    line = problem_of(Scale(), np.array([[1, 2, 3]]))
    assert "returned a gradient for x, which holds no floats" in line


def test_a_forward_that_gives_several_arrays():
    class Two(Scale):
        def forward(self, x):
            return super().forward(x), x

    assert "forward returned a tuple" in problem_of(Two(), normal(4, 3))


def test_something_else_than_a_module():
    with pytest.raises(TypeError, match="expected an nn.Module, got function"):
        nn.check_gradients(lambda x: x, normal(2, 3))


def test_errors_of_forward_come_through():
    with pytest.raises(ValueError, match="Linear"):
        nn.check_gradients(nn.Linear(3, 2), normal(4, 5))


def test_importing_nn_loads_neither_cases_nor_bugs():
    code = "import sys, nn; print([m for m in sys.modules if m.startswith('nn.gradcheck.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "nn.gradcheck.check" in loaded
    assert "cases" not in loaded and "bugs" not in loaded
