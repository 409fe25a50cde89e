"""What the trainer asks of a loader, and what it checks in a batch.

A loader is anything with a length that can be iterated once per epoch and gives tuples
(inputs..., labels): a list of batches, or a loader that also has `state_dict()` and
`load_state_dict()`, so that it can go on in the middle of an epoch.
"""

from contextlib import contextmanager
from itertools import islice

import numpy as np

from nn.finite import all_finite, not_finite


@contextmanager
def opened(loader, skip=0):
    """An iterator over the batches of one epoch, closed afterwards even when broken off.

    Closing ends the threads that a loader may have started. The first `skip` batches are
    left out, unless the loader keeps its place itself.
    """
    batches = iter(loader)
    try:
        yield batches if hasattr(loader, "load_state_dict") else islice(batches, skip, None)
    finally:
        if hasattr(batches, "close"):
            batches.close()


def count(loader):
    """How many batches an epoch has."""
    if not hasattr(loader, "__len__"):
        raise TypeError(
            f"a loader must have a length and give its batches anew for each epoch, got a "
            f"{type(loader).__name__}; a list of batches will do"
        )
    return len(loader)


def checked(batch, where):
    """A batch (inputs..., labels) as arrays; ValueError when one of them is not finite."""
    if not is_batch(batch):
        raise TypeError(
            f"{where}: expected a tuple (inputs..., labels) of arrays, got {_what_it_is(batch)}"
        )
    arrays = [np.asarray(array) for array in batch]
    for i, array in enumerate(arrays):
        if not all_finite(array):
            name = "labels" if i == len(arrays) - 1 else f"input {i}"
            raise ValueError(f"{where}: {name} {array.shape}: {not_finite(array)}")
    return arrays


def is_batch(value):
    """Is this one batch, (inputs..., labels), and not a loader of batches?"""
    return isinstance(value, tuple | list) and len(value) >= 2 and hasattr(value[0], "dtype")


def _what_it_is(value):
    """In words, with what to do, what was given where a batch was expected."""
    if isinstance(value, np.ndarray | np.generic):
        return (
            f"an array {value.shape}; a loader is a list of batches, and of one batch "
            "[(x, labels)] would do"
        )
    if not isinstance(value, tuple | list):
        return f"a {type(value).__name__}"
    kinds = ", ".join(type(item).__name__ for item in value[:5])
    items = f"a {type(value).__name__} of {len(value)} ({kinds}{', ...' if value[5:] else ''})"
    if len(value) < 2:
        return f"{items}: one of inputs and labels is missing"
    return f"{items}; np.array(...) makes an array of a list"


def place_of(loader):
    """Where a loader stands, None if it does not say."""
    return loader.state_dict() if hasattr(loader, "state_dict") else None


def go_to(loader, place):
    """Let the next iteration go on at a place that `place_of` gave."""
    if place is not None and hasattr(loader, "load_state_dict"):
        loader.load_state_dict(place)
