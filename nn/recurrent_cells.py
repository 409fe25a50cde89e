"""The steps of RNN, LSTM and GRU, and the weights they use. The loop over time: `through_time.py`.

A cell is one layer in one direction. What it does falls into three parts:

    p = x @ U + b                for all steps at once: x is known beforehand
    q_t = h_{t−1} @ W            step by step: each h needs the one before it
    h_t = step(p_t, q_t, …)      element by element: the equations of the cell

Letters are the article's: U input→hidden, W hidden→hidden, b. Cells with several gates keep their
weights side by side, so that one product serves all gates: U (D, G·H), W (H, G·H), b (G·H,),
gate after gate along the last axis, in PyTorch's order.

A state is a tuple whose first array is h: (h,) for RNN and GRU, (h, c) for LSTM. Every `step`
returns the new state and what its `step_backward` will need, which is unpacked on its first line.
"""

import numpy as np

from nn import initializers, kernels
from nn.activation import sigmoid
from nn.module import Module, Parameter


class Cell(Module):
    """The weights of one layer in one direction, and their products. Kinds of cells add a step.

    x (T, N, D), time first: p[t] then lies in one piece. D input and H hidden features.
    """

    gates = 1  # G
    states = 1  # arrays in a state
    splits = False  # have p and q, which are added elsewhere, different gradients?

    def __init__(self, input_size, hidden_size, rng):
        D, H, G = input_size, hidden_size, self.gates
        self.U = Parameter(side_by_side(G, lambda: initializers.xavier_uniform((D, H), D, H, rng)))
        self.W = Parameter(side_by_side(G, lambda: initializers.orthogonal((H, H), rng)))
        self.b = Parameter(initializers.zeros(G * H))

    # ---- products: all steps at once, and one step --------------------------------------------

    def project(self, x):
        """p = x @ U + b, for all steps in one product."""
        p = kernels.dense_forward(rows(x), self.U.data)
        p += self.b.data
        return p.reshape(*x.shape[:-1], -1)  # (T, N, G·H)

    def project_backward(self, x, dp, need_input_grad):
        """dU = Σ_t x_tᵀ @ dp_t, one product over all steps; db = Σ dp; returns dx = dp @ Uᵀ."""
        if self.U.trainable:
            self.U.add_grad(kernels.dense_backward_weight(rows(dp), rows(x)))  # (D, G·H)
        if self.b.trainable:
            self.b.add_grad(rows(dp).sum(axis=0))
        if need_input_grad:
            return kernels.dense_backward_input(rows(dp), self.U.data).reshape(x.shape)

    def recurrence(self, T):
        """The function h ↦ q = h @ W, for one step, (N, H) → (N, G·H), made ready for T calls."""
        return kernels.repeated_product(self.W.data, T)

    def recurrence_backward(self, T):
        """The function dq ↦ dh = dq @ Wᵀ, for one step, made ready for T calls."""
        return kernels.repeated_product(self.W.data.T, T)

    def add_recurrent_gradients(self, h_before, dq):
        """dW = Σ_t h_{t−1}ᵀ @ dq_t, one product over all steps."""
        if self.W.trainable:
            self.W.add_grad(kernels.dense_backward_weight(rows(dq), rows(h_before)))  # (H, G·H)

    # ---- all steps in one kernel, for the kinds that have one -----------------------------------

    def compiled(self, x):
        """The kernels for all steps of this kind of cell over x (N, T, D), see `all_steps` in
        `nn/kernels`, or None."""
        kind = COMPILED.get(type(self)) if x.dtype == self.U.data.dtype else None
        return kernels.all_steps(kind, x.dtype, len(x) * x.shape[1])

    def all_steps(self, x, state, backwards):
        """y (N, T, H), the last state, and what backward needs, from x (N, T, D): clips first."""
        kind, (forward, *for_backward) = COMPILED[type(self)], self.compiled(x)
        weights = self.U.data, self.b.data, self.W.data, self.b_h.data if self.splits else None
        y, last, kept = forward(kind, x, *weights, np.stack(state), backwards)
        return y, tuple(last), (*for_backward, kept)

    def all_steps_backward(self, x, dy, dstate, saved, cuts, backwards, need_input_grad):
        """dx and the gradient of the first state. Adds those of all weights."""
        kind, (backward, gradients, kept) = COMPILED[type(self)], saved
        dfirst = backward(kind, dy, self.W.data, np.stack(dstate), kept, cuts, backwards)
        asked = need_input_grad, self.U.trainable, self.W.trainable
        dx, *grads = gradients(kind, x, self.U.data, kept, *asked)
        parameters = [self.U, self.W, self.b, *([self.b_h] if self.splits else [])]
        for parameter, grad in zip(parameters, grads, strict=False):
            if parameter.trainable:
                parameter.add_grad(grad)
        return dx, tuple(dfirst)

    # ---- the step: what each kind of cell is -------------------------------------------------

    def step(self, p, q, state):
        """(new state, what backward needs) from p_t, q_t (N, G·H) and the state before.

        Both are this step's own: what is computed may be written into them.
        """
        raise NotImplementedError

    def step_backward(self, dstate, saved, dp, dq):
        """Write the gradients of p_t and q_t into dp and dq, which are one array unless
        `splits`; return that of the state before, without what went through q."""
        raise NotImplementedError


