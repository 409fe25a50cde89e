"""The arithmetic of the library as pure functions on arrays: no layer, no state.

`reference` holds every kernel as its equation, in NumPy. `fast` has the same functions,
compiled and parallel. What the layers call stands below and is passed on to one of the two:

    with nn.kernels.using("reference"):
        ...                       # the whole library runs on the equations

There is a rung between them, "loops": the equations as plain compiled loops.

The fast kernels take float32 and float64; the compiler is loaded at their first call.
"""

import contextlib
import contextvars
import functools
import importlib

from nn.kernels import reference, threads
from nn.kernels.reference import output_size

__all__ = [
    "avg_pool_backward",
    "avg_pool_forward",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_forward",
    "current",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_forward",
    "erf",
    "max_pool_backward",
    "max_pool_forward",
    "output_size",
    "reference",
    "using",
]

NAMES = ("reference", "loops", "fast")
_chosen = contextvars.ContextVar("kernels", default="fast")


def using(name):
    """Run everything inside the `with` block on the kernels of that name.

    name: "fast" (what is used outside any block), "reference", or "loops". Blocks may be nested;
    other threads keep their own choice. Raises ValueError for another name.
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
    """The name of the kernels in use: "fast", "loops" or "reference"."""
    return _chosen.get()


def _passed_on(function):
    """`function` of `reference`, or the one of the same name in `fast`."""

    @functools.wraps(function)
    def chosen(*args, **kwargs):
        if current() == "reference":
            return function(*args, **kwargs)
        fast = importlib.import_module("nn.kernels.fast")
        with threads.one_at_a_time:
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
erf = _passed_on(reference.erf)
