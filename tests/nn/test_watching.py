"""Looking at modules: what is seen is what passed, and afterwards nothing is left behind."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import nn
from nn.finite import find_not_finite
from nn.watching import trace


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def network(seed=1):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(4, 6, rng=rng), nn.Tanh(), nn.Sequential(nn.Linear(6, 3, rng=rng), nn.Tanh())
    ).astype(np.float64)


def untouched(model):
    """Is no module wrapped, so that each runs its own class's code?"""
    ours = {"forward", "backward"}
    return all(not ours & set(vars(m)) and not m.watched for _, m in model.named_modules())


def test_watch_keeps_outputs_and_gradients():
    model, x, dy = network(), array(5, 4), array(5, 3, seed=2)
    first, tanh, last = model[0], model[1], model[2]
    with nn.watch(first, tanh, last) as seen:
        y = model(x)
        dx = model.backward(dy)

    h = x @ first.weight.data + first.bias.data
    assert np.allclose(seen[first].output, h)
    assert seen[first].inputs[0] is x
    assert np.allclose(seen[tanh].output, np.tanh(h))
    assert seen[last].output is y and seen[last].grad is dy
    dh = seen[tanh].grad * (1 - np.tanh(h) ** 2)  # what reached the first layer
    assert np.allclose(seen[first].grad, dh)
    assert np.allclose(dx, dh @ first.weight.data.T)
    assert untouched(model)


def test_watching_changes_nothing():
    watched, alone = network(), network()
    x, dy = array(5, 4), array(5, 3, seed=2)
    with nn.watch(*(module for _, module in watched.named_modules())):
        y, dx = watched(x), watched.backward(dy)
    assert np.array_equal(y, alone(x))
    assert np.array_equal(dx, alone.backward(dy))
    for mine, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert np.array_equal(mine.grad, other.grad)


def test_nothing_is_seen_before_or_after_the_block():
    model, x = network(), array(5, 4)
    model(x)
    with nn.watch(model[0]) as seen:
        pass
    model.backward(model(x))
    record = seen[model[0]]
    assert record.inputs is record.output is record.grad is record.weights is None


def test_the_first_layer_may_skip_its_input_gradient():
    """The wrapper has the signature of what it wraps, which decides how it is called."""
    model = network()
    with nn.watch(model[0]) as seen:
        assert "need_input_grad" in inspect.signature(model[0].backward).parameters
        model(array(5, 4))
        assert model.backward(array(5, 3), need_input_grad=False) is None
    assert seen[model[0]].grad.shape == (5, 6)


class Odd(nn.Module):
    """A learner's layer whose backward knows no need_input_grad."""

    def forward(self, x):
        self.save(x)
        return x**3

    def backward(self, dy):
        (x,) = self.take()
        return 3 * x**2 * dy


def test_a_backward_without_need_input_grad_is_watched_too():
    model = nn.Sequential(Odd(), nn.Tanh())
    with nn.watch(model[0]) as seen:
        model(array(2, 3))
        model.backward(array(2, 3), need_input_grad=False)
    assert seen[model[0]].grad.shape == (2, 3)


def test_watches_inside_each_other():
    model, a, b = network(), array(2, 4, seed=1), array(7, 4, seed=2)
    module = model[0]
    with nn.watch(module, model[1]) as outer:
        model(a)
        with nn.watch(module) as inner:
            assert len(module.watched) == 2
            model(b)
            model.backward(array(7, 3))
        assert len(module.watched) == 1
        assert inner[module].output.shape == outer[module].output.shape == (7, 6)
        model(a)  # the outer one goes on, the inner one has ended
        assert inner[module].output.shape == (7, 6)
        assert outer[module].output.shape == (2, 6)
    assert inner[module].grad.shape == (7, 6)
    assert untouched(model)


def test_a_module_named_twice_is_watched_once():
    model = network()
    with nn.watch(model[0], model[0]) as seen:
        assert len(seen) == len(model[0].watched) == 1
        model(array(5, 4))
    assert seen[model[0]].output.shape == (5, 6)
    assert untouched(model)


