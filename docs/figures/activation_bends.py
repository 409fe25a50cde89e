"""ReLU and its relatives: what they do below zero, and with what slope."""

import numpy as np
from _figure import plt, save

import nn

x = np.linspace(-4, 3, 1401)
layers = {
    "ReLU": nn.ReLU(),
    "LeakyReLU(0.1)": nn.LeakyReLU(0.1),
    "GELU": nn.GELU(),
    "SiLU": nn.SiLU(),
}
figure, (values, slopes) = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained")
for name, layer in layers.items():
    values.plot(x, layer(x), label=name)
    slopes.plot(x, layer.backward(np.ones_like(x)), label=name)
values.set(xlabel="x", ylabel="y", title="value", ylim=(-0.5, 2))
slopes.set(xlabel="x", ylabel="dy/dx", title="slope", ylim=(-0.2, 1.2))
for axis in (values, slopes):
    axis.axhline(0, color="#AAAAAA", lw=0.6, zorder=0)
values.legend()
save(figure, __file__)
