"""Numbers that are not numbers: finding inf and NaN, and the layer they come from."""

import numpy as np

from nn.module import Parameter
from nn.watching import wrapped


def all_finite(array):
    """Is every element a finite number? One pass without a copy when so, as it mostly is.

    A sum over inf or NaN is never finite. A sum over large finite numbers may overflow, so
    a bad sum is only a suspicion, and the elements decide.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fc":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(array).all())


def not_finite(array):
    """In words: how many elements are not finite, and where the first one stands."""
    bad = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in bad[0])
    return (
        f"{len(bad)} of {np.size(array)} values are not finite, "
        f"the first, at {list(first)}, is {np.asarray(array)[first]}"
    )


def find_not_finite(model, loss, inputs, labels, backward=True):
    """Run a step again and say, in words, where the first inf or NaN arises.

    Layers are watched in the order in which they compute: parameter, output, then, on the
    way back, the gradients. For use after a failure: every array of every layer is looked at.
    """
    found = []

    def look(what, *arrays):
        if not found:
            bad = [a for a in arrays if isinstance(a, np.ndarray) and not all_finite(a)]
            found.extend(f"{what}: {not_finite(array)}" for array in bad[:1])

    names = {module: name for name, module in model.named_modules()}

    def place(module):
        name = names[module]
        return f"{name}: {module.describe()}" if name else module.describe()

    def look_forward(module, run, *args, **kwargs):
        for name, parameter in _own_parameters(module):
            look(f"the parameter {name} of {place(module)}", parameter.data)
        y = run(*args, **kwargs)
        look(f"the output of {place(module)}", *_each(y))
        return y

    def look_backward(module, run, *args, **kwargs):
        dx = run(*args, **kwargs)
        for name, parameter in _own_parameters(module):
            if parameter.has_grad:
                look(f"the gradient of the parameter {name} of {place(module)}", parameter.grad)
        look(f"the input gradient of {place(module)}", *_each(dx))
        return dx

    with wrapped(names, look_forward, look_backward):
        outputs = model(*inputs)
        value = loss(outputs, labels)
        look(f"the loss {loss.describe()} (its inputs are finite)", np.array(value))
        if backward:
            dy = loss.backward()
            look(f"the gradient of the loss {loss.describe()}", dy)
            model.backward(dy)
    return found[0] if found else "nowhere when the step is repeated"


def _own_parameters(module):
    return [(name, value) for name, value in vars(module).items() if isinstance(value, Parameter)]


def _each(result):
    return result if isinstance(result, tuple) else (result,)