def test_of_several_calls_the_last_is_kept():
    """Last forward, last backward: they belong to different calls, as the docstring says."""
    layer = nn.Linear(3, 2, rng=0)
    a, b = np.float32(array(2, 3)), np.float32(array(5, 3))
    with nn.watch(layer) as seen:
        layer(a)
        y = layer(b)
        layer.backward(np.ones((5, 2), np.float32))
        layer.backward(np.full((2, 2), 2, np.float32))
    assert seen[layer].output is y
    assert seen[layer].grad.shape == (2, 2)


def test_errors_inside_the_block_leave_nothing_behind():
    model = network()
    with pytest.raises(ValueError, match="expected an input"), nn.watch(model[0], model[2]):
        model(array(5, 9))
    assert untouched(model)
    with nn.watch(model) as seen:
        model(array(5, 4))
        with pytest.raises(ValueError):
            model.backward(array(5, 9))
    assert seen[model].grad.shape == (5, 9)  # what reached it, whatever came of it
    assert untouched(model)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_watched_module_are_not_watched(duplicate):
    model, x = network(), array(5, 4)
    with nn.watch(model, model[0]) as seen:
        other = duplicate(model)
        other[0].weight.data[:] = 0
        other[0].bias.data[:] = 7
        with nn.watch(other[0]) as seen_other:
            other(x)
        assert seen[model].output is None
        assert np.all(seen_other[other[0]].output == 7)  # the copy's own code and weights
    assert untouched(other) and untouched(model)
    assert np.array_equal(other[0].weight.data, np.zeros((4, 6)))


def test_a_method_put_on_an_instance_survives_watching_and_copying():
    """A learner may try out another backward on one layer."""
    layer = nn.Tanh()
    layer.backward = lambda dy: dy * 100
    with nn.watch(layer) as seen:
        assert np.all(layer.backward(np.ones(3)) == 100)
    assert np.all(seen[layer].grad == 1)
    assert np.all(copy.deepcopy(layer).backward(np.ones(3)) == 100)


def test_something_must_be_watched():
    with pytest.raises(ValueError, match=r"watch: expected the modules to look at"):
        with nn.watch():
            pass
    with pytest.raises(TypeError, match=r"expected modules, got a str: 'features'"):
        with nn.watch("features"):
            pass


def test_weights_are_left_by_whoever_has_some():
    """The way attention will show its weights: to all who look, at no cost otherwise."""

    class Weighted(nn.Module):
        def forward(self, x):
            for record in self.watched:
                record.weights = x / x.sum()
            return x

    module = Weighted()
    module(np.array([1.0, 3.0]))
    with nn.watch(module) as outer, nn.watch(module) as inner:
        module(np.array([1.0, 3.0]))
    assert np.array_equal(outer[module].weights, [0.25, 0.75])
    assert np.array_equal(inner[module].weights, [0.25, 0.75])


def test_trace_lists_calls_as_they_finish():
    tanh = nn.Tanh()
    model = nn.Sequential(tanh, nn.Sequential(nn.Linear(3, 2, rng=0)), tanh).astype(np.float64)
    x = array(4, 3)
    calls = trace(model, x)
    assert [c.module for c in calls] == [tanh, model[1][0], model[1], tanh, model]
    assert calls[0].inputs[0] is x
    assert np.array_equal(calls[-1].output, model(x))
    assert untouched(model)


def test_watching_while_searching_for_what_is_not_finite():
    """Both wrap the same modules; each does its own work and takes only its own away."""
    model, labels = network(), np.array([0, 2])
    model[2][0].weight.data[1, 1] = np.nan
    with nn.watch(model[2][0]) as seen:
        where = find_not_finite(model, nn.CrossEntropyLoss(), (array(2, 4),), labels)
        assert where.startswith("the parameter weight of 2.0: Linear(6, 3)")
        assert "1 of 18 values" in where and "[1, 1]" in where
        assert len(model[2][0].watched) == 1
    assert np.isnan(seen[model[2][0]].output).any()
    assert untouched(model)
