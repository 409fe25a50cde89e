"""The arithmetic of the library as pure functions on arrays: no layer, no state.

`reference` holds every kernel as its equation. What the layers call stands here and is
passed on by one rule.
"""

from nn.kernels import reference
from nn.kernels.reference import output_size

__all__ = ["output_size", "reference"]

conv_forward = reference.conv_forward
conv_backward_input = reference.conv_backward_input
conv_backward_weight = reference.conv_backward_weight
max_pool_forward = reference.max_pool_forward
max_pool_backward = reference.max_pool_backward
avg_pool_forward = reference.avg_pool_forward
avg_pool_backward = reference.avg_pool_backward
