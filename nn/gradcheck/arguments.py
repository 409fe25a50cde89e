"""What is passed to forward: arrays, tuples of arrays (a pair of states), and anything else."""

import inspect

import numpy as np


def is_float_array(value):
    """Is it an array of floats, which has a gradient?"""
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)


def leaves(name, value):
    """(name, array) for each array in an argument: state[0], state[1] of a pair."""
    if not isinstance(value, tuple):
        return [(name, value)]
    return [leaf for i, part in enumerate(value) for leaf in leaves(f"{name}[{i}]", part)]


def holds_floats(value):
    """Is there an array of floats in this argument, or in the tuple that it is?"""
    return any(is_float_array(array) for _, array in leaves("", value))


def float_copy(value, dtype=np.float64):
    """Float arrays, lists of numbers and tuples of these in `dtype`; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(float_copy(part, dtype) for part in value)
    if isinstance(value, list):
        value = np.asarray(value)
    return value.astype(dtype, order="C") if is_float_array(value) else value


def argument_names(forward, count):
    """What forward calls its first arguments; "input 2" where it does not say."""
    names = [
        name
        for name, parameter in inspect.signature(forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return (names + [f"input {i}" for i in range(len(names), count)])[:count]
