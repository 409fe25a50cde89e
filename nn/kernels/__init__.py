"""The arithmetic of the library as pure functions on arrays: no layer, no state.

`reference` holds every kernel as its equation, in NumPy. `fast` has the same functions,
compiled and parallel. What the layers call stands below and is passed on to one of the two:

    with nn.kernels.using("reference"):
        ...                       # the whole library runs on the equations

There is a rung between them, "loops": the equations as plain compiled loops. And of the fast
kernels for convolution one may ask for one kind: "direct" never takes Winograd's algorithm, which
rounds a little more, and "winograd" takes it wherever it can be taken. `explain` says which kind
a convolution gets, and why.

The fast kernels take float32 and float64; the compiler is loaded at their first call.
"""

import contextlib
import contextvars
import functools
import importlib

from nn.kernels import choice, lean_attention, reference, threads
from nn.kernels.reference import output_size

__all__ = [
    "activate",
    "activate_backward",
    "adam",
    "add_rows",
    "all_steps",
    "attention_backward",
    "attention_forward",
    "avg_pool_backward",
    "avg_pool_forward",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "current",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "explain",
    "gradient_sums",
    "max_pool_backward",
    "max_pool_forward",
    "moments",
    "normalize",
    "normalize_backward",
    "normalize_rows",
    "normalize_rows_backward",
    "output_size",
    "reference",
    "rmsprop",
    "sgd",
    "threads",
    "using",
]

NAMES = ("reference", "loops", "direct", "winograd", "fast")
_chosen = contextvars.ContextVar("kernels", default="fast")


def using(name):
    """Run everything inside the `with` block on the kernels of that name.

    name: "fast" (what is used outside any block), "reference", "loops", "direct" or "winograd".
    Blocks may be nested; other threads keep their own choice. Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"nn.kernels.using: expected one of {NAMES}, got {name!r}")
    return _using(name)


@contextlib.contextmanager
def _using(name):
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def current():
    """The name of the kernels in use: "fast", or what `using` was given."""
    return _chosen.get()


def explain(x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1):
    """Which kernel computes a convolution and its two gradients, and why: three lines of text.

    x_shape (N, *S, C_in), w_shape (*K, C_in // groups, C_out); the others an int, or one per axis.
    The rule is `choice.choose`; inside `using(...)` it is what was asked for.

        print(nn.kernels.explain((8, 56, 56, 64), (3, 3, 64, 64), padding=1))
    """
    return choice.explain(current(), x_shape, w_shape, stride, padding, dilation, groups)


def all_steps(kind, dtype, rows):
    """(forward, backward, gradients), which do all steps of an "lstm" or a "gru" at once: see
    `nn/kernels/recurrence.py` and `recurrence_gradients.py`.

    None where there are none, and under `using("reference")`: then steps are done one by one. So
    are they for fewer than 4 rows, examples times steps: what the kernels make ready first would
    take longer than the products.
    """
    none = kind is None or dtype not in ("float32", "float64") or rows < 4
    if none or current() == "reference":
        return None
    steps = importlib.import_module("nn.kernels.recurrence")
    gradients = importlib.import_module("nn.kernels.recurrence_gradients").gradients
    return steps.forward, steps.backward, gradients


def _passed_on(function):
    """`function` of `reference`, or the one of the same name in `fast`."""

    @functools.wraps(function)
    def chosen(*args, **kwargs):
        if current() == "reference":
            return function(*args, **kwargs)
        fast = importlib.import_module("nn.kernels.fast")
        return getattr(fast, function.__name__)(*args, **kwargs)

    return chosen


conv_forward = _passed_on(reference.conv_forward)
conv_backward_input = _passed_on(reference.conv_backward_input)
conv_backward_weight = _passed_on(reference.conv_backward_weight)
max_pool_forward = _passed_on(reference.max_pool_forward)
max_pool_backward = _passed_on(reference.max_pool_backward)
avg_pool_forward = _passed_on(reference.avg_pool_forward)
avg_pool_backward = _passed_on(reference.avg_pool_backward)
dense_forward = _passed_on(reference.dense_forward)
dense_backward_input = _passed_on(reference.dense_backward_input)
dense_backward_weight = _passed_on(reference.dense_backward_weight)
repeated_product = _passed_on(reference.repeated_product)
add_rows = _passed_on(reference.add_rows)
moments = _passed_on(reference.moments)
gradient_sums = _passed_on(reference.gradient_sums)
normalize = _passed_on(reference.normalize)
normalize_backward = _passed_on(reference.normalize_backward)
normalize_rows = _passed_on(reference.normalize_rows)
normalize_rows_backward = _passed_on(reference.normalize_rows_backward)
activate = _passed_on(reference.activate)
activate_backward = _passed_on(reference.activate_backward)
cross_entropy_forward = _passed_on(reference.cross_entropy_forward)
cross_entropy_backward = _passed_on(reference.cross_entropy_backward)
sgd = _passed_on(reference.sgd)
rmsprop = _passed_on(reference.rmsprop)
adam = _passed_on(reference.adam)
attention_forward = _passed_on(lean_attention.attention_forward)
attention_backward = _passed_on(lean_attention.attention_backward)
