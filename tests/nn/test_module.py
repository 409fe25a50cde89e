"""Modules: what forward saves backward takes, and what is inside is found."""

import copy
import threading
import warnings

import numpy as np
import pytest

import nn
from nn.module import MANY_FORWARDS, backward_to_parameters


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def network(seed=1):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(4, 6, rng=rng), nn.Tanh(), nn.Sequential(nn.Linear(6, 3, rng=rng), nn.Tanh())
    ).astype(np.float64)


class Twice(nn.Module):
    """y = a·x + b with a list of modules inside, and no `super().__init__()`."""

    buffers = ("calls",)

    def __init__(self):
        self.gain = nn.Parameter(np.float32([2.0, 3.0]))
        self.parts = [nn.Linear(2, 2, rng=0), nn.Tanh()]
        self.pair = (nn.Linear(2, 3, bias=False, rng=1),)
        self.calls = np.zeros(1, np.int64)
        self.note = "no module"

    def forward(self, x):
        self.save(x)
        return self.pair[0](self.parts[1](self.parts[0](x * self.gain.data)))

    def backward(self, dy):
        (x,) = self.take()
        dz = self.parts[0].backward(self.parts[1].backward(self.pair[0].backward(dy)))
        self.gain.add_grad((dz * x).sum(axis=0))
        return dz * self.gain.data


# ---- saving and taking ----------------------------------------------------------------------


def test_several_calls_come_back_last_in_first_out():
    """One network over two inputs: the gradients are those of one call on each."""
    module, alone = network(), network()
    a, b = array(5, 4, seed=1), array(2, 4, seed=2)
    da, db = array(5, 3, seed=3), array(2, 3, seed=4)
    module(a)
    module(b)
    dxb, dxa = module.backward(db), module.backward(da)

    alone(a)
    np.testing.assert_array_equal(dxa, alone.backward(da))
    ga = [p.grad.copy() for p in alone.parameters()]
    alone.zero_grad()
    alone(b)
    np.testing.assert_array_equal(dxb, alone.backward(db))
    for p, q, first in zip(module.parameters(), alone.parameters(), ga, strict=True):
        np.testing.assert_allclose(p.grad, first + q.grad, rtol=1e-12)


def test_the_same_module_twice_in_a_row():
    shared = nn.Linear(3, 3, rng=0).astype(np.float64)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    assert len(model.parameters()) == 2 and model.num_parameters == 12
    x, dy, eps = array(2, 3), array(2, 3, seed=1), 1e-6
    model(x)
    model.backward(dy)
    for p in model.parameters():
        v = array(*p.shape, seed=2)
        ends = []
        for sign in (1, -1):
            p.data += sign * eps * v
            with nn.inference():
                ends.append((model(x) * dy).sum())
            p.data -= sign * eps * v
        np.testing.assert_allclose((p.grad * v).sum(), (ends[0] - ends[1]) / (2 * eps), rtol=1e-6)


def test_backward_without_a_forward_says_so():
    model = network()
    with pytest.raises(RuntimeError, match=r"Tanh\(\): backward without a forward"):
        model.backward(array(5, 3))
    model(array(5, 4))
    model.backward(array(5, 3))
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(array(5, 3))
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss\(\): backward without a forward"):
        nn.CrossEntropyLoss().backward()


def test_inference_saves_nothing_and_changes_nothing():
    model, x = network(), array(5, 4)
    expected = model(x)
    model.forget()
    with nn.inference():
        with nn.inference():
            np.testing.assert_array_equal(model(x), expected)
        model(x)
    with pytest.raises(RuntimeError, match="inside nn.inference"):
        model.backward(array(5, 3))
    model(x)
    model.backward(array(5, 3))


def test_inference_ends_with_an_error_too():
    with pytest.raises(KeyError), nn.inference():
        raise KeyError
    model = network()
    model(array(5, 4))
    model.backward(array(5, 3))


def test_inference_holds_for_its_own_thread_only():
    model, x, seen = network(), array(5, 4), []

    def train():
        model(x)
        seen.append(model.backward(array(5, 3)))

    with nn.inference():
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert seen[0].shape == (5, 4)


def test_forget_drops_what_was_saved():
    model, x = network(), array(5, 4)
    model(x)
    model(2 * x)
    assert model.forget() is model
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(array(5, 3))
    model(x)
    model.backward(array(5, 3))
    with pytest.raises(RuntimeError):
        model.backward(array(5, 3))


def test_forwards_that_nobody_takes_back_warn_once_and_by_name():
    model, loss = network(), nn.MSELoss()
    x, target = array(5, 4), array(5, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4 * MANY_FORWARDS):
            loss(model(x), target)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("Linear(4, 6)") and "inference()" in text and "forget()" in text
    model.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2 * MANY_FORWARDS):
            model(x)


