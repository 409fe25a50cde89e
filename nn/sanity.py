"""The debugging ladder: three cheap checks before a long training.

1. The loss at the start. A classifier that knows nothing gives each of K classes 1/K, so its
   cross-entropy is log K. Much more means first weights that are too large; not even that
   hints at labels or a loss that do not fit.
2. The gradients. Along a random direction v of each parameter θ, in float64,
   (L(θ + εv) − L(θ − εv)) / 2ε must be ⟨dL/dθ, v⟩.
3. One small batch learned by heart. A network that cannot even do that has a gradient that
   leads nowhere, labels that do not belong to the inputs, or too few weights.

All of it happens on copies: the model, its random generators and the optimiser stay as they are.
"""

import copy
import math
from dataclasses import dataclass, field

import numpy as np

from nn.checkpoint import random_states, set_random_states
from nn.dropout import Dropout
from nn.losses import CrossEntropyLoss
from nn.module import backward_to_parameters, inference
from nn.optim import AdamW

SAMPLES = 8  # examples used for rungs 2 and 3
EPSILONS = (1e-5, 1e-7)  # times the size of the parameter
TOLERANCE = 1e-4  # for the relative error of a directional derivative
LEARNED = 0.2  # the share of the first loss that rung 3 must come down to
RATES = (1e-3, 1e-2)  # learning rates tried there: large networks need small ones


@dataclass
class SanityReport:
    """What the ladder found: `rungs` is a list of (name, passed, details), in order."""

    rungs: list = field(default_factory=list)

    @property
    def passed(self):
        return all(passed for _, passed, _ in self.rungs)

    def __str__(self):
        return "\n".join(_line(*rung) for rung in self.rungs)


def sanity_check(model, loss, inputs, labels, steps=100, seed=0):
    """Climb the ladder with one batch, print each rung, return a `SanityReport`.

    inputs: a list of arrays with a first axis N; labels: what `loss` takes. steps: the most
    that rung 3 may take.
    """
    few = [x[:SAMPLES] for x in inputs], labels[:SAMPLES]
    rungs = (
        ("loss at the start", lambda: _first_loss(model, loss, inputs, labels)),
        ("gradients", lambda: _gradients(model, loss, *few, seed)),
        ("one batch learned", lambda: _overfit(model, loss, *few, steps)),
    )
    report = SanityReport()
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows fails anyway
        for name, climb in rungs:
            report.rungs.append((name, *climb()))
            print(_line(*report.rungs[-1]))
    return report


def _line(name, passed, details):
    return f"{'ok    ' if passed else 'FAILED'}  {name}: {details}"


def _first_loss(model, loss, inputs, labels):
    model = copy.deepcopy(model).eval()
    with inference():
        outputs = model(*inputs)
        value = loss(outputs, labels)
    K = outputs.shape[-1]
    if not isinstance(loss, CrossEntropyLoss) or K < 2:
        return math.isfinite(value), f"{value:.4g}"
    expected = math.log(K)
    low, high = 0.5 * expected, 1.5 * expected
    details = f"{value:.3f}, log {K} = {expected:.3f}"
    if low < value < high:
        return True, details
    details += f", expected {low:.3f} to {high:.3f}"
    if value <= low:
        return False, f"{details}: is the model trained already, or does it see the labels?"
    return False, f"{details}: scale the inputs to about −1..1, or start with smaller weights"


def _gradients(model, loss, inputs, labels, seed):
    model, loss = copy.deepcopy(model).astype(np.float64).train(), copy.deepcopy(loss)
    inputs = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in inputs]
    generators, rng = random_states(model), np.random.default_rng(seed)
    # Off the kinks: with biases of zero, a black pixel puts every ReLU exactly at its corner.
    for parameter in model.parameters():
        spread = float(parameter.data.std()) or 1.0
        parameter.data += 0.01 * spread * rng.standard_normal(parameter.shape)

    def value():
        set_random_states(model, generators)  # dropout draws the same mask every time
        return loss(model(*inputs), labels)

    model.zero_grad()
    value()
    backward_to_parameters(model, loss.backward())
    worst, worst_name = 0.0, "none"
    with inference():
        for name, parameter in model.named_parameters():
            if not parameter.trainable:
                continue
            error = _directional_error(value, parameter, rng)
            if not error <= worst:
                worst, worst_name = error, name
    return worst <= TOLERANCE, f"largest relative error {worst:.1e}, in {worst_name}"


def _directional_error(value, parameter, rng):
    """|a − n| / (|a| + |n|) with a = ⟨dL/dθ, v⟩ and n its central difference, v random.

    A long step may push some unit of a large network over its kink, a short one drowns in
    rounding, and a wrong gradient is wrong with both: the better of the two counts.
    """
    theta = parameter.data.copy()
    v = rng.standard_normal(theta.shape)
    v *= 1 / np.linalg.norm(v)
    analytic = float((parameter.grad * v).sum())
    # A direction nearly across the gradient makes both numbers small, but not their errors.
    typical = np.linalg.norm(parameter.grad) / math.sqrt(theta.size)
    error = math.inf
    for epsilon in EPSILONS:
        eps = epsilon * max(1.0, np.linalg.norm(theta))
        parameter.data[...] = theta + eps * v
        above = value()
        parameter.data[...] = theta - eps * v
        below = value()
        parameter.data[...] = theta
        numeric = (above - below) / (2 * eps)
        rounding = 1e-14 * (abs(above) + abs(below)) / eps
        if abs(analytic) + abs(numeric) < rounding:
            return 0.0
        difference = abs(analytic - numeric)
        error = min(error, difference / max(abs(analytic) + abs(numeric), typical))
        if error <= TOLERANCE:
            break
    return error


def _overfit(model, loss, inputs, labels, steps):
    for rate in RATES:
        learner, criterion = copy.deepcopy(model).train(), copy.deepcopy(loss)
        for _, module in learner.named_modules():
            if isinstance(module, Dropout):
                module.eval()  # what is to be learned by heart must not be hidden
        optimizer = AdamW(learner.parameters(), lr=rate, weight_decay=0.0)
        first = value = criterion(learner(*inputs), labels)
        taken = 0
        while value > LEARNED * first and taken < steps:
            learner.zero_grad()
            backward_to_parameters(learner, criterion.backward())
            optimizer.step()
            taken += 1
            value = criterion(learner(*inputs), labels)
        if value <= LEARNED * first:
            break
    details = f"{len(labels)} examples, loss {first:.3f} → {value:.3f} in {taken} steps"
    return value <= LEARNED * first, details
