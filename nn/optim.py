"""Optimisers and schedules: how gradients change weights. The arithmetic is PyTorch's.

An optimiser changes `parameter.data` in place for every parameter that is trainable and has
got a gradient since the last `zero_grad()`. A schedule sets `optimizer.lr` step by step.
"""

import math

import numpy as np

BLOCK = 1 << 15  # numbers: a few such arrays stay in a core's cache together


def in_blocks(*arrays):
    """Arrays of one shape, cut into flat blocks: yields the same stretch of each, as views.

    An update is a dozen passes over each array. Done block by block, all but the first find the
    numbers in the cache, which makes it several times faster for layers of millions of weights.
    """
    if not all(array.flags.c_contiguous for array in arrays):
        yield arrays  # a flat view of these would be a copy
        return
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, BLOCK):
        yield [array[start : start + BLOCK] for array in flat]


class Optimizer:
    """What all optimisers share: the parameters, the rate, and their memory per parameter.

    A subclass says in `slots` which arrays it remembers for each parameter and writes
    `update(parameter, memory)`; `memory` is a dict of these arrays, empty at first.
    """

    slots = ()

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: no parameters to optimise")
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: the learning rate is {lr}, expected >= 0")
        self.lr = lr
        self.steps = 0
        self.memory = [{} for _ in self.parameters]

    def step(self):
        """Change every trainable parameter by its gradient."""
        self.steps += 1
        for parameter, memory in zip(self.parameters, self.memory, strict=True):
            if parameter.trainable and parameter.has_grad:
                self.update(parameter, memory)

    def update(self, parameter, memory):
        raise NotImplementedError

    def zero_grad(self):
        """Clear the gradients."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self):
        """{"lr": …, "steps": …, "3.velocity": array, …}: copies; numbers as 0-d arrays."""
        state = {"lr": np.float64(self.lr), "steps": np.int64(self.steps)}
        for i, memory in enumerate(self.memory):
            state.update({f"{i}.{name}": np.copy(array) for name, array in memory.items()})
        return state

    def load_state_dict(self, state):
        """Go on where another optimiser of the same kind and parameters stopped."""
        memory = [{} for _ in self.parameters]
        for key, array in state.items():
            if key in ("lr", "steps"):
                continue
            index, _, name = key.partition(".")
            known = index.isdigit() and int(index) < len(memory) and name in self.slots
            if not known or np.shape(array) not in ((), self.parameters[int(index)].shape):
                raise ValueError(
                    f"{type(self).__name__}: the saved state {key} {np.shape(array)} does not "
                    f"fit these {len(memory)} parameters"
                )
            memory[int(index)][name] = np.array(array)
        self.lr, self.steps, self.memory = float(state["lr"]), int(state["steps"]), memory


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum v:

    g ← g + weight_decay · θ
    v ← momentum · v + g            (v = g at the first step)
    θ ← θ − lr · v                  with nesterov: θ ← θ − lr · (g + momentum · v)
    """

    slots = ("velocity",)

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr)
        if nesterov and not momentum > 0:
            raise ValueError("SGD: nesterov needs a momentum above 0")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov

    def update(self, parameter, memory):
        first = "velocity" not in memory
        if self.momentum and first:
            memory["velocity"] = np.zeros_like(parameter.data)
        velocity = memory.get("velocity", parameter.data)  # without momentum it is not looked at
        for theta, g, v in in_blocks(parameter.data, parameter.grad, velocity):
            if self.weight_decay:
                g = g + self.weight_decay * theta
            if self.momentum:
                if not first:
                    v *= self.momentum
                v += g
                g = g + self.momentum * v if self.nesterov else v
            theta -= self.lr * g


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101):

    θ ← θ − lr · weight_decay · θ
    m ← β₁ m + (1 − β₁) g           mean of gradients
    v ← β₂ v + (1 − β₂) g²          mean of squares
    m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)     as both start from zero
    θ ← θ − lr · m̂ / (√v̂ + ε)
    """

    slots = ("mean", "square", "steps")

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, parameter, memory):
        theta = parameter.data
        if not memory:
            memory.update(mean=np.zeros_like(theta), square=np.zeros_like(theta), steps=np.array(0))
        memory["steps"] += 1
        t, (beta1, beta2) = int(memory["steps"]), self.betas
        arrays = theta, parameter.grad, memory["mean"], memory["square"]
        for theta, g, m, v in in_blocks(*arrays):
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * g * g
            theta *= 1 - self.lr * self.weight_decay
            denominator = np.sqrt(v)
            denominator /= math.sqrt(1 - beta2**t)
            denominator += self.eps
            theta -= (self.lr / (1 - beta1**t)) * m / denominator


def clip_grad_norm(parameters, max_norm):
    """Shorten the gradient of all parameters together, if longer than `max_norm` → its length.

        n = √(Σ over parameters and elements of g²),   g ← g · min(1, max_norm / (n + 10⁻⁶))

    The direction stays (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063). Returns n, the
    length before, as a float.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm must be above 0, got {max_norm}")
    grads = [parameter.grad for parameter in parameters if parameter.has_grad]
    norm = math.sqrt(sum(float(np.linalg.norm(g)) ** 2 for g in grads))
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for g in grads:
            g *= scale
    return norm


class OneCycleLR:
    """Up to `max_lr` and down again, each along half a cosine (Smith 2018, arXiv:1803.09820).

    The rate starts at max_lr / start_div, reaches max_lr after the share `warmup` of all
    steps, and ends at max_lr / end_div. Counted in steps: call `step()` after each optimiser
    step. `momentum` is left alone.
    """

    def __init__(self, optimizer, max_lr, total_steps, warmup=0.3, start_div=25.0, end_div=1e4):
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps must be at least 1, got {total_steps}")
        self.optimizer, self.max_lr, self.total_steps = optimizer, max_lr, total_steps
        self.warmup, self.start_div, self.end_div = warmup, start_div, end_div
        self.steps = 0
        optimizer.lr = self.rate(0)

    def rate(self, step):
        """The learning rate of the given step, 0 for the first."""
        rise = self.warmup * self.total_steps
        low, end = self.max_lr / self.start_div, self.max_lr / self.end_div
        if step < rise:
            return _cosine(low, self.max_lr, step / rise)
        fall = max(1.0, self.total_steps - 1 - rise)
        return _cosine(self.max_lr, end, min(1.0, (step - rise) / fall))

    def step(self):
        """Set the rate for the next step."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def state_dict(self):
        return {"steps": np.int64(self.steps)}

    def load_state_dict(self, state):
        self.steps = int(state["steps"])
        self.optimizer.lr = self.rate(self.steps)


def _cosine(start, end, share):
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
