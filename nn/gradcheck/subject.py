"""The module under test: a copy in float64 whose randomness is frozen.

To the checker it is one function, from its float inputs and trainable parameters to the number

    L = Σ y · dy        with a random dy, drawn once       (a loss is that number itself)

whose gradient is exactly what `backward(dy)` promises. A dy of ones would not do: under it the
gradient of softmax and of every normalisation is zero, so a wrong one can pass.
"""

import ast
import copy
import inspect
import re
from dataclasses import dataclass

import numpy as np

from nn.gradcheck.arguments import (
    argument_names,
    float_copy,
    holds_floats,
    is_float_array,
    leaves,
)
from nn.gradcheck.errors import holds_what_take_gave, line_of, said
from nn.gradcheck.hints import UNPACK, shape_hint
from nn.module import Module, Parameter, inference


class Problem(Exception):
    """Something that keeps gradients from being compared at all, in one line."""


@dataclass
class Tensor:
    """A float array that the output depends on: an input (parameter None) or a parameter."""

    name: str
    parameter: Parameter | None
    values: np.ndarray | None = None  # of an input

    @property
    def array(self):
        """The live array: changing it in place moves the point that is looked at."""
        return self.values if self.parameter is None else self.parameter.data


class Subject:
    """A module at one point, ready to be evaluated, differentiated and moved.

    - inputs: what is passed to forward, those by name last. Float arrays become float64 copies,
      also inside a tuple (a pair of states); everything else (ids, masks, None) stays as it is.
    - tensors: what is to be checked, inputs first; known after the first `gradients`.
    """

    def __init__(self, module, inputs, rng, options=None):
        if not isinstance(module, Module):
            raise TypeError(f"check_gradients: expected an nn.Module, got {type(module).__name__}")
        self.module = copy.deepcopy(module).forget().astype(np.float64)
        self.module.zero_grad()
        self.name = type(module).__name__
        for parameter in self.module.parameters():
            _leave_special_values(parameter.data, rng)
        options = options or {}
        self.keywords = tuple(options)
        self.inputs = [float_copy(value) for value in (*inputs, *options.values())]
        names = argument_names(module.forward, len(inputs)) + list(options)
        self.float_inputs = [
            Tensor(leaf, None, value)
            for name, argument in zip(names, self.inputs, strict=True)
            for leaf, value in leaves(name, argument)
            if is_float_array(value)
        ]
        self.parameters = [
            Tensor(name, parameter)
            for name, parameter in self.module.named_parameters()
            if parameter.trainable
        ]
        self.argument_names = names
        self.has_need_input_grad = (
            "need_input_grad" in inspect.signature(module.backward).parameters
        )
        self._remember_state()
        self.output = self._first_output()
        self.is_loss = self.output.ndim == 0
        self.dy = np.ones(()) if self.is_loss else rng.standard_normal(self.output.shape)

    @property
    def tensors(self):
        return self.float_inputs + self.parameters

    # ---- forward -------------------------------------------------------------------------

    def forward(self, inputs=None):
        """y as a float64 array (0-d for a loss), from the frozen random state."""
        self._restore_state()
        y = self.forward_of(self.module, self.inputs if inputs is None else inputs)
        if isinstance(y, tuple | list | dict) or y is None:
            raise Problem(
                f"{self.name}.forward returned a {type(y).__name__}; expected one array, or a "
                "float from a loss (wrap the module in one that returns what you want checked)"
            )
        y = np.asarray(y)
        if y.dtype != np.float64:
            raise Problem(
                f"{self.name}.forward turned float64 into {y.dtype}: too coarse to compare; use "
                "x.dtype for the constants and arrays made inside"
            )
        return y

    def forward_of(self, module, inputs):
        """What a module gives for a list like `inputs`, whose last are passed by name."""
        positional = len(inputs) - len(self.keywords)
        options = dict(zip(self.keywords, inputs[positional:], strict=True))
        return module(*inputs[:positional], **options)

    def value(self):
        """y, without anything being saved for a backward. A copy: y may be a view of an input
        (Flatten), which is about to move."""
        with inference():
            return self.forward().copy()

    def _first_output(self):
        arrays = [
            (leaf, array, array.copy())
            for name, argument in zip(self.argument_names, self.inputs, strict=True)
            for leaf, array in leaves(name, argument)
            if isinstance(array, np.ndarray)
        ]
        y = self.value()
        for leaf, array, before in arrays:
            if not np.array_equal(array, before, equal_nan=array.dtype.kind == "f"):
                raise Problem(
                    f"{self.name}.forward changed its input in place ({leaf}): other layers hold "
                    "it too, compute into a new array"
                )
        if not np.isfinite(y).all():
            shape = next((t.array.shape for t in self.float_inputs if t.array.ndim), (2, 5, 3))
            raise Problem(
                f"{self.name}.forward gave NaN or infinity here: choose other inputs, such as "
                f"--input positive:{','.join(map(str, shape))}"
            )
        if not np.array_equal(y, self.value()):
            raise Problem(
                f"{self.name}.forward gives another output for the same input: draw random "
                "numbers from an np.random.Generator kept as an attribute (self.rng), which the "
                "checker can set back"
            )
        return y

    # ---- backward ------------------------------------------------------------------------

    def gradients(self, inputs=None, dy=None, **options):
        """What backward says for each of `tensors` after one forward, as a list of arrays."""
        self.module.zero_grad()
        self.module.forget()
        self.forward(inputs)
        of_inputs = self.backward(self.dy.copy() if dy is None else dy, **options)
        return of_inputs + self.parameter_gradients()

    def parameter_gradients(self):
        return [np.array(tensor.parameter.grad) for tensor in self.parameters]

    def backward(self, dy, **options):
        """Backward alone: the gradients of the float inputs, each with its shape checked."""
        arguments = () if self.is_loss else (dy,)
        try:
            returned = self.module.backward(*arguments, **options)
        except Exception as error:
            raise Problem(self._backward_raised(error)) from error
        if options:  # need_input_grad=False: nothing is to come back
            return []
        return self._input_gradients(returned)

    def _backward_raised(self, error):
        if isinstance(error, NotImplementedError) and type(self.module).backward is Module.backward:
            return f"{self.name} has no backward: write backward(self, dy, need_input_grad=True)"
        what = said(error)
        shapes = re.search(r"gradient of shape (\(.*?\)) for a parameter of (\(.*?\))", what)
        if holds_what_take_gave(error):
            what += f": {UNPACK}"
        elif shapes:  # from Parameter.add_grad
            what += shape_hint(*map(ast.literal_eval, shapes.groups()))
        return f"{self.name}.backward raised {what}{line_of(error)}"

    def _input_gradients(self, returned):
        if self.is_loss and not isinstance(returned, tuple):
            self.float_inputs = self.float_inputs[:1]  # the rest are targets
            self._check_gradient(returned, self.float_inputs[0])
            return [np.array(returned)]
        result = []
        for leaf, value, part in self._parts(returned):
            if is_float_array(value):
                self._check_gradient(part, Tensor(leaf, None, value))
                result.append(np.array(part))
            elif part is not None:
                raise Problem(
                    f"{self.name}.backward returned a gradient for {leaf}, which holds no "
                    "floats: return None there, or pass floats to have it checked"
                )
        return result

    def named_gradients(self, returned):
        """(name, gradient) for each float input, of what backward returned; nothing is checked."""
        if self.is_loss and not isinstance(returned, tuple):
            return [(self.float_inputs[0].name, returned)]
        return [
            (leaf, part) for leaf, value, part in self._parts(returned) if is_float_array(value)
        ]

    def _parts(self, returned):
        """(name, value, gradient) for each array that went in."""
        return [
            matched
            for name, argument, gradient in self._paired(returned)
            for matched in self._matched(name, argument, gradient)
        ]

    def _paired(self, returned):
        """(name, argument, gradient) for each argument, or for each that holds floats."""
        arguments = list(zip(self.argument_names, self.inputs, strict=True))
        several = returned if isinstance(returned, tuple) else (returned,)
        if len(arguments) == 1 and isinstance(self.inputs[0], tuple) and len(several) > 1:
            several = (returned,)
        if len(several) != len(arguments):
            arguments = [(n, v) for n, v in arguments if holds_floats(v)]
        if len(several) != len(arguments):
            raise Problem(
                f"{self.name}.backward returned {len(several)} gradients for {len(self.inputs)} "
                f"arguments ({', '.join(self.argument_names)}); expected one for each, in order, "
                "None for masks and ids"
            )
        return [(n, v, gradient) for (n, v), gradient in zip(arguments, several, strict=True)]

    def _matched(self, name, argument, gradient):
        """(name, value, gradient) for each array in an argument, which may be a tuple of them."""
        if not isinstance(argument, tuple):
            return [(name, argument, gradient)]
        if gradient is None and not holds_floats(argument):
            gradient = (None,) * len(argument)
        if not isinstance(gradient, tuple) or len(gradient) != len(argument):
            raise Problem(
                f"{self.name}.backward returned a {type(gradient).__name__} as the gradient of "
                f"{name}; expected a tuple of {len(argument)}, one for each part"
            )
        return [
            matched
            for i, (value, part) in enumerate(zip(argument, gradient, strict=True))
            for matched in self._matched(f"{name}[{i}]", value, part)
        ]

    def _check_gradient(self, gradient, tensor):
        shape = tensor.array.shape
        if gradient is None:
            raise Problem(
                f"{self.name}.backward returned None for {tensor.name}; expected its gradient, an "
                f"array {shape} (is the return missing?)"
            )
        gradient = np.asarray(gradient)
        if gradient.shape != shape:
            raise Problem(
                f"{self.name}.backward returned {gradient.shape} as the gradient of "
                f"{tensor.name}; expected its shape {shape}{shape_hint(gradient.shape, shape)}"
            )
        if gradient.dtype != np.float64:
            raise Problem(
                f"{self.name}.backward returned {gradient.dtype} as the gradient of {tensor.name}; "
                "expected float64, as everything that went in: use dy.dtype for constants"
            )

    def remarks(self):
        """What is no mistake, but may be an oversight."""
        arrays = [
            f"{prefix}.{name}" if prefix else name
            for prefix, module in self.module.named_modules()
            for name, value in vars(module).items()
            if is_float_array(value) and name not in module.buffers
        ]
        if arrays and not any(True for _ in self.module.named_parameters()):
            names = ", ".join(arrays)
            return [f"no parameters; float arrays in attributes: {names} (learned: nn.Parameter)"]
        return []

    def largest_input(self):
        """The largest |x| that goes in: what is computed on the way is rounded like that."""
        return max((np.abs(t.array).max(initial=0.0) for t in self.float_inputs), default=0.0)

    # ---- moving, and holding the rest still ----------------------------------------------

    def nudge(self, rng, share=0.01):
        """Move the point a little, at random, everywhere at once: off any kink."""
        for tensor in self.tensors:
            size = np.sqrt(np.mean(tensor.array**2)) if tensor.array.size else 0.0
            tensor.array[...] += share * (size or 1.0) * rng.standard_normal(tensor.array.shape)

    def saved(self):
        """(description of a module inside, how many forwards it still holds), where any."""
        modules = [module for _, module in self.module.named_modules()]
        return [(m.describe(), len(m._saved)) for m in modules if m._saved]

    def _remember_state(self):
        """What forward may change: random generators and buffers (running averages)."""
        modules = [module for _, module in self.module.named_modules()]
        generators = [value for m in modules for value in vars(m).values() if _is_generator(value)]
        self._generators = [(g, copy.deepcopy(g.bit_generator.state)) for g in generators]
        self._buffers = [(m, n, getattr(m, n).copy()) for m in modules for n in m.buffers]

    def _restore_state(self):
        for generator, state in self._generators:
            generator.bit_generator.state = state
        for module, name, array in self._buffers:
            setattr(module, name, array.copy())


def _leave_special_values(array, rng):
    """Biases start as zeros and gains as ones. There a forgotten bias or gain goes unseen."""
    if array.size and (array == array.flat[0]).all():
        array += rng.uniform(-0.5, 0.5, array.shape)


def _is_generator(value):
    return isinstance(value, np.random.Generator)