def test_training_and_inference_do_not_warn():
    model, loss = network(), nn.MSELoss()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3 * MANY_FORWARDS):
            loss(model(array(5, 4)), array(5, 3))
            model.backward(loss.backward())
            with nn.inference():
                model(array(5, 4))


# ---- gradients ------------------------------------------------------------------------------


def test_gradients_add_up_until_they_are_cleared():
    model, x, dy = network(), array(5, 4), array(5, 3)
    model(x)
    model.backward(dy)
    once = [p.grad.copy() for p in model.parameters()]
    model(x)
    model.backward(dy)
    for p, g in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad, 2 * g)
    weights = model.state_dict()
    model(x)
    model.zero_grad()
    assert not any(p.has_grad or p.grad.any() for p in model.parameters())
    for name, weight in model.state_dict().items():
        np.testing.assert_array_equal(weight, weights[name])
    model.backward(dy)  # zero_grad clears gradients, not what the forward saved
    for p, g in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad, g)


def test_the_first_layer_may_skip_its_input_gradient():
    model, x, dy = network(), array(5, 4), array(5, 3)
    model(x)
    assert model.backward(dy).shape == x.shape
    full = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    model(x)
    assert model.backward(dy, need_input_grad=False) is None
    for p, g in zip(model.parameters(), full, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_a_custom_first_layer_need_not_know_of_that():
    module, x = Twice(), array(4, 2)
    model = nn.Sequential(module, nn.Tanh())
    model(x)
    assert model.backward(array(4, 3), need_input_grad=False) is None
    assert module.gain.has_grad
    module(x)
    assert backward_to_parameters(module, array(4, 3)) is None


def test_frozen_parameters_get_no_gradient():
    model, x, dy = network(), array(5, 4), array(5, 3)
    model[0].weight.trainable = False
    model[2][0].bias.trainable = False
    model(x)
    dx = model.backward(dy)
    assert [p.has_grad for p in model.parameters()] == [False, True, True, False]
    free = network()
    free(x)
    np.testing.assert_array_equal(dx, free.backward(dy))
    assert "frozen" in repr(model) and "frozen" not in repr(free)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"gradient of shape \(2,\) for a parameter of \(3,\)"):
        nn.Parameter(np.zeros(3)).add_grad(np.zeros(2))


# ---- what is inside -------------------------------------------------------------------------


def test_parameters_are_found_without_super_init():
    module = Twice()
    names = [name for name, _ in module.named_parameters()]
    assert names == ["gain", "parts.0.weight", "parts.0.bias", "pair.0.weight"]
    assert module.num_parameters == 2 + 4 + 2 + 6
    assert [name for name, _ in module.named_buffers()] == ["calls"]
    assert [name for name, _ in module.named_modules()] == ["", "parts.0", "parts.1", "pair.0"]
    module(array(4, 2))
    assert module.backward(array(4, 3)).shape == (4, 2)


def test_nested_names_are_dotted():
    assert list(network().state_dict()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]


def test_train_and_eval_reach_everything():
    model = nn.Sequential(nn.Dropout(0.5, rng=0), nn.Sequential(nn.Dropout(0.5, rng=1)))
    x = np.ones((9, 9))
    assert model.eval() is model
    np.testing.assert_array_equal(model(x), x)
    np.testing.assert_array_equal(model.backward(x), x)
    assert model.train() is model
    assert (model(x) == 0).sum() > 40


def test_astype_takes_gradients_and_buffers_along():
    module = Twice()
    module.calls = np.zeros(1, np.float32)
    module.gain.add_grad(np.float32([1.0, 2.0]))
    assert module.astype(np.float64) is module
    assert {p.data.dtype for p in module.parameters()} == {np.dtype(np.float64)}
    assert module.gain.grad.dtype == module.calls.dtype == np.float64
    np.testing.assert_array_equal(module.gain.grad, [1.0, 2.0])
    assert not module.parts[0].weight.has_grad


def test_state_dict_is_a_copy_and_loading_writes_in_place():
    model, other = network(1), network(2)
    state = model.state_dict()
    arrays = [p.data for p in other.parameters()]
    other.load_state_dict(state)
    for p, data, q in zip(other.parameters(), arrays, model.parameters(), strict=True):
        assert p.data is data
        np.testing.assert_array_equal(p.data, q.data)
    state["0.weight"][:] = 0
    assert model[0].weight.data.any() and other[0].weight.data.any()


