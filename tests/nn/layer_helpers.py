"""What the tests of layers by hand share."""

import numpy as np
import pytest


def normal(*shape, seed=0):
    """Normal random numbers, the same at every call."""
    return np.random.default_rng(seed).standard_normal(shape)


def error_of(call, *args, **kwargs):
    """The message of the ValueError that the call must raise: one line, not too long."""
    with pytest.raises(ValueError) as error:
        call(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message and len(message) < 250
    return message
