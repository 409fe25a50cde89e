"""Checks of what a layer is given. Each says, in one line that names the layer, what is wrong."""

import numpy as np


def is_whole(value, least):
    """Is it an integer, of Python or of NumPy, of at least `least`? True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least


def whole_number(layer, name, value, least=1):
    """`value` as an int; ValueError if it is none of at least `least`."""
    if not is_whole(value, least):
        raise ValueError(
            f"{type(layer).__name__}: {name} must be an integer of at least {least}, got {value!r}"
        )
    return int(value)


def per_axis(layer, name, value, least=1):
    """An int, or one int per axis of the layer, as a tuple with one entry per axis."""
    axes = layer.axes
    values = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value,) * axes
    if len(values) != axes or not all(is_whole(v, least) for v in values):
        raise ValueError(
            f"{type(layer).__name__}: {name} must be an integer of at least {least}, or {axes} "
            f"of them (one for each axis), got {value!r}"
        )
    return tuple(int(v) for v in values)


def expect_gradient(layer, dy, shape):
    """ValueError unless dy has the shape of the layer's output.

    NumPy would name no layer, or repeat dy until it fits and give a wrong gradient in silence.
    """
    if np.shape(dy) != tuple(shape):
        raise ValueError(
            f"{layer.describe()}: backward got a gradient {np.shape(dy)}, expected "
            f"{tuple(shape)}, the shape of its output"
        )
