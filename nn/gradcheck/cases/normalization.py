"""Cases of `BatchNorm`, `LayerNorm` and `GroupNorm`.

The inputs have neither mean 0 nor variance 1: a backward that took x for x̂ would else be nearly
right. Batch norm is checked in use as well, with running statistics that are not 0 and 1.
"""

import nn
from nn.gradcheck.cases.case import of_size


def in_use(rng):
    """A BatchNorm(3) that has seen other data than it is given."""
    norm = nn.BatchNorm(3).eval()
    norm.running_mean[:] = rng.standard_normal(3)
    norm.running_var[:] = rng.uniform(0.5, 2.0, 3)
    return norm


CASES = {
    "BatchNorm": [
        of_size(2.0, lambda rng: nn.BatchNorm(3), (5, 3), mean=1.0),
        of_size(2.0, lambda rng: nn.BatchNorm(4), (2, 3, 5, 4), mean=-1.0),
        of_size(0.5, lambda rng: nn.BatchNorm(2, eps=0.1), (1, 2, 3, 4, 2)),
        of_size(2.0, lambda rng: nn.BatchNorm(3), (3, 1, 3)),  # three values for each channel
        of_size(2.0, in_use, (4, 3)),
        of_size(2.0, in_use, (2, 1, 5, 3), mean=1.0),
    ],
    "LayerNorm": [
        of_size(2.0, lambda rng: nn.LayerNorm(5), (4, 5), mean=1.0),
        of_size(2.0, lambda rng: nn.LayerNorm(7), (2, 3, 7), mean=-1.0),
        of_size(0.5, lambda rng: nn.LayerNorm(3, eps=0.1), (1, 2, 4, 1, 3)),
    ],
    "GroupNorm": [
        of_size(2.0, lambda rng: nn.GroupNorm(2, 6), (2, 3, 5, 6), mean=1.0),
        of_size(2.0, lambda rng: nn.GroupNorm(1, 3), (3, 4, 3)),  # all channels together
        of_size(2.0, lambda rng: nn.GroupNorm(3, 3), (2, 3, 1, 2, 3)),  # each by itself
        of_size(0.5, lambda rng: nn.GroupNorm(2, 8, eps=0.1), (3, 8)),  # no places at all
    ],
}
