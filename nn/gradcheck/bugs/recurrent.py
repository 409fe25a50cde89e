"""Wrong backwards of `RNN`, `LSTM`, `GRU` and `ConvLSTM2d`. Right: `nn/through_time.py` (the
loop) and `nn/recurrent_cells.py` (the steps)."""

import numpy as np

from nn.gradcheck.bugs import bug
from nn.module import Module
from nn.through_time import in_direction, masked, where

GATED = ("LSTM", "ConvLSTM2d")
LOOP = ("RNN", "LSTM")  # the loop is the same for all four


class RecurrentParts(Module):
    """The right way back through one cell, in parts, so that a bug can replace one."""

    step_by_step = True  # forward keeps what each step needs

    def _run_backward(self, cell, direction, run, dh, dlast, mask, need_input_grad):
        dh, mask = in_direction(direction, dh, mask)
        dh, dstate = masked(dh, mask), dlast
        dps, dqs = [], []
        for t in reversed(range(len(dh))):
            dstate = self.arrive(dstate, dh[t])
            dnew = dstate if mask is None else tuple(masked(a, mask[t]) for a in dstate)
            dp, dq, dbefore = self.step_backward(cell, dnew, run.steps[t])
            dbefore = self.through_product(cell, dbefore, dq)
            dstate = dbefore if mask is None else self.held(mask[t], dbefore, dstate)
            dps.insert(0, dp)
            dqs.insert(0, dq)
        self.weight_gradients(cell, run.h_before, np.stack(dps), np.stack(dqs))
        dx = cell.project_backward(run.x, np.stack(dps), need_input_grad)
        return self.turned_back(direction, dx), dstate

    def arrive(self, dstate, dh):
        return (dstate[0] + dh, *dstate[1:])

    def step_backward(self, cell, dnew, saved):
        dp, dq = np.empty((2, *dnew[0].shape[:-1], cell.b.size), dnew[0].dtype)
        dbefore = cell.step_backward(dnew, saved, dp, dq if cell.splits else dp)
        return dp, dq if cell.splits else dp, dbefore

    def through_product(self, cell, dbefore, dq):
        return (dbefore[0] + cell.recurrence_backward(1)(dq), *dbefore[1:])

    def held(self, mask, dbefore, dstate):
        return where(mask, dbefore, dstate)

    def weight_gradients(self, cell, h_before, dp, dq):
        cell.add_recurrent_gradients(h_before, dq)

    def turned_back(self, direction, dx):
        return in_direction(direction, dx)[0]


@bug(*LOOP, only_with="several steps")
class OneStepOnly(RecurrentParts):
    """Nothing goes back through W: each step is blamed for its own output alone."""

    def through_product(self, cell, dbefore, dq):
        return (dbefore[0] + np.zeros_like(cell.recurrence_backward(1)(dq)), *dbefore[1:])


@bug(*LOOP, only_with="several steps")
class OutputReplaces(RecurrentParts):
    """The gradient of y_t replaces what came back from later steps instead of adding to it."""

    def arrive(self, dstate, dh):
        return (dh, *dstate[1:])


@bug(*LOOP, only_with="several steps")
class StateOneStepLate(RecurrentParts):
    """dW: the gradient of each step meets the h after it instead of the h before it."""

    def weight_gradients(self, cell, h_before, dp, dq):
        h_after = np.concatenate([h_before[1:], h_before[-1:]])
        cell.add_recurrent_gradients(h_after, dq)


@bug(*LOOP, only_with="both directions")
class TimeNotTurnedBack(RecurrentParts):
    """dx of the backward direction is left in the order in which that direction read x."""

    def turned_back(self, direction, dx):
        return dx


@bug(*LOOP, only_with="padded steps")
class MaskStopsTheGradient(RecurrentParts):
    """A masked step kept its state, but its gradient is dropped there instead of handed on."""

    def held(self, mask, dbefore, dstate):
        return dbefore


