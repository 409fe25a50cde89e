"""The loop over time of recurrent layers, forward and backward. Article §3.2.1.

One step after the other, each from what the one before it left:

    (h_1, …)   (h_2, …)          (h_T, …)
 →  step   →   step   → … →      step   →  last state
     ↑          ↑                 ↑
    x_1        x_2               x_T

Backward goes the same way from its end: `back_through_time`. The steps, with the equations of
RNN, LSTM and GRU, are in `recurrent_cells.py`. For LSTM and GRU without a mask there is a compiled
loop as well, `nn/kernels/recurrence.py`; this one says what it has to compute.
"""

import numpy as np

from nn.kernels.memory import empty


def over_time(cell, x, state, mask=None):
    """Apply a cell's step to x[0], x[1], …: x (T, N, D) → h (T + 1, N, H), last state, steps.

    `state` is the one before the first step. h[t] is what step t starts from, so h[1:] is what
    comes out; `steps` has what each step saved. Where mask[t] (N, 1) is False, the state stays.
    """
    p, recur = cell.project(x), cell.recurrence(len(x))
    h, steps = empty((len(x) + 1, *state[0].shape), x.dtype), []
    h[0] = state[0]
    for t in range(len(x)):
        new, saved = cell.step(p[t], recur(h[t]), state)
        state = new if mask is None else where(mask[t], new, state)
        h[t + 1] = state[0]
        steps.append(saved)
    return h, state, steps


def back_through_time(cell, dh, dstate, steps, mask=None, cuts=()):
    """From dh (T, N, H) and the gradient of the last state: dp, dq (T, N, G·H) and dstate0.

    h_t has reached the loss on two ways, which add up: through the output of its own step, dh[t],
    and through all later steps, which is what `dstate` holds when the loop arrives at t.
    """
    recur_backward = cell.recurrence_backward(len(dh))
    dp = empty((*dh.shape[:-1], cell.b.size), dh.dtype)
    dq = empty(dp.shape, dp.dtype) if cell.splits else dp  # else p and q are only added
    for t in reversed(range(len(dh))):
        dstate = (dstate[0] + dh[t], *dstate[1:])
        dnew = dstate if mask is None else tuple(masked(a, mask[t]) for a in dstate)
        dbefore = cell.step_backward(dnew, steps[t], dp[t], dq[t])
        dbefore = (dbefore[0] + recur_backward(dq[t]), *dbefore[1:])
        if mask is not None:  # a state that stayed hands its gradient on as it is
            dbefore = where(mask[t], dbefore, dstate)
        dstate = tuple(map(np.zeros_like, dbefore)) if t in cuts else dbefore
    return dp, dq, dstate


def where(mask, these, those):
    """For each array of a state: from `these` where the mask is True, else from `those`."""
    return tuple(np.where(mask, a, b) for a, b in zip(these, those, strict=True))


def masked(a, mask):
    """Zeros where the mask is False."""
    return a if mask is None else np.where(mask, a, 0)


def time_first(a):
    """(N, T, …) → (T, N, …), each step in one piece; and the other way round. None stays None."""
    return None if a is None else np.ascontiguousarray(a.swapaxes(0, 1))


def in_direction(direction, *arrays):
    """Arrays (T, …) as direction 1 reads them: from the last step to the first. None stays None."""
    return [a if a is None or direction == 0 else a[::-1] for a in arrays]
