"""The article's three activations, and the slopes by which they multiply a gradient."""

import numpy as np
from _figure import plt, save

import nn

x = np.linspace(-5, 5, 1001)
figure, (values, slopes) = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained")
for layer in (nn.Sigmoid(), nn.Tanh(), nn.ReLU()):
    name = type(layer).__name__
    values.plot(x, layer(x), label=name)
    slopes.plot(x, layer.backward(np.ones_like(x)), label=name)
values.set(xlabel="x", ylabel="y", title="value", ylim=(-1.2, 2.2))
slopes.set(xlabel="x", ylabel="dy/dx", title="slope", ylim=(-0.05, 1.1))
values.axhline(0, color="#AAAAAA", lw=0.6, zorder=0)
values.legend()
save(figure, __file__)
