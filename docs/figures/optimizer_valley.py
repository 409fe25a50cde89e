"""Five optimisers in a bent valley, each alone in its panel, and how fast they come down."""

import numpy as np
from _figure import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, plt, save

import nn

START, STEPS = np.array([-1.5, 1.9]), 150


def height(a, b):
    """A valley along the parabola b = a², which falls gently to its minimum at (1, 1)."""
    return 0.1 * (a - 1) ** 2 + 2 * (b - a**2) ** 2


def gradient(theta):
    a, b = theta
    return np.array([0.2 * (a - 1) - 8 * a * (b - a**2), 4 * (b - a**2)])


def path(make_optimizer):
    """Where the two weights stand after each step, (STEPS + 1, 2)."""
    theta = nn.Parameter(START.copy())
    optimizer = make_optimizer([theta])
    places = [theta.data.copy()]
    for _ in range(STEPS):
        theta.grad = gradient(theta.data)
        optimizer.step()
        places.append(theta.data.copy())
    return np.array(places)


RUNS = (
    ("SGD, rate 0.04", BLUE, lambda p: nn.optim.SGD(p, lr=0.04)),
    ("momentum 0.9, rate 0.02", ORANGE, lambda p: nn.optim.SGD(p, lr=0.02, momentum=0.9)),
    (
        "Nesterov 0.9, rate 0.02",
        PURPLE,
        lambda p: nn.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    ),
    ("RMSprop, rate 0.03", RED, lambda p: nn.optim.RMSprop(p, lr=0.03, alpha=0.9)),
    ("Adam, rate 0.1", GREEN, lambda p: nn.optim.Adam(p, lr=0.1)),
)
figure, panels = plt.subplots(2, 3, figsize=(8.6, 4.4), layout="constrained")
a, b = np.meshgrid(np.linspace(-2, 2, 121), np.linspace(-0.8, 3.2, 121))
down = panels.flat[5]
for axes, (name, color, make_optimizer) in zip(panels.flat, RUNS, strict=False):
    places = path(make_optimizer)
    levels = np.geomspace(0.05, 20, 6)
    axes.contour(a, b, height(a, b), levels=levels, colors=GRAY, linewidths=0.4)
    axes.plot(*places.T, ".-", color=color, lw=0.8, ms=3)
    axes.plot(1, 1, "+", color="black", ms=10)
    axes.set(title=name, xlim=(-2, 2), ylim=(-0.8, 3.2))
    down.semilogy(height(*places.T), color=color, lw=1, label=name.split(",")[0])
for axes in (panels[0, 0], panels[1, 0]):
    axes.set(ylabel="second weight")
for axes in (panels[1, 0], panels[1, 1], panels[0, 2]):
    axes.set(xlabel="first weight")
down.set(xlabel="step", ylabel="loss", title="on the way down", ylim=(1e-3, 3))
down.legend(fontsize=7)
save(figure, __file__)
