"""Three optimisers on their way down one valley, and the learning rate of one cycle."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, plt, save

import nn

CURVATURE = np.array([1.0, 30.0])
START = np.array([-1.6, 0.5])
STEPS = 40


def path(make_optimizer):
    """Where the two weights stand after each step, (STEPS + 1, 2)."""
    theta = nn.Parameter(START.copy())
    optimizer = make_optimizer([theta])
    places = [theta.data.copy()]
    for _ in range(STEPS):
        theta.grad = CURVATURE * theta.data
        optimizer.step()
        places.append(theta.data.copy())
    return np.array(places)


figure, (valley, rates) = plt.subplots(
    1, 2, figsize=(9, 3.1), layout="constrained", width_ratios=[1.7, 1]
)
a, b = np.meshgrid(np.linspace(-1.8, 0.6, 121), np.linspace(-0.6, 0.6, 81))
height = 0.5 * (CURVATURE[0] * a**2 + CURVATURE[1] * b**2)
valley.contour(a, b, height, levels=np.geomspace(0.02, 6, 10), colors=GRAY, linewidths=0.4)
for name, color, make_optimizer in (
    ("SGD, rate 0.06", BLUE, lambda p: nn.optim.SGD(p, lr=0.06)),
    ("momentum 0.8, rate 0.015", ORANGE, lambda p: nn.optim.SGD(p, lr=0.015, momentum=0.8)),
    ("AdamW, rate 0.1", GREEN, lambda p: nn.optim.AdamW(p, lr=0.1, weight_decay=0.0)),
):
    places = path(make_optimizer)
    valley.plot(*places.T, ".-", color=color, lw=1, ms=4, label=name)
valley.plot(0, 0, "+", color="black", ms=10)
valley.set(xlabel="first weight", ylabel="second weight", title=f"{STEPS} steps down a valley")
valley.legend(loc="lower right", fontsize=8)

optimizer = nn.optim.SGD([nn.Parameter(np.zeros(1))], lr=1.0)
schedule = nn.optim.OneCycleLR(optimizer, max_lr=0.01, total_steps=100)
rates.plot([schedule.rate(step) for step in range(100)], color=BLUE)
rates.set(xlabel="step", ylabel="learning rate", title="OneCycleLR, 100 steps", ylim=0)
save(figure, __file__)
