"""Parameters, and modules that hold them.

A module computes something forward and hands gradients backward. There is no tape: `forward`
*saves* on the module's own stack what `backward` will need, and `backward` *takes* it off
again, last in, first out. So one module may be called several times before the backward calls
come back in the opposite order: one network over two inputs, a siamese pair.
"""

import inspect
import threading
import warnings
from contextlib import contextmanager

import numpy as np

_thread = threading.local()  # .inference: is nothing to be saved?  .warned: see Module.save

MANY_FORWARDS = 8  # that many forwards in a row that nobody takes back look like a mistake


@contextmanager
def inference():
    """Inside this block no forward saves anything: for evaluation and prediction.

    It changes no result (that is what `train()` and `eval()` do), only memory: without it a
    module keeps its inputs for a backward that never comes.
    """
    before = getattr(_thread, "inference", False)
    _thread.inference = True
    try:
        yield
    finally:
        _thread.inference = before


class Parameter:
    """An array that is learned, and the gradient of the loss for it.

    - `data`: the values, floats (whole numbers become float32). Optimisers and loading write
      into it in place.
    - `grad`: the gradient, of the same shape; zeros until a backward adds to it.
    - `trainable`: set it to False to freeze: no gradient is computed, no step is taken.
    """

    def __init__(self, data, trainable=True):
        data = np.asarray(data)
        self.data = data.astype(np.float32) if data.dtype.kind in "iub" else data
        self.trainable = trainable
        self._grad = None

    @property
    def shape(self):
        return self.data.shape

    @property
    def size(self):
        return self.data.size

    @property
    def has_grad(self):
        """Has any backward added a gradient since the last `zero_grad`?"""
        return self._grad is not None

    @property
    def grad(self):
        if self._grad is None:
            self._grad = np.zeros_like(self.data)
        return self._grad

    @grad.setter
    def grad(self, value):
        self._grad = None if value is None else np.asarray(value, self.data.dtype)

    def add_grad(self, grad):
        """grad ← grad + `grad`, a newly computed array that nobody else keeps.

        The first one after `zero_grad` is taken as it is: that saves filling and adding as
        many zeros as there are weights. A frozen parameter takes none; layers that would work
        for long on a gradient look at `trainable` before.
        """
        if not self.trainable:
            return
        if grad.shape != self.data.shape:
            raise ValueError(f"gradient of shape {grad.shape} for a parameter of {self.shape}")
        if self._grad is None:
            self._grad = grad.astype(self.data.dtype, copy=False)
        else:
            self._grad += grad

    def zero_grad(self):
        self._grad = None

    def __repr__(self):
        frozen = "" if self.trainable else ", frozen"
        return f"Parameter{self.shape} {self.data.dtype}{frozen}"


