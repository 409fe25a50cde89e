"""What a backward promises besides the right numbers. Training relies on all of it.

Each check takes a subject and gives None, or what is wrong in one line.
"""

import copy

import numpy as np

from nn.gradcheck.arguments import float_copy
from nn.module import inference

SAME = 1e-9  # of the largest entry: sums may be taken in another order, nothing else


def _equal(these, those):
    """Are two lists of arrays the same but for rounding?"""
    return all(
        np.abs(a - b).max(initial=0.0) <= SAME * max(np.abs(b).max(initial=0.0), 1e-30)
        for a, b in zip(these, those, strict=True)
    )


def inputs_stay(subject, expected, rng):
    """Neither forward nor backward writes into its arguments: other layers hold them too."""
    dy = subject.dy.copy()
    before = [tensor.array.copy() for tensor in subject.tensors]
    subject.gradients(dy=dy)
    for tensor, old in zip(subject.tensors, before, strict=True):
        if not np.array_equal(tensor.array, old):
            tensor.array[...] = old
            return f"{tensor.name} was changed in place: compute into a new array"
    if not np.array_equal(dy, subject.dy):
        return "backward changed dy in place: another branch may need it, compute a new array"


def float32_stays(subject, expected, rng):
    """float32 stays float32, forward and backward, as in training; all else here is float64.

    Of a parameter nothing is to be asked: `add_grad` makes each gradient what the parameter is.
    """
    module = copy.deepcopy(subject.module).forget().astype(np.float32)
    inputs = [float_copy(value, np.float32) for value in subject.inputs]
    doing = "forward"
    try:
        y = np.asarray(subject.forward_of(module, inputs))
        doing = "backward"
        arguments = () if subject.is_loss else (subject.dy.astype(np.float32),)
        gradients = subject.named_gradients(module.backward(*arguments))
    except Exception as error:
        what = " ".join(str(error).split())
        return f"{doing} raised {type(error).__name__} for float32, not for float64: {what}"
    if y.dtype != np.float32 and not subject.is_loss:  # which is a plain number
        return (
            f"forward turned float32 into {y.dtype}: make what is made inside of x.dtype "
            "(np.zeros(5) and np.sqrt(5) are float64; float(np.sqrt(5)) keeps float32)"
        )
    for name, gradient in gradients:
        if np.asarray(gradient).dtype != np.float32:
            return (
                f"backward turned float32 into {np.asarray(gradient).dtype} in the gradient of "
                f"{name}: make what is made inside of dy.dtype, or every layer before this one "
                "computes in it"
            )


def everything_taken(subject, expected, rng):
    """One backward takes off what one forward saved; inside inference() nothing is saved."""
    subject.gradients()
    left = subject.saved()
    subject.module.forget()
    if left:
        return f"{left[0][0]} still holds {left[0][1]} forward after backward: call self.take()"
    with inference():
        subject.forward()
    left = subject.saved()
    subject.module.forget()
    if left:
        return f"{left[0][0]} saved a forward inside nn.inference(): use self.save(...)"


def gradients_add_up(subject, expected, rng):
    """A second backward adds to each parameter's gradient; it does not replace it."""
    subject.gradients()
    subject.forward()
    subject.backward(subject.dy.copy())
    for tensor, now, once in zip(
        subject.parameters,
        subject.parameter_gradients(),
        expected[len(subject.float_inputs) :],
        strict=True,
    ):
        if not _equal([now], [2 * once]):
            return f"two backwards do not add up in {tensor.name}.grad: use {tensor.name}.add_grad"


def last_in_first_out(subject, expected, rng):
    """Two forwards, then two backwards in the opposite order: each meets its own values."""
    checked = [tensor.values for tensor in subject.float_inputs]

    def moved(value):
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        if any(value is array for array in checked):
            return value * (1 + 0.1 * rng.uniform(-1, 1, value.shape))
        return value

    inputs = [moved(value) for value in subject.inputs]
    dy = np.ones(()) if subject.is_loss else rng.standard_normal(subject.dy.shape)
    second = subject.gradients(inputs, dy.copy())
    subject.forward()
    subject.forward(inputs)
    same = True
    for upstream, own in ((dy, second), (subject.dy, expected)):
        subject.module.zero_grad()  # that gradients add up is a promise of its own
        of_inputs = subject.backward(upstream.copy())
        same = _equal(of_inputs + subject.parameter_gradients(), own) and same
    if not same:
        return (
            "after two forwards the two backwards mix up their values: keep them with "
            "self.save(...), not in an attribute"
        )


def input_gradient_optional(subject, expected, rng):
    """backward(dy, need_input_grad=False) leaves the gradients of the parameters as they are."""
    if not subject.parameters or subject.is_loss or not subject.has_need_input_grad:
        return None
    without = subject.gradients(need_input_grad=False)
    if not _equal(without, expected[len(subject.float_inputs) :]):
        return "need_input_grad=False changes the gradient of a parameter"


def frozen_stay_out(subject, expected, rng):
    """A frozen parameter gets no gradient, and the gradients of all others stay."""
    n = len(subject.float_inputs)
    for share in (0, 1):  # first every other parameter, then the rest
        frozen, free = subject.parameters[share::2], subject.parameters[1 - share :: 2]
        for tensor in frozen:
            tensor.parameter.trainable = False
        try:
            subject.module.zero_grad()
            subject.forward()
            of_inputs = subject.backward(subject.dy.copy())
        finally:
            for tensor in frozen:
                tensor.parameter.trainable = True
        for tensor in frozen:
            if tensor.parameter.has_grad:
                return (
                    f"{tensor.name} was frozen, yet backward computed its gradient: hand it to "
                    f"{tensor.name}.add_grad(...), which heeds trainable"
                )
        now = of_inputs + [tensor.parameter.grad for tensor in free]
        if not _equal(now, expected[:n] + expected[n:][1 - share :: 2]):
            return "freezing one parameter changes the gradient of another tensor"


CHECKS = (
    inputs_stay,
    float32_stays,
    everything_taken,
    gradients_add_up,
    last_in_first_out,
    input_gradient_optional,
    frozen_stay_out,
)
