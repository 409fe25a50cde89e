"""What wrong gradients look like beside the right one, and the hint that each of them gets."""

import textwrap

import numpy as np
from _figure import plt, save

import nn

BUGS = {
    "right": lambda dx: dx,
    "sign": lambda dx: -dx,
    "mean for sum": lambda dx: dx / 5,
    "transposed": lambda dx: dx.T.copy(),
    "flipped": lambda dx: dx[:, ::-1],
    "shifted": lambda dx: np.roll(dx, 1, axis=1),
    "absolute value": np.abs,
    "zeros": lambda dx: dx * (np.arange(5) > 1),
    "factor of each column": lambda dx: dx * np.linspace(0.2, 2, 5),
    "mean of the row": lambda dx: 0 * dx + dx.mean(axis=1, keepdims=True),
    "a term left out": lambda dx: dx - dx.mean(axis=1, keepdims=True),
    "noise": lambda dx: dx * np.random.default_rng(5).uniform(0.5, 1.5, dx.shape),
}


class Changed(nn.Sigmoid):
    """A sigmoid whose gradient went through a mistake."""

    def __init__(self, change):
        self.change = change

    def backward(self, dy, need_input_grad=True):
        return self.change(super().backward(dy))


x = np.random.default_rng(2).standard_normal((5, 5))
figure, axes = plt.subplots(2, 6, figsize=(9, 5), layout="constrained")
for axis, (name, change) in zip(axes.flat, BUGS.items(), strict=True):
    (row,) = nn.check_gradients(Changed(change), x, seed=2).rows
    largest = np.abs(row.numerics).max()
    axis.imshow(row.claims, cmap="RdBu", vmin=-largest, vmax=largest)
    axis.set(xticks=[], yticks=[])
    axis.set_title(name, fontsize=8.5)
    said = "passes" if row.passed else (row.hints or ["no hint"])[0]
    said = said.split(": is ")[0].split(": a mask")[0]
    axis.set_xlabel("\n".join(textwrap.wrap(said, 26)[:4]), fontsize=6.5)
save(figure, __file__)
