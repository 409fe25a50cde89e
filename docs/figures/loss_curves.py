"""What losses of one number look like against the error, and the gradient each sends back."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, plt, save

import nn


def curve(criterion, outputs, target):
    """Loss and gradient for each of the outputs by itself, two arrays of their length."""
    losses, slopes = [], []
    for x in outputs:
        losses.append(criterion(np.array([x]), np.array([target])))
        slopes.append(criterion.backward()[0])
    return np.array(losses), np.array(slopes)


figure, ((value, yes_no), (slope, yes_no_slope)) = plt.subplots(
    2, 2, figsize=(9, 5), layout="constrained", sharex="col", height_ratios=[1.2, 1]
)
errors = np.linspace(-4, 4, 201)
for name, color, criterion in (
    ("MSELoss", BLUE, nn.MSELoss()),
    ("L1Loss", ORANGE, nn.L1Loss()),
    ("HuberLoss(δ = 1)", GREEN, nn.HuberLoss(1.0)),
):
    losses, slopes = curve(criterion, errors, 0.0)
    value.plot(errors, losses, color=color, label=name)
    slope.plot(errors, slopes, color=color)
value.set(ylabel="loss", ylim=(0, 6), title="one output against its target")
value.legend()
slope.set(xlabel="error x − t", ylabel="gradient", ylim=(-4, 4))

logits = np.linspace(-6, 6, 201)
for name, color, target, criterion in (
    ("t = 1", BLUE, 1.0, nn.BCEWithLogitsLoss()),
    ("t = 1, pos_weight 3", PURPLE, 1.0, nn.BCEWithLogitsLoss(pos_weight=3.0)),
    ("t = 0", RED, 0.0, nn.BCEWithLogitsLoss()),
    ("t = 1/2", GRAY, 0.5, nn.BCEWithLogitsLoss()),
):
    losses, slopes = curve(criterion, logits, target)
    yes_no.plot(logits, losses, color=color, label=name)
    yes_no_slope.plot(logits, slopes, color=color)
yes_no.set(ylabel="loss", ylim=(0, 8), title="BCEWithLogitsLoss")
yes_no.legend()
yes_no_slope.set(xlabel="logit z", ylabel="gradient")
for axes in (slope, yes_no_slope):
    axes.axhline(0, color=GRAY, lw=0.6)
save(figure, __file__)
