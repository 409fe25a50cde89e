"""The checks are checked: every planted bug must be caught, by the cases that all layers have."""

import functools
import inspect

import numpy as np
import pytest

import nn
from nn.gradcheck.bugs import BUGS, CONDITIONS, plant
from nn.gradcheck.cases import CASES

PLANTED = [(bug, layer) for bug in BUGS for layer in bug.layers]
SOME = 40  # elements of each tensor; larger ones get random directions besides


def report_of(module, inputs):
    with nn.kernels.using("reference"):
        return nn.check_gradients(module, *inputs, elements=SOME)


@functools.cache
def right_layer_passes(layer, i):
    return report_of(*CASES[layer][i].build()).passed


@pytest.mark.parametrize(
    ("bug", "layer"), PLANTED, ids=[f"{layer}-{bug.name}" for bug, layer in PLANTED]
)
def test_planted_bug_is_caught(bug, layer):
    caught, shown = 0, 0
    for i, case in enumerate(CASES[layer]):
        module, inputs = case.build()
        shows = bug.only_with is None or CONDITIONS[bug.only_with](module, inputs[0])
        if shows and caught:
            continue
        assert right_layer_passes(layer, i)
        report = report_of(plant(bug, module), inputs)
        if not shows:  # this is where the bug hides: what is said of it must be true
            assert report.passed, f"{bug.name} shows without {bug.only_with}\n{report}"
        assert not any("float32" in problem for problem in report.problems)  # no bug is about that
        shown += shows
        caught += not report.passed
    assert shown, f"no case of {layer} has {bug.only_with}"
    assert caught, f"{bug.name} in {layer} was not caught: {bug.about}"


@pytest.mark.parametrize("layer", CASES)
def test_every_layer_has_its_bugs(layer):
    module, _ = CASES[layer][0].build()
    own_parameters = any("." not in name for name, _ in module.named_parameters())
    windows = hasattr(module, "kernel_size") or hasattr(module, "scale")
    wanted = 4 if own_parameters or windows else 1
    planted = [bug.name for bug in BUGS if layer in bug.layers]
    assert len(planted) >= wanted, f"{layer} has {planted}, {wanted} bugs are wanted"


def test_every_bug_says_what_it_is_in_one_line():
    for bug in BUGS:
        assert bug.about.endswith(".") and "\n" not in bug.about and len(bug.about) < 100
        assert bug.source.startswith("@bug(") and len(bug.source.splitlines()) < 30
    assert len({(bug.name, bug.layers) for bug in BUGS}) == len(BUGS)


def test_what_a_bug_does_not_replace_is_right():
    """Several bugs of a layer share a right backward in parts. If that were wrong, any bug built
    on it would be caught, for another reason than the one it gives."""
    shared = {(layer, bug.code.__bases__[0]) for bug, layer in PLANTED}
    for layer, parts in sorted(shared, key=str):
        if parts is nn.Module:
            continue
        for case in CASES[layer]:
            module, inputs = case.build()
            module.__class__ = type(parts.__name__, (parts, type(module)), {})
            report = report_of(module, inputs)
            assert report.passed, f"{parts.__name__} of {layer}\n{report}"


def test_planting_changes_nothing_but_the_backward():
    for bug, layer in PLANTED:
        module, inputs = CASES[layer][0].build()
        right, _ = CASES[layer][0].build()
        with nn.kernels.using("reference"):
            np.testing.assert_array_equal(plant(bug, module)(*inputs), right(*inputs))
        assert inspect.isclass(bug.code) and isinstance(module, getattr(nn, layer))


def test_an_upstream_of_ones_would_have_missed_the_softmax_bug():
    """With dy = 1 the outputs sum to one whatever x is: the gradient is zero, and the bug's too."""
    bug = next(bug for bug in BUGS if bug.name == "FactorForgotten")
    x = np.random.default_rng(0).standard_normal((3, 5))
    ones, dx = np.ones_like(x), {}
    for name, softmax in (("right", nn.Softmax()), ("wrong", plant(bug, nn.Softmax()))):
        softmax(x)
        dx[name] = softmax.backward(ones)
    np.testing.assert_allclose(dx["right"], 0, atol=1e-15)
    np.testing.assert_allclose(dx["wrong"], 0, atol=1e-15)
    assert not nn.check_gradients(plant(bug, nn.Softmax()), x).passed


def test_biases_left_at_zero_would_have_missed_a_forgotten_bias():
    """A backward that needs b and forgets it agrees at b = 0, where every bias starts."""

    class Squared(nn.Linear):
        """y = (x @ W + b)², whose backward forgets b."""

        def forward(self, x):
            self.save(x)
            return (x @ self.weight.data + self.bias.data) ** 2

        def backward(self, dy, need_input_grad=True):
            (x,) = self.take()
            dz = 2 * dy * (x @ self.weight.data)
            self.weight.add_grad(x.T @ dz)
            self.bias.add_grad(dz.sum(axis=0))
            return dz @ self.weight.data.T

    layer, x = Squared(3, 2, rng=0).astype(np.float64), np.random.default_rng(1).random((4, 3))
    y = layer(x)
    dx = layer.backward(np.ones_like(y))
    h = 1e-6 * np.eye(4, 3)
    slope = (layer(x + h).sum() - layer(x - h).sum()) / 2e-6
    assert slope == pytest.approx((dx * np.eye(4, 3)).sum())  # nothing to be seen here
    assert not nn.check_gradients(layer, x).passed
