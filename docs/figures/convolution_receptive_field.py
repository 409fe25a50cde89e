"""Which inputs reach one central output, and by how much: its gradient, averaged over weights."""

import numpy as np
from _figure import plt, save

import nn

SIZE, DRAWS = 31, 50
stacks = {
    "1 layer": [1],
    "3 layers": [1] * 3,
    "8 layers": [1] * 8,
    "3 layers, dilation 1, 2, 4": [1, 2, 4],
}


def reach(dilations):
    """|dx| of the central output through 3×3 layers of 8 channels, the mean over random weights."""
    total = np.zeros((SIZE, SIZE))
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        channels = [1] + [8] * len(dilations)
        net = nn.Sequential(
            *[
                nn.Conv2d(a, b, 3, padding=d, dilation=d, rng=rng)
                for a, b, d in zip(channels, channels[1:], dilations, strict=False)
            ]
        )
        dy = np.zeros_like(net(np.ones((1, SIZE, SIZE, 1), np.float32)))
        dy[0, SIZE // 2, SIZE // 2] = rng.standard_normal(8)
        total += np.abs(net.backward(dy)[0, :, :, 0])
    return total / DRAWS


figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained")
for axis, (title, dilations) in zip(axes, stacks.items(), strict=True):
    amount = reach(dilations)
    field = 1 + 2 * sum(dilations)
    touched = np.argwhere(amount.any(axis=0))
    assert touched.max() - touched.min() + 1 == field
    shown = np.where(amount > 0, amount / amount.max(), np.nan)
    image = axis.imshow(shown, cmap="viridis", vmin=0, vmax=1)
    axis.set(title=f"{title}: {field}×{field}", xlabel="input column")
    axis.set(xticks=[0, 15, 30], yticks=[0, 15, 30])
axes[0].set_ylabel("input row")
figure.colorbar(image, ax=axes, label="|dx|, largest = 1", shrink=0.8)
save(figure, __file__)
