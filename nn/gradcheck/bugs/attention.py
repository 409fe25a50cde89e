"""Wrong backwards of the attentions. Right: `nn/attention.py`, `nn/multihead_attention.py`."""

import numpy as np

from nn.attention import merged
from nn.gradcheck.bugs import bug
from nn.module import Module

# ---- the article's degree -----------------------------------------------------------------


class DegreeParts(Module):
    """The right backward of `AttentionDegree` in parts, so that a bug can replace one."""

    def backward(self, da, need_input_grad=True):
        s, p, a, is_self, shape = self.take()
        ds = self.score_gradient(da.reshape(a.shape)[..., None], s, p, a[..., None])
        dx, dc = self.similarity.backward(ds)
        if is_self:
            return self.both_sides(dx, dc).reshape(shape)
        return dx[:, 0], dc[:, 0]

    def score_gradient(self, da, s, p, a):
        return da * p * (1 + s - a)

    def both_sides(self, dx, dc):
        return dx + dc


@bug("AttentionDegree")
class WeightsHeldStill(DegreeParts):
    """The weights are taken for constants: ds = da · p, the way through softmax is missing."""

    def score_gradient(self, da, s, p, a):
        return da * p


@bug("AttentionDegree")
class SimilarityHeldStill(DegreeParts):
    """Only the way through softmax is there: ds = da · p · (s − a), the summed s is missing."""

    def score_gradient(self, da, s, p, a):
        return da * p * (s - a)


@bug("AttentionDegree")
class OneSideOnly(DegreeParts):
    """x stands on both sides of its own attention; only the gradient of the first comes back."""

    def both_sides(self, dx, dc):
        return dx


@bug("AttentionDegree")
class MeanLeftOut(DegreeParts):
    """ds = da · p · (1 + s): the degree itself, which softmax subtracts, is left out."""

    def score_gradient(self, da, s, p, a):
        return da * p * (1 + s)


# ---- attention with values ----------------------------------------------------------------


class AttentionParts(Module):
    """The right backward of `Attention` in parts; the weights are computed anew if lean."""

    def backward(self, dy, need_input_grad=True):
        saved, passed, ndim = self.take()
        if len(saved) > 2:
            a, b, v, _, log_sum, seen, causal, scale = saved
            s = scale * (a @ b.swapaxes(-1, -2))
            seen = np.ones(s.shape, bool) if seen is None else np.broadcast_to(seen, s.shape)
            p = np.exp(s - log_sum[..., None]) * (np.tril(seen) if causal else seen)
        else:
            p, v = saved
        dy = dy[:, None] if ndim == 3 else dy
        dv = self.value_gradient(p, dy)
        ds = self.through_softmax(p, self.weight_gradient(dy, v))
        if len(saved) > 2:
            ds = scale * ds
            dq, dk = self.similarity.operands_backward(ds @ b, ds.swapaxes(-1, -2) @ a)
        else:
            dq, dk = self.similarity.backward(ds)
        dq, dk, dv = (d[:, 0] if ndim == 3 else d for d in (dq, dk, dv))
        return self.sum_of_those_passed(dq, dk, dv, passed)

    def value_gradient(self, p, dy):
        return p.swapaxes(-1, -2) @ dy

    def weight_gradient(self, dy, v):
        return dy @ v.swapaxes(-1, -2)

    def through_softmax(self, p, dp):
        return p * (dp - (p * dp).sum(axis=-1, keepdims=True))

    def sum_of_those_passed(self, dq, dk, dv, passed):
        return merged((dq, dk, dv), passed)


@bug("Attention")
class SoftmaxAsOnesOwn(AttentionParts):
    """ds = p · dp: that a weight grows at the cost of the others is forgotten."""

    def through_softmax(self, p, dp):
        return p * dp


@bug("Attention")
class SumOverQueries(AttentionParts):
    """The sum in the backward of softmax runs down the columns, over queries instead of keys."""

    def through_softmax(self, p, dp):
        return p * (dp - (p * dp).sum(axis=-2, keepdims=True))


@bug("Attention")
class WeightsNotWeighted(AttentionParts):
    """The mean that softmax subtracts from dp is taken with equal weights instead of p."""

    def through_softmax(self, p, dp):
        return p * (dp - dp.mean(axis=-1, keepdims=True))


@bug("Attention")
class WeightedTwice(AttentionParts):
    """dv = Σ p² dy: the weights are multiplied in twice."""

    def value_gradient(self, p, dy):
        return super().value_gradient(p * p, dy)


@bug("Attention")
class KeyTakenForItself(AttentionParts):
    """Where x stands in for key and value as well, the gradient of the value is forgotten."""

    def sum_of_those_passed(self, dq, dk, dv, passed):
        return merged((dq, dk, dv if passed == 3 else 0), passed)


# ---- several heads ------------------------------------------------------------------------


class HeadsParts(Module):
    """The right backward of `MultiHeadAttention` in parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        inputs, passed = self.take()
        inputs = [inputs[min(i, passed - 1)] for i in range(3)]  # of query, key and value
        dy = self.split(self.out_proj.backward(dy))
        projected = [self._together(d) for d in self.through_attention(dy)]
        self.add_gradients(inputs, projected)
        if need_input_grad:
            dq, dk, dv = (d @ self._weight(i, i + 1).T for i, d in enumerate(projected))
            return merged((dq, dk, dv), passed)

    def split(self, dy):
        return self._heads(dy[:, :, None])[0]

    def through_attention(self, dy):
        return self.attention.backward(dy)

    def add_gradients(self, inputs, projected):
        dw = [np.tensordot(x, d, 2 * ((0, 1),)) for x, d in zip(inputs, projected, strict=True)]
        self.in_proj_weight.add_grad(np.concatenate(dw, axis=1))
        if self.in_proj_bias is not None:
            self.in_proj_bias.add_grad(np.concatenate([d.sum(axis=(0, 1)) for d in projected]))


@bug("MultiHeadAttention")
class SplitTheOtherWay(HeadsParts):
    """dy is split into heads as if neighbouring features belonged to different heads."""

    def split(self, dy):
        N, T, D = dy.shape
        back = self.heads if self.heads > 1 else 2
        mixed = dy.reshape(N, T, D // back, back).swapaxes(2, 3).reshape(N, T, D)
        return super().split(mixed)


@bug("MultiHeadAttention")
class KeysAndValuesSwapped(HeadsParts):
    """The gradients of keys and values change places behind attention."""

    def through_attention(self, dy):
        dq, dk, dv = self.attention.backward(dy)
        return dq, dv, dk


@bug("MultiHeadAttention")
class ProjectionsReversed(HeadsParts):
    """dW and db of the three projections stand in the order value, key, query."""

    def add_gradients(self, inputs, projected):
        super().add_gradients(inputs, projected[::-1])


@bug("MultiHeadAttention", only_with="a bias of the projections")
class BiasOfOnePlace(HeadsParts):
    """The three projected biases get a mean over the positions instead of the sum."""

    def add_gradients(self, inputs, projected):
        before = self.in_proj_bias
        super().add_gradients(inputs, projected)
        if before is not None:
            before.grad = before.grad / projected[1][..., 0].size
