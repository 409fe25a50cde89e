"""Three ways up by a factor of 2: how many stamps reach each output, and what a smooth input
becomes under first weights."""

import numpy as np
from _figure import plt, save

import nn

SIZE, C = 8, 64
rng = np.random.default_rng(1)
place = np.linspace(-1, 1, SIZE)
disc = np.exp(-2 * (place[:, None] ** 2 + place**2))  # smooth, one bump
x = (disc[None, :, :, None] * rng.uniform(0.5, 1.5, C)).astype(np.float32)  # (1, H, W, C)


def ways(channels):
    """The three ways from SIZE to 2 · SIZE and more, for so many channels."""
    return {
        "transposed, kernel 3, stride 2": nn.ConvTranspose2d(channels, 1, 3, stride=2, rng=2),
        "transposed, kernel 4, stride 2": nn.ConvTranspose2d(channels, 1, 4, stride=2, rng=2),
        "nearest ×2, then convolution 3": nn.Sequential(
            nn.Upsample2d(2), nn.Conv2d(channels, 1, 3, padding=2, rng=2)
        ),
    }


figure, axes = plt.subplots(2, 3, figsize=(9, 5.4), layout="constrained")
for column, title, counting, drawn in zip(
    axes.T, ways(1), ways(1).values(), ways(C).values(), strict=True
):
    for parameter in counting.parameters():
        parameter.data[...] = parameter.data.ndim > 1  # weights 1, bias 0: terms are counted
    with nn.inference():
        count = counting(np.ones((1, SIZE, SIZE, 1), np.float32))[0, :, :, 0]
        y = drawn(x)[0, :, :, 0]
    shown = column[0].imshow(count, cmap="Blues", vmin=0, vmax=9)
    figure.colorbar(shown, ax=column[0], shrink=0.8)
    largest = np.abs(y).max()
    column[1].imshow(y, cmap="RdBu_r", vmin=-largest, vmax=largest)
    column[0].set_title(title)
    for axis in column:
        axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("terms in each output")
axes[1, 0].set_ylabel("a smooth input, first weights")
save(figure, __file__)