@bug(*LOOP, only_with="several steps")
class TransposeForgotten(RecurrentParts):
    """dh: what goes back through W goes through W turned around in place of its transpose."""

    def through_product(self, cell, dbefore, dq):
        right = cell.W.data
        turned = right[..., ::-1, ::-1]  # another matrix of the same shape
        cell.W.data = np.ascontiguousarray(turned)
        dbefore = super().through_product(cell, dbefore, dq)
        cell.W.data = right
        return dbefore


@bug("RNN", only_with="another f than tanh")
class AlwaysTanh(RecurrentParts):
    """da = dh ∘ (1 − h²) whatever f is."""

    def step_backward(self, cell, dnew, h):
        da = dnew[0] * (1 - h * h)
        return da, da, (0,)


@bug(*GATED, only_with="several steps")
class ForgetGateOverlooked(RecurrentParts):
    """dc goes on to c_{t−1} as it is, without the factor f."""

    def step_backward(self, cell, dnew, saved):
        gates, _, tanh_c = saved
        o = gates[..., 3 * tanh_c.shape[-1] :]
        da, dq, (dh, _) = super().step_backward(cell, dnew, saved)
        return da, dq, (dh, dnew[1] + dnew[0] * o * (1 - tanh_c**2))


@bug(*GATED, only_with="several steps")
class CellCutOff(RecurrentParts):
    """dc of the next step is dropped: c is reached through the h of its own step only."""

    def arrive(self, dstate, dh):
        return (dstate[0] + dh, np.zeros_like(dstate[1]))


@bug(*GATED)
class GatesSwapped(RecurrentParts):
    """The gradients of the input gate and of the forget gate change places."""

    def step_backward(self, cell, dnew, saved):
        da, _, dbefore = super().step_backward(cell, dnew, saved)
        di, df, dg, do = np.split(da, 4, axis=-1)
        da = np.concatenate([df, di, dg, do], axis=-1)
        return da, da, dbefore


@bug(*GATED)
class CandidateAsGate(RecurrentParts):
    """dg has the slope of σ, g · (1 − g), though g is a tanh."""

    def step_backward(self, cell, dnew, saved):
        da, _, dbefore = super().step_backward(cell, dnew, saved)
        g = np.split(saved[0], 4, axis=-1)[2]
        di, df, dg, do = np.split(da, 4, axis=-1)
        da = np.concatenate([di, df, dg / (1 - g * g) * g * (1 - g), do], axis=-1)
        return da, da, dbefore


@bug("GRU")
class ResetOverlooked(RecurrentParts):
    """dq of the candidate is its dp: the factor r between the two is missing."""

    def step_backward(self, cell, dnew, saved):
        dp, _, dbefore = super().step_backward(cell, dnew, saved)
        return dp, dp, dbefore


@bug("GRU", only_with="several steps")
class KeptShareForgotten(RecurrentParts):
    """dh goes back through the gates only; the share z that was kept hands nothing on."""

    def step_backward(self, cell, dnew, saved):
        dp, dq, (kept,) = super().step_backward(cell, dnew, saved)
        return dp, dq, (np.zeros_like(kept),)


@bug("GRU")
class MixedUpMix(RecurrentParts):
    """dz has the sign of z ∘ (n − h): forward mixes (1 − z) ∘ n + z ∘ h."""

    def step_backward(self, cell, dnew, saved):
        dp, dq, dbefore = super().step_backward(cell, dnew, saved)
        H = dbefore[0].shape[-1]
        for d in (dp, dq):
            d[..., H : 2 * H] *= -1
        return dp, dq, dbefore


@bug("RNN", only_with="an output layer")
class OutputGradientReplaced(RecurrentParts):
    """dV replaces the gradient instead of adding to it: wrong at the second backward."""

    def _output_backward(self, dy, h):
        if self.V is not None:
            self.V.zero_grad()
        return super()._output_backward(dy, h)
