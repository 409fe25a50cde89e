"""RNN, LSTM and GRU on sequences of vectors. Article §3.2.1.

Read `recurrent_cells.py` (the steps), then `through_time.py` (the loop), then `recurrent_stack.py`
(layers, directions, states and masks). Here the three get their names and their output layer.
"""

import numpy as np

from nn import initializers
from nn.arguments import whole_number
from nn.module import Parameter
from nn.recurrent_cells import ACTIVATIONS, GRUCell, LSTMCell, RNNCell, rows
from nn.recurrent_stack import _Recurrent


class _OnVectors(_Recurrent):
    """What the three share beyond `_Recurrent`: features without places, and an output layer."""

    V = c = None  # parameters, where there is an output size

    def _make(self, cell, input_size, hidden_size, output_size, rng, **options):
        """The cells, and V and c of the article's y_t = V h_t + c if there is an output size."""
        H = whole_number(self, "hidden_size", hidden_size)
        self._settle(lambda D: cell(D, H, rng), input_size, H, rng=rng, **options)
        if output_size is not None:
            D, K = H * self.directions, whole_number(self, "output_size", output_size)
            self.V = Parameter(initializers.xavier_uniform((D, K), D, K, rng))
            self.c = Parameter(initializers.zeros(K))

    def _output_size(self):
        return super()._output_size() if self.V is None else len(self.c.data)

    def _output(self, h):
        """y_t = V h_t + c, for all steps in one product."""
        if self.V is None:
            return h
        return (rows(h) @ self.V.data + self.c.data).reshape(*h.shape[:-1], -1)

    def _output_backward(self, dy, h):
        """dV = Σ_t h_tᵀ @ dy_t, dc = Σ_t dy_t, dh = dy @ Vᵀ."""
        if self.V is None:
            return dy
        if self.V.trainable:
            self.V.add_grad(rows(h).T @ rows(dy))
        if self.c.trainable:
            self.c.add_grad(rows(dy).sum(axis=0))
        return (rows(dy) @ self.V.data.T).reshape(h.shape)

    def _check_input(self, x):
        if x.ndim != 3 or x.shape[-1] != self.input_size or not x.shape[1]:
            raise ValueError(
                f"{self.describe()}: expected an input (N, T, D) with D = {self.input_size} "
                f"features and at least one step, got {x.shape}"
            )

    def _options(self):
        if self.V is not None:
            yield f"output_size={len(self.c.data)}"
        yield from super()._options()


class RNN(_OnVectors):
    """h_t = f(W h_{t−1} + U x_t + b), and with `output_size` y_t = V h_t + c (article §3.2.1).

    x (N, T, D) → y (N, T, H): the h of all steps, or V h + c (N, T, output_size). W (H, H),
    U (D, H) and V (H, output_size) are multiplied from the right, as all weights here.
    `activation` is f: "tanh", "relu" or "sigmoid".

    Backward, with a_t = W h_{t−1} + U x_t + b, from the last step to the first:

        dh_t = Vᵀ dy_t + Wᵀ da_{t+1}          its own output, and all that comes later
        da_t = dh_t · f'(a_t)
        dx_t = Uᵀ da_t
        dW = Σ_t da_t h_{t−1}ᵀ    dU = Σ_t da_t x_tᵀ    db = Σ_t da_t

    Several layers (x of the next is h of the one below), `bidirectional`, `dropout` between
    layers, `truncate`, and `state` and `mask` of forward: see `_Recurrent`, where also the errors
    stand. `last_state` is (layers · directions, N, H).

    W starts as a random rotation, which neither stretches nor shrinks a state that goes round
    and round; PyTorch's uniform(−1/√H, 1/√H) shrinks it by √⅓ at each step.
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        output_size=None,
        activation="tanh",
        num_layers=1,
        bidirectional=False,
        dropout=0.0,
        truncate=None,
        rng=None,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(f"RNN: activation is one of {list(ACTIVATIONS)}, got {activation!r}")
        self.activation = activation

        def cell(D, H, rng):
            return RNNCell(D, H, rng, activation)

        self._make(
            cell,
            input_size,
            hidden_size,
            output_size,
            np.random.default_rng(rng),
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            truncate=truncate,
        )

    def _options(self):
        yield from super()._options()
        if self.activation != "tanh":
            yield f"activation={self.activation!r}"


class LSTM(_OnVectors):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate by Gers et al. 2000).

        i, f, o = σ(W h_{t−1} + U x_t + b)    g = tanh(W h_{t−1} + U x_t + b)    own rows for each
        c_t = f ∘ c_{t−1} + i ∘ g
        h_t = o ∘ tanh(c_t)

    x (N, T, D) → y (N, T, H), or (N, T, output_size) with `output_size`: y_t = V h_t + c.
    U (D, 4H), W (H, 4H) and b (4H,) hold i, f, g, o side by side. A state is a pair (h, c), each
    (layers · directions, N, H), and so are `last_state`, `dstate` and the gradient of the state.

    Backward: c_t is reached through h_t and through c_{t+1} = f_{t+1} ∘ c_t + …, so

        dc_t = dh_t ∘ o_t ∘ (1 − tanh²(c_t)) + dc_{t+1} ∘ f_{t+1}

    without a matrix on the way from c to c: where f is near 1, gradients live long. All of it is
    in `recurrent_cells.py`; layers, directions, masks, `truncate` and errors in `_Recurrent`.
    Biases start at 0, those of the forget gate at 1.
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        output_size=None,
        num_layers=1,
        bidirectional=False,
        dropout=0.0,
        truncate=None,
        rng=None,
    ):
        self._make(
            LSTMCell,
            input_size,
            hidden_size,
            output_size,
            np.random.default_rng(rng),
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            truncate=truncate,
        )


class GRU(_OnVectors):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in PyTorch's form.

        r, z = σ(U x_t + b + W h_{t−1} + b_h)             own rows for each
        n    = tanh(U x_t + b + r ∘ (W h_{t−1} + b_h))
        h_t  = (1 − z) ∘ n + z ∘ h_{t−1}

    x (N, T, D) → y (N, T, H), or (N, T, output_size) with `output_size`: y_t = V h_t + c.
    U (D, 3H), W (H, 3H), b and b_h (3H,) hold r, z, n side by side. r acts after the product
    with W (in the paper before it), so that all gates are one product; that is why the
    candidate needs a bias of its own inside. Biases start at 0, those of z, the share that is
    kept, at 1 in b.

    Layers, directions, states, masks, `truncate` and errors: see `_Recurrent`.
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        output_size=None,
        num_layers=1,
        bidirectional=False,
        dropout=0.0,
        truncate=None,
        rng=None,
    ):
        self._make(
            GRUCell,
            input_size,
            hidden_size,
            output_size,
            np.random.default_rng(rng),
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            truncate=truncate,
        )
