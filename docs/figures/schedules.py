"""The learning rate over 100 steps, as each schedule sets it."""

import numpy as np
from _figure import BLUE, GREEN, ORANGE, plt, save

import nn

STEPS = 100


def rates(make_schedule):
    optimizer = nn.optim.SGD([nn.Parameter(np.zeros(1))], lr=0.1)
    schedule = make_schedule(optimizer)
    return [schedule.rate(step) for step in range(STEPS)]


figure, panels = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained", sharey=True)
for axes, (name, color, plain, warm) in zip(
    panels,
    (
        (
            "StepLR(step_size=30, gamma=0.3)",
            BLUE,
            lambda o: nn.optim.StepLR(o, 30, gamma=0.3),
            lambda o: nn.optim.StepLR(o, 30, gamma=0.3, warmup=10),
        ),
        (
            "CosineLR(total_steps=100)",
            ORANGE,
            lambda o: nn.optim.CosineLR(o, STEPS),
            lambda o: nn.optim.CosineLR(o, STEPS, warmup=10),
        ),
        (
            "OneCycleLR(max_lr=0.1, total_steps=100)",
            GREEN,
            lambda o: nn.optim.OneCycleLR(o, 0.1, STEPS),
            None,
        ),
    ),
    strict=True,
):
    axes.plot(rates(plain), color=color, label=None if warm is None else "warmup=0")
    if warm is not None:
        axes.plot(rates(warm), "--", color=color, label="warmup=10")
        axes.legend()
    axes.set(title=name, xlabel="step", ylim=(0, 0.105))
panels[0].set(ylabel="learning rate")
save(figure, __file__)