def test_states_that_do_not_fit_change_nothing():
    model = network()
    before = model.state_dict()
    state = network(5).state_dict()
    state["0.wieght"] = state.pop("0.weight")
    state["2.0.bias"] = np.zeros(4)
    with pytest.raises(ValueError) as error:
        model.load_state_dict(state)
    assert str(error.value) == (
        "these weights do not fit Sequential: 0.weight is missing; 0.wieght is unknown; "
        "2.0.bias has shape (4,), expected (3,)"
    )
    with pytest.raises(ValueError, match=r"\(and 1 more\)"):
        model.load_state_dict({})
    for name, weight in model.state_dict().items():
        np.testing.assert_array_equal(weight, before[name])


def test_repr_shows_the_tree_with_shapes_and_counts():
    assert repr(network()) == "\n".join(
        [
            "Sequential",
            "  0: Linear(4, 6)  weight (4, 6), bias (6,)  = 30",
            "  1: Tanh()",
            "  2: Sequential",
            "    0: Linear(6, 3)  weight (6, 3), bias (3,)  = 21",
            "    1: Tanh()",
            "51 parameters",
        ]
    )
    assert repr(nn.Tanh()) == "Tanh()"
    assert "gain (2,)" in repr(Twice()).splitlines()[0]


def test_sequential_is_a_list_of_modules():
    model, x = network(), array(5, 4)
    assert len(model) == 3 and isinstance(model[1], nn.Tanh) and list(model)[0] is model[0]
    assert model[:2][0] is model[0], "a slice shares its modules"
    with nn.inference():
        np.testing.assert_array_equal(model(x), model[2](model[:2](x)))
    with pytest.raises(TypeError, match="item 1 is a function, not a Module"):
        nn.Sequential(nn.Tanh(), lambda x: x)
    np.testing.assert_array_equal(nn.Sequential()(x), x)
    np.testing.assert_array_equal(nn.Sequential().backward(x), x)


def test_copies_share_nothing():
    model = network()
    model(array(5, 4))
    other = copy.deepcopy(model)
    other[0].weight.data += 1
    other.forget()
    model.backward(array(5, 3))
    assert not np.array_equal(model[0].weight.data, other[0].weight.data)
    assert not other[0].weight.has_grad


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(NotImplementedError, match="Module has no backward"):
        nn.Module().backward(1)


# ---- kinds of numbers, and what repr shows ---------------------------------------------------


def test_whole_numbers_become_floats_where_they_are_learned_only():
    """A gradient added to an integer array would be cut to 0."""
    assert nn.Parameter([2, 3]).data.dtype == np.float32
    assert nn.Parameter(np.float64([2, 3])).data.dtype == np.float64
    module = Twice()
    module.calls[:] = 7
    module.astype(np.float64)
    assert module.gain.data.dtype == np.float64
    assert module.calls.dtype == np.int64 and module.calls[0] == 7


def test_repr_shows_a_shared_module_once():
    layer = nn.Linear(4, 4, rng=0)
    lines = repr(nn.Sequential(layer, nn.Tanh(), layer)).splitlines()
    assert lines[1] == "  0: Linear(4, 4)  weight (4, 4), bias (4,)  = 20"
    assert lines[3] == "  2: Linear(4, 4)  shared, counted above"
    assert lines[4] == "20 parameters"


def test_a_subclass_of_sequential_may_hold_more():
    class Named(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 3, rng=0), nn.Tanh())
            self.head = nn.Linear(3, 1, bias=False, rng=1)

    model = Named()
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "head.weight"]
    assert repr(model).splitlines()[0] == "Named"


def test_residual_takes_modules_only():
    with pytest.raises(TypeError, match="Residual: item 0 is a type, not a Module"):
        nn.Residual(nn.ReLU)
    with pytest.raises(TypeError, match="Residual: item 1 is a int, not a Module"):
        nn.Residual(nn.ReLU(), shortcut=1)


def test_a_residual_whose_input_gradient_nobody_needs():
    """Both ways still get their parameter gradients; one module on both takes back in order."""
    shared = nn.Linear(3, 3, rng=0)
    x, dy = array(5, 3), array(5, 3, seed=1)
    grads = []
    for need in (True, False):
        block = nn.Residual(shared, nn.Tanh(), shortcut=nn.Sequential(shared)).astype(np.float64)
        block.zero_grad()
        block(x)
        dx = block.backward(dy, need_input_grad=need)
        assert (dx is not None) == need
        grads.append([p.grad for p in block.parameters()])
    h = np.tanh(x @ shared.weight.data + shared.bias.data)
    dw = x.T @ (dy + dy * (1 - h**2))
    for weight_grad, _ in grads:
        assert np.allclose(weight_grad, dw)
