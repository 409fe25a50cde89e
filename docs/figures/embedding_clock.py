"""Twelve hours as points in the plane: drawn at random, and after learning what is near in time."""

import numpy as np
from _figure import BLUE, plt, save

import nn

HOURS = 12
hours = np.arange(HOURS)
apart = np.abs(hours[:, None] - hours)
near = np.minimum(apart, HOURS - apart) <= 2
targets = near / near.sum(axis=1, keepdims=True)

net = nn.Sequential(nn.Embedding(HOURS, 2, rng=0), nn.Linear(2, HOURS, bias=False, rng=1))
criterion = nn.CrossEntropyLoss()
optimizer = nn.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
rows = {0: net[0].weight.data.copy()}
for step in range(1, 401):
    criterion(net(hours), targets)
    optimizer.zero_grad()
    net.backward(criterion.backward(), need_input_grad=False)
    optimizer.step()
    if step in (20, 400):
        rows[step] = net[0].weight.data.copy()

figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), layout="constrained")
for axis, (step, W) in zip(axes, rows.items(), strict=True):
    ring = np.append(hours, 0)
    axis.plot(*W[ring].T, color="#CCCCCC", lw=1)
    axis.plot(*W.T, "o", color=BLUE, ms=13)
    for hour, place in enumerate(W):
        axis.annotate(str(hour), place, color="white", ha="center", va="center", fontsize=7)
    axis.set(title=f"after {step} steps" if step else "first weights", aspect="equal")
    axis.set(xlabel="W(id, 0)", adjustable="datalim")
axes[0].set_ylabel("W(id, 1)")
save(figure, __file__)
