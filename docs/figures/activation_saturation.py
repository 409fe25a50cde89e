"""What tanh makes of inputs that spread more and more, and what slope is left."""

import numpy as np
from _figure import BLUE, plt, save

import nn

inputs = np.random.default_rng(0).standard_normal(50_000)
spreads = [0.5, 1, 3, 10]
figure, axes = plt.subplots(
    1, len(spreads), figsize=(10, 2.5), sharex=True, sharey=True, layout="constrained"
)
for axis, spread in zip(axes, spreads, strict=True):
    tanh = nn.Tanh()
    y = tanh(spread * inputs)
    slope = tanh.backward(np.ones_like(y))
    axis.hist(y, bins=40, range=(-1, 1), weights=np.full(y.size, 1 / y.size), color=BLUE)
    axis.set(xlabel="y = tanh(x)", title=f"x spreads by {spread:g}\nmean slope {slope.mean():.2f}")
axes[0].set_ylabel("share of the units")
save(figure, __file__)
