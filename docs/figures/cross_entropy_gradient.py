"""The gradient for the logits, p − onehot; and why not the squared error of probabilities."""

import numpy as np
from _figure import BLUE, GRAY, ORANGE, RED, plt, save

import nn

criterion = nn.CrossEntropyLoss()
figure, (bars, losses, slopes) = plt.subplots(1, 3, figsize=(10.5, 3), layout="constrained")

z, label = np.array([[2.0, 0.5, 1.2, -1.0, 0.0]]), 2
with nn.inference():
    p = nn.Softmax()(z)[0]
criterion(z, np.array([label]))
dz = criterion.backward()[0]
places = np.arange(len(p))
bars.bar(places - 0.2, p, 0.4, color=BLUE, label="p")
bars.bar(places + 0.2, dz, 0.4, color=RED, label="gradient")
bars.axhline(0, color=GRAY, lw=0.6)
bars.set(xlabel=f"class (the label is {label})", title="p, and p − onehot", xticks=places)
bars.legend()

# Two classes: the true one leads by `lead`.
leads = np.linspace(-8, 8, 161)
z = np.stack([leads, np.zeros_like(leads)], axis=1)
truth = np.zeros(len(leads), int)
softmax, squares = nn.Softmax(), nn.MSELoss()
curves = {"cross-entropy": ([], []), "squared error of p": ([], [])}
for row, y in zip(z[:, None], truth[:, None], strict=True):
    values, gradients = curves["cross-entropy"]
    values.append(criterion(row, y))
    gradients.append(criterion.backward()[0, 0])
    values, gradients = curves["squared error of p"]
    values.append(squares(softmax(row), np.eye(2)[y]))
    gradients.append(softmax.backward(squares.backward())[0, 0])
for (name, (values, gradients)), color in zip(curves.items(), [BLUE, ORANGE], strict=True):
    losses.plot(leads, values, color=color, label=name)
    slopes.plot(leads, gradients, color=color, label=name)
losses.set(xlabel="lead of the true class", ylabel="loss", title="two losses")
slopes.set(xlabel="lead of the true class", ylabel="gradient for its logit", title="their slopes")
losses.legend()
save(figure, __file__)
