"""Recurrent layers on top of each other, in one or both directions, with states and masks.

What a cell does in a step is in `recurrent_cells.py`, the loop over time in `through_time.py`.
"""

from typing import NamedTuple

import numpy as np

from nn.arguments import expect_gradient, whole_number
from nn.dropout import Dropout
from nn.module import Module
from nn.through_time import back_through_time, in_direction, masked, over_time, time_first


class Run(NamedTuple):
    """What one cell keeps of one forward, step by step in its direction, all with time first."""

    x: np.ndarray  # (T, N, *S, D)
    h_before: np.ndarray  # the h before each step
    steps: list


class CompiledRun(NamedTuple):
    """What it keeps where a kernel has done all steps at once."""

    x: np.ndarray  # (N, T, D)
    saved: tuple


class _Recurrent(Module):
    """What RNN, LSTM, GRU and ConvLSTM2d share: everything but the step.

    x (N, T, *S, D) → y (N, T, *S, H), or 2H if bidirectional: forward and backward features next
    to each other. Layer l + 1 reads the y of layer l. *S is empty but for ConvLSTM2d.

    - `state`: what to start with, (layers · directions, N, *S, H), a pair of them for cells with
      two; zeros if it is not given. `last_state` has the same shape: the state of each cell after
      the last valid step of its direction. It holds copies; its gradient is `dstate` in backward.
      A stream is read in chunks by handing `last_state` on as `state`; one direction only, since
      the other would have to begin at the end.
    - `mask` (N, T), True where valid, for sequences of unequal length, or with gaps. A masked step
      keeps the state and gives zeros. So `last_state` is that after the last valid step, and
      the backward direction starts there. What x holds at masked steps does not matter.
    - `dropout`: between layers (not behind the last), as in PyTorch.
    - `truncate=k`: truncated back-propagation. Time falls into blocks of k steps, 0..k−1,
      k..2k−1, and so on, and in backward the state that one block hands to the next is taken for a
      constant. Gradients so flow through at most k steps; forward is not changed. It is what
      chunks of k steps would give that hand on the state but not its gradient. (In the
      backward direction the blocks are the same; the state goes from a later to an earlier one.)

    backward(dy, dstate=None) returns dx, or (dx, dstate0) if a state was passed; with
    need_input_grad=False dx is None, and dstate0 is there all the same. dy may be None where only
    `last_state` was used.

    Raises ValueError in forward for inputs, states or masks of other shapes, and for no steps.
    """

    step_by_step = False  # True: the plain loop over time, whatever kernels there are

    def _settle(
        self, cell, input_size, hidden_size, num_layers, bidirectional, dropout, truncate, rng
    ):
        """Keep the options and make the cells, each by `cell(input_size)`.

        Those of layer 0 come first, and forward before backward, as the states do.
        """
        self.input_size = whole_number(self, "input_size", input_size)
        self.hidden_size = whole_number(self, "hidden_size", hidden_size)
        self.num_layers = whole_number(self, "num_layers", num_layers)
        self.directions = 2 if bidirectional else 1
        self.truncate = None if truncate is None else whole_number(self, "truncate", truncate)
        sizes = [self.input_size] + [self.hidden_size * self.directions] * (self.num_layers - 1)
        self.cells = [cell(size) for size in sizes for _ in range(self.directions)]
        self.last_state = None
        self.dropout = Dropout(dropout, rng) if dropout else None

    # ---- forward -------------------------------------------------------------------------

    def forward(self, x, state=None, mask=None):
        self._check_input(x)
        first = self._states(x, state)
        if mask is not None:
            mask = self._beside(x, mask)
            x = np.where(mask, x, 0)
        runs, last = [], []
        for layer in range(self.num_layers):
            if layer and self.dropout is not None:
                x = self.dropout(x)
            outputs = []
            for i, direction in self._cells_of(layer):
                run, h, state_i = self._run(self.cells[i], direction, x, first[i], mask)
                runs.append(run)
                last.append(state_i)
                outputs.append(h)
            # h of this layer is x of the next
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=-1)
        self.last_state = self._joined(last)
        self.save(runs, x, mask, state is not None)
        return masked(self._output(x), mask)  # (N, T, *S, H)

    def _run(self, cell, direction, x, state, mask):
        """One cell over x (N, T, *S, D): what it keeps, h (N, T, *S, H), and the last state."""
        if mask is None and not self.step_by_step and cell.compiled(x):
            h, state, saved = cell.all_steps(x, state, direction == 1)
            return CompiledRun(x, saved), h, state
        x, mask = in_direction(direction, time_first(x), time_first(mask))
        h, state, steps = over_time(cell, x, state, mask)
        (y,) = in_direction(direction, masked(h[1:], mask))
        return Run(x, h[:-1], steps), time_first(y), state

    # ---- backward ------------------------------------------------------------------------

    def backward(self, dy, dstate=None, need_input_grad=True):
        runs, h, mask, state_given = self.take()
        N, T, *S, _ = h.shape
        if dy is None:
            dy = np.zeros((N, T, *S, self._output_size()), h.dtype)
        expect_gradient(self, dy, (N, T, *S, self._output_size()))
        dlast = self._states(h, dstate, "dstate")
        dx = self._output_backward(masked(dy, mask), h)
        dfirst = [None] * len(self.cells)
        for layer in reversed(range(self.num_layers)):
            dhs = np.split(dx, self.directions, axis=-1)  # x of the layer above was h of this one
            needed = layer > 0 or need_input_grad
            dxs = []
            for i, direction in self._cells_of(layer):
                cell, dh = self.cells[i], masked(dhs[direction], mask)
                if isinstance(runs[i], CompiledRun):
                    args = runs[i], dh, dlast[i], state_given, needed
                    dx_i, dfirst[i] = self._compiled_backward(cell, direction, *args)
                else:
                    args = runs[i], time_first(dh), dlast[i], time_first(mask), needed
                    dx_i, dfirst[i] = self._run_backward(cell, direction, *args)
                    dx_i = time_first(dx_i)
                dxs.append(dx_i)
            if not needed:
                return (None, self._joined(dfirst)) if state_given else None
            dx = dxs[0] if len(dxs) == 1 else dxs[0] + dxs[1]  # both directions have read x
            if layer and self.dropout is not None:
                dx = self.dropout.backward(dx)
        return (dx, self._joined(dfirst)) if state_given else dx

    def _run_backward(self, cell, direction, run, dh, dlast, mask, need_input_grad):
        """One cell: back through time, then the gradients of all weights, one product each."""
        dh, mask = in_direction(direction, dh, mask)
        cuts = self._cuts(len(dh), direction)
        dp, dq, dfirst = back_through_time(cell, dh, dlast, run.steps, mask, cuts)
        cell.add_recurrent_gradients(run.h_before, dq)
        (dx,) = in_direction(direction, cell.project_backward(run.x, dp, need_input_grad))
        return dx, dfirst

    def _compiled_backward(self, cell, direction, run, dh, dlast, state_given, need_input_grad):
        """The same where a kernel has done all steps at once."""
        T = dh.shape[1]
        cuts = np.zeros(T, bool)
        cuts[list(self._cuts(T, direction))] = True
        cuts[0] |= not state_given  # nobody asks for what would come out there
        args = run.x, dh, dlast, run.saved, cuts, direction == 1, need_input_grad
        return cell.all_steps_backward(*args)

    # ---- an output layer on top: RNN, LSTM and GRU may have one --------------------------------

    def _output(self, h):
        return h

    def _output_backward(self, dy, h):
        return dy

    def _output_size(self):
        return self.hidden_size * self.directions

    # ---- states, masks, shapes ----------------------------------------------------------------

    def _cells_of(self, layer):
        """(number of the cell, its direction) for the cells of one layer."""
        return [(layer * self.directions + d, d) for d in range(self.directions)]

    def _cuts(self, T, direction):
        """The steps, counted along the direction, that begin a block: no gradient leaves them."""
        starts = range(self.truncate, T, self.truncate) if self.truncate else ()
        return {T - t for t in starts} if direction else set(starts)

    def _states(self, x, state, name="state"):
        """A state as it was passed, as one for each cell, beside x (N, T, *S, …); None: zeros."""
        shape = (len(self.cells), len(x), *x.shape[2:-1], self.hidden_size)
        count = self.cells[0].states
        if state is None:
            return [(np.zeros(shape[1:], x.dtype),) * count] * len(self.cells)
        several = isinstance(state, tuple | list)
        arrays = state if several and count > 1 else (state,)
        if [np.shape(a) for a in arrays] != [shape] * count:
            expected = f"an array {shape}" if count == 1 else f"a pair (h, c), each {shape}"
            got = [np.shape(a) for a in state] if several else np.shape(state)
            raise ValueError(f"{self.describe()}: expected {name} to be {expected}, got {got}")
        return list(zip(*(np.asarray(a, x.dtype) for a in arrays), strict=True))

    def _joined(self, states):
        """The states of all cells as one: an array, or a pair."""
        arrays = tuple(np.stack(parts) for parts in zip(*states, strict=True))
        return arrays if len(arrays) > 1 else arrays[0]

    def _beside(self, x, mask):
        """The mask (N, T) as (N, T, 1, …), to stand beside x (N, T, *S, D)."""
        mask = np.asarray(mask)
        if mask.shape != x.shape[:2] or mask.dtype != bool:
            raise ValueError(
                f"{self.describe()}: expected a boolean mask (N, T) = {x.shape[:2]}, True where "
                f"valid, got {mask.dtype} {mask.shape}"
            )
        return mask.reshape(*mask.shape, *(1,) * (x.ndim - 2))

    def _check_input(self, x):
        """ValueError unless x has the axes, the features and at least one step."""
        raise NotImplementedError

    # ---- the article's letters, and showing ---------------------------------------------------

    @property
    def W(self):
        """W of the first cell: with one layer and one direction, of the only one."""
        return self.cells[0].W

    @property
    def U(self):
        """U of the first cell."""
        return self.cells[0].U

    @property
    def b(self):
        """b of the first cell."""
        return self.cells[0].b

    def _options(self):
        """The options that are not what they are by default, as they are written in a call."""
        if self.num_layers > 1:
            yield f"num_layers={self.num_layers}"
        if self.directions > 1:
            yield "bidirectional=True"
        if self.dropout is not None:
            yield f"dropout={self.dropout.p}"
        if self.truncate is not None:
            yield f"truncate={self.truncate}"

    def describe(self):
        sizes = f"{self.input_size}, {self.hidden_size}"
        return f"{type(self).__name__}({', '.join([sizes, *self._options()])})"
