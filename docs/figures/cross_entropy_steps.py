"""Softmax with cross-entropy in its smallest steps, for one clip: values above, gradients below."""

import numpy as np
from _figure import BLUE, GRAY, RED, plt, save

import nn

z = np.array([1.5, 0.2, -0.8, 0.9])
label = 3
K = len(z)

# Forward: the letters of docs/05-softmax-cross-entropy.md, for N = 1.
s = z - z.max()
e = np.exp(s)
S = e.sum()
p = e / S
l = np.log(p)

# Backward, from the last step to the first.
dl = -np.eye(K)[label]
dp = dl / p
de = dp / S - (dp * e).sum() / S**2
ds = de * e
dz = ds  # the maximum's own gradient is zero

criterion = nn.CrossEntropyLoss()
assert np.isclose(criterion(z[None], np.array([label])), -l[label])
assert np.allclose(criterion.backward()[0], dz)

steps = [
    ("z, the logits", z, dz),
    ("s = z − m", s, ds),
    ("e = exp(s)", e, de),
    ("p = e / S", p, dp),
    ("l = log(p)", l, dl),
]
figure, axes = plt.subplots(2, len(steps), figsize=(10.5, 3.6), sharex=True, layout="constrained")
for column, (name, value, gradient) in zip(axes.T, steps, strict=True):
    colors = [RED if k == label else BLUE for k in range(K)]
    column[0].bar(range(K), value, color=colors)
    column[0].set_title(name)
    column[1].bar(range(K), gradient, color=colors)
    column[1].set(xlabel="class", xticks=range(K))
    for axis in column:
        axis.axhline(0, color=GRAY, lw=0.6)
axes[1, 0].plot(range(K), p - np.eye(K)[label], "_", ms=22, color="black", label="p − onehot")
axes[1, 0].legend(loc="lower left", fontsize=8)
axes[0, 0].set_ylabel("value")
axes[1, 0].set_ylabel("gradient of the loss")
figure.suptitle(
    f"values: left to right; gradients: right to left (label {label}, orange; loss {-l[label]:.2f})"
)
save(figure, __file__)