class Module:
    """Base of all layers and networks.

    A subclass writes

    - `forward(self, x)`, which returns y and calls `self.save(...)` with what backward needs;
    - `backward(self, dy, need_input_grad=True)`, which calls `self.take()`, adds to the
      gradient of each parameter, and returns the gradient of each argument of forward, in
      order: bare if there is one, None for masks and ids.

    Parameters, and modules inside modules, are found among the attributes; modules also in
    lists and tuples, but not in dicts, nor in lists of lists. Arrays that belong to the state
    but are not learned (running averages) are named in the class attribute `buffers`.
    """

    training = True
    buffers = ()
    watched = ()  # who looks at this module at the moment: see `nn.watch`

    def __call__(self, *args, **kwargs):
        try:
            return self.forward(*args, **kwargs)
        except AttributeError as error:
            # Some modules take lists (of ids); those that do not stumble over one here.
            if args and isinstance(args[0], list):
                raise TypeError(
                    f"{self.describe()}: expected an array, got a list; np.array(...) makes one"
                ) from error
            raise

    def forward(self, *args):
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy, need_input_grad=True):
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    # ---- saving and taking ---------------------------------------------------------------

    @property
    def _saved(self):
        return self.__dict__.setdefault("_stack", [])

    def save(self, *values):
        """Keep `values` for the backward of this call (nothing inside `inference()`)."""
        if getattr(_thread, "inference", False):
            return
        stack = self._saved
        if not stack:
            _thread.warned = False
        stack.append(values)
        # In a network all layers fill up during the same pass; the first one speaks for all.
        if len(stack) == MANY_FORWARDS and not getattr(_thread, "warned", False):
            _thread.warned = True
            if not self.__dict__.get("_has_warned"):
                self._has_warned = True
                warnings.warn(
                    f"{self.describe()}: {MANY_FORWARDS} forwards in a row were saved and no "
                    "backward took them; wrap evaluation in nn.inference(), or call forget()",
                    stacklevel=3,
                )

    def take(self):
        """What the latest forward saved that has not been taken yet, as a tuple."""
        if not self._saved:
            raise RuntimeError(
                f"{self.describe()}: backward without a forward "
                "(or the forward ran inside nn.inference(), which saves nothing)"
            )
        return self._saved.pop()

    def forget(self):
        """Drop what forwards saved and no backward took, here and in all modules inside."""
        for _, module in self.named_modules():
            module._saved.clear()
        return self

    # ---- what is inside ------------------------------------------------------------------

    def named_children(self):
        """(name, module) for each module directly inside."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix=""):
        """(dotted name, module) for this module (named "") and all inside, each once."""
        seen = set()
        waiting = [(prefix, self)]
        while waiting:
            name, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            children = [(f"{name}.{n}" if name else n, m) for n, m in module.named_children()]
            waiting.extend(reversed(children))

    def named_parameters(self):
        """(dotted name, Parameter), each parameter once, in the order of definition."""
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_buffers(self):
        """(dotted name, array) for the state that is not learned."""
        for prefix, module in self.named_modules():
            for name in module.buffers:
                yield (f"{prefix}.{name}" if prefix else name), getattr(module, name)

    def parameters(self):
        """All parameters, as a list."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def num_parameters(self):
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    def __getstate__(self):
        """What a copy takes along: everything but what `nn.watch` put there for its block."""
        return {
            name: value
            for name, value in vars(self).items()
            if name != "watched" and not hasattr(value, "only_watches")
        }

    # ---- changing all of it --------------------------------------------------------------

    def train(self, training=True):
        """Behave as in training (dropout drops, batch statistics are used); returns self."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self):
        """Behave as in use; returns self. Gradients exist in both."""
        return self.train(False)

    def zero_grad(self):
        """Clear the gradient of every parameter, and nothing else."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def astype(self, dtype):
        """Turn parameters, their gradients and float buffers into `dtype`; returns self."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            if parameter.has_grad:
                parameter.grad = parameter.grad.astype(dtype)
        for _, module in self.named_modules():
            for name in module.buffers:
                array = getattr(module, name)
                if array.dtype.kind == "f":  # what is counted stays whole
                    setattr(module, name, array.astype(dtype))
        return self

    def state_dict(self):
        """{dotted name: array}: a copy of every parameter and buffer."""
        state = {name: parameter.data.copy() for name, parameter in self.named_parameters()}
        state.update((name, array.copy()) for name, array in self.named_buffers())
        return state

    def load_state_dict(self, state):
        """Write arrays, named as in `state_dict`, into this module in place.

        Raises ValueError, and changes nothing, when a name is missing or unknown or a shape
        differs.
        """
        own = {name: parameter.data for name, parameter in self.named_parameters()}
        own.update(self.named_buffers())
        problems = [f"{name} is missing" for name in own if name not in state]
        problems += [f"{name} is unknown" for name in state if name not in own]
        problems += [
            f"{name} has shape {np.shape(state[name])}, expected {own[name].shape}"
            for name in own
            if name in state and np.shape(state[name]) != own[name].shape
        ]
        if problems:
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise ValueError(
                f"these weights do not fit {type(self).__name__}: {'; '.join(problems[:3])}{more}"
            )
        for name, array in own.items():
            array[...] = state[name]

    # ---- showing -------------------------------------------------------------------------

    def describe(self):
        """This module in one line, for errors and for the tree that `repr` shows."""
        return f"{type(self).__name__}()"

    def summary(self, input_shape):
        """The tree with shapes, parameters, multiply-adds and saved memory, as a string.

        input_shape: the shape of one input, without N. See `nn/summary.py` for the columns.
        """
        from nn.summary import summary  # it knows all layers, and they know this file

        return summary(self, input_shape)

    def __repr__(self):
        lines = _tree_lines(self, "", 0, set())
        if len(lines) == 1:
            return lines[0]
        return "\n".join([*lines, f"{self.num_parameters:,} parameters"])


def _tree_lines(module, name, depth, shown):
    line = "  " * depth + (f"{name}: " if name else "") + module.describe()
    if module in shown:
        return [line + "  shared, counted above"]
    shown.add(module)
    own = [(n, v) for n, v in vars(module).items() if isinstance(v, Parameter)]
    if own:
        shapes = ", ".join(f"{n} {v.shape}" + ("" if v.trainable else " frozen") for n, v in own)
        line += f"  {shapes}  = {sum(v.size for _, v in own):,}"
    lines = [line]
    for child_name, child in module.named_children():
        lines += _tree_lines(child, child_name, depth + 1, shown)
    return lines


def backward_to_parameters(module, dy):
    """Backward through the first module of a network, whose input gradient nobody needs.

    A module whose backward has no `need_input_grad` computes it, and it is dropped.
    """
    accepted = inspect.signature(module.backward).parameters
    if "need_input_grad" in accepted:
        module.backward(dy, need_input_grad=False)
    else:
        module.backward(dy)
