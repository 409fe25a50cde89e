"""Left: how far finite differences err, by step. Right: right backwards and planted bugs apart."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, RED, plt, save

import nn
from nn.gradcheck.bugs import BUGS, plant
from nn.gradcheck.cases import CASES


def errors_by_step(steps, dtype, central):
    """Relative error of the difference quotient of Σ tanh(x) · dy against backward."""
    rng = np.random.default_rng(0)
    x, dy, v = (rng.standard_normal((20, 30)) for _ in range(3))
    layer = nn.Tanh()
    layer(x)
    right = np.sum(layer.backward(dy) * v)
    x, dy, v = (array.astype(dtype) for array in (x, dy, v))
    with nn.inference():
        ahead = [np.sum(layer(x + dtype(h) * v) * dy) for h in steps]
        behind = [np.sum(layer(x - dtype(h) * v if central else x) * dy) for h in steps]
    width = steps * (2 if central else 1)
    return np.abs((np.array(ahead, float) - np.array(behind, float)) / width / right - 1)


def largest_errors(module, inputs):
    return nn.check_gradients(module, *inputs, elements=20).max_relative_error


def right_and_wrong():
    """The largest relative error of every right case, and of each planted bug where it shows."""
    with nn.kernels.using("reference"):
        right = [largest_errors(*case.build()) for cases in CASES.values() for case in cases]
        wrong = []
        for bug in BUGS:
            for layer in bug.layers:
                builds = [case.build() for case in CASES[layer]]
                errors = [largest_errors(plant(bug, module), x) for module, x in builds]
                errors = [e for e in errors if np.isfinite(e)]
                wrong.append(max(errors, default=0.0))
    return np.array(right), np.array(wrong)


figure, (left, side) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")

steps = np.logspace(-14, 0, 85)
for label, dtype, central, color in (
    ("central, float64", np.float64, True, BLUE),
    ("one-sided, float64", np.float64, False, GREEN),
    ("central, float32", np.float32, True, ORANGE),
):
    left.loglog(steps, errors_by_step(steps, dtype, central) + 1e-18, color=color, label=label)
left.axhline(1e-2, color=RED, ls="--", label="a gradient that is 1 % off")
left.set(xlabel="step h", ylabel="relative error", ylim=(1e-13, 10))
left.legend(loc="lower left", fontsize=7.5)
left.set_title("Rounding to the left, truncation to the right")

right, wrong = right_and_wrong()
shown = wrong[wrong > 1e-6]
bins = np.logspace(-13, 0.2, 45)
side.hist(right, bins, color=BLUE, label=f"{len(right)} cases, right backward")
side.hist(shown, bins, color=RED, label=f"{len(shown)} planted bugs, wrong numbers")
side.axvline(1e-6, color=GRAY, ls=":", label="tolerance")
side.set(xscale="log", xlabel="largest relative error", ylabel="how many")
side.legend(loc="upper left", bbox_to_anchor=(0.12, 1), fontsize=7.5)
side.set_title(f"{len(wrong) - len(shown)} more bugs break a promise or give NaN")
save(figure, __file__)
