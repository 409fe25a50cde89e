"""Wrong backwards of the transformer layers. Right: `nn/transformer.py`."""

from nn.gradcheck.bugs import bug
from nn.module import Module

LAYERS = ("TransformerEncoderLayer", "TransformerDecoderLayer")


@bug(*LAYERS)
class StraightWayForgotten(Module):
    """Only what comes back from the detours is handed on: what went straight on is lost."""

    def _around_backward(self, dy, norm, part_backward, dropout):
        if self.norm_first:
            return norm.backward(part_backward(dropout.backward(dy)))
        return part_backward(dropout.backward(norm.backward(dy)))


@bug(*LAYERS, only_with="post-norm")
class StraightPastTheNorm(Module):
    """Post-norm: what went straight on is handed back past the norm that stood behind the sum."""

    def _around_backward(self, dy, norm, part_backward, dropout):
        if self.norm_first:
            return dy + norm.backward(part_backward(dropout.backward(dy)))
        return dy + part_backward(dropout.backward(norm.backward(dy)))


@bug(*LAYERS, only_with="pre-norm")
class NormOnBothWays(Module):
    """Pre-norm: the sum of both ways goes back through the norm, which stood on the detour."""

    def _around_backward(self, dy, norm, part_backward, dropout):
        if self.norm_first:
            return norm.backward(dy + part_backward(dropout.backward(dy)))
        dy = norm.backward(dy)
        return dy + part_backward(dropout.backward(dy))


@bug(*LAYERS, only_with="dropout")
class DropoutSkipped(Module):
    """The mask of the dropout behind the detours is not applied to the gradient."""

    def _around_backward(self, dy, norm, part_backward, dropout):
        dropout.take()
        if self.norm_first:
            return dy + norm.backward(part_backward(dy))
        dy = norm.backward(dy)
        return dy + part_backward(dy)


@bug("TransformerDecoderLayer")
class MemoryTwice(Module):
    """The gradient of the memory is added to that of x as well, up to the shorter of the two."""

    def backward(self, dy, need_input_grad=True):
        dx, d_memory = super().backward(dy)
        T = min(dx.shape[1], d_memory.shape[1])
        dx = dx.copy()
        dx[:, :T] += d_memory[:, :T]
        return dx, d_memory