class RNNCell(Cell):
    """h_t = f(W h_{t−1} + U x_t + b), f one of tanh, relu, sigmoid (article §3.2.1)."""

    def __init__(self, input_size, hidden_size, rng, activation="tanh"):
        super().__init__(input_size, hidden_size, rng)
        self.f, self.slope = ACTIVATIONS[activation]

    def step(self, p, q, state):
        h = self.f(p + q)
        return (h,), h

    def step_backward(self, dstate, h, dp, dq):
        (dh,) = dstate
        np.multiply(dh, self.slope(h), out=dp)
        return (0,)  # all that went on from the h before went through q


class LSTMCell(Cell):
    """Gates i, f, o and a candidate g decide what is kept in a second state, c.

        i, f, o = σ(…)   g = tanh(…)        each of its own rows of W h_{t−1} + U x_t + b
        c_t = f ∘ c_{t−1} + i ∘ g
        h_t = o ∘ tanh(c_t)

    Backward: h_t and the next step both use c_t, so its gradient has two parts.
    """

    gates, states = 4, 2

    def __init__(self, input_size, hidden_size, rng):
        super().__init__(input_size, hidden_size, rng)
        keep_at_first(self.b, hidden_size)

    def step(self, p, q, state):
        _, c_before = state
        p += q
        i, f, g, o = parts(p, 4)
        bent = np.tanh(g)
        logistic(p)  # one pass over all four,
        g[...] = bent  # and then the third is put right
        c = f * c_before
        c += i * g
        tanh_c = np.tanh(c)
        return (o * tanh_c, c), (p, c_before, tanh_c)

    def step_backward(self, dstate, saved, dp, dq):
        dh, dc = dstate
        gates, c_before, tanh_c = saved
        i, f, g, o = parts(gates, 4)
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        np.multiply(gates, 1 - gates, out=dp)  # the slope of σ; that of tanh is 1 − g²
        di, df, dg, do = parts(dp, 4)
        di *= dc * g
        df *= dc * c_before
        np.multiply(dc * i, 1 - g * g, out=dg)
        do *= dh * tanh_c
        return 0, dc * f


class GRUCell(Cell):
    """A gate z mixes the h before with a candidate n; a gate r says how much n sees of it.

        r, z = σ(U x_t + b + W h_{t−1} + b_h)     each of its own rows
        n = tanh(U x_t + b + r ∘ (W h_{t−1} + b_h))
        h_t = (1 − z) ∘ n + z ∘ h_{t−1}

    As r stands outside of the recurrent product, its bias b_h is not the same as b: n has both.
    """

    gates = 3
    splits = True

    def __init__(self, input_size, hidden_size, rng):
        super().__init__(input_size, hidden_size, rng)
        self.b_h = Parameter(initializers.zeros(3 * hidden_size))
        keep_at_first(self.b, hidden_size)

    def recurrence(self, T):
        """The function h ↦ q = h @ W + b_h."""
        product = super().recurrence(T)
        return lambda h: product(h) + self.b_h.data

    def add_recurrent_gradients(self, h_before, dq):
        """dW = Σ_t h_{t−1}ᵀ @ dq_t, and db_h = Σ dq."""
        super().add_recurrent_gradients(h_before, dq)
        if self.b_h.trainable:
            self.b_h.add_grad(rows(dq).sum(axis=0))

    def step(self, p, q, state):
        (h_before,) = state
        r, z, n = parts(p, 3)
        q_r, q_z, q_n = parts(q, 3)
        p[..., : -n.shape[-1]] += q[..., : -n.shape[-1]]
        logistic(p[..., : -n.shape[-1]])  # r and z
        n += r * q_n
        np.tanh(n, out=n)
        h = n + z * (h_before - n)
        return (h,), (r, z, n, q_n, h_before)

    def step_backward(self, dstate, saved, dp, dq):
        (dh,) = dstate
        r, z, n, q_n, h_before = saved
        dr, dz, dn = parts(dp, 3)
        np.multiply(dh * (1 - z), 1 - n * n, out=dn)
        np.multiply(dh * (h_before - n), z * (1 - z), out=dz)
        np.multiply(dn * q_n, r * (1 - r), out=dr)
        dq[...] = dp
        parts(dq, 3)[2][...] *= r  # the candidate saw its q through r
        return (dh * z,)


# Cells whose steps a kernel does all at once. (By their type: who inherits may have other steps.)
COMPILED = {LSTMCell: "lstm", GRUCell: "gru"}

# f, and its slope written in terms of h = f(a)
ACTIVATIONS = {
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "relu": (lambda a: np.maximum(a, 0), lambda h: h > 0),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
}


def logistic(a):
    """a ← σ(a) = (1 + tanh(a/2)) / 2: the same as `sigmoid`, in one pass and without a sign.

    For a gate the absolute error counts, which is as small in this form.
    """
    a *= 0.5
    np.tanh(a, out=a)
    a += 1
    a *= 0.5


def keep_at_first(b, H):
    """Biases of the second gate at 1: LSTM's f, GRU's z, the gates that keep what was there.

    At 0 half of the state is lost at each step until the gate has learned otherwise, and nothing
    that happened long ago is left to learn it from (Gers et al. 2000; Jozefowicz et al. 2015).
    """
    b.data[H : 2 * H] = 1


def side_by_side(gates, draw):
    """The weights of all gates, each drawn by itself, next to each other on the last axis."""
    return np.concatenate([draw() for _ in range(gates)], axis=-1)


def parts(a, gates):
    """The gates in `a` (..., G·H) as G views (..., H): writing into one writes into `a`."""
    H = a.shape[-1] // gates
    return [a[..., k * H : (k + 1) * H] for k in range(gates)]


def rows(a):
    """All steps and examples below each other: (T, N, D) → (T·N, D)."""
    return a.reshape(-1, a.shape[-1])
