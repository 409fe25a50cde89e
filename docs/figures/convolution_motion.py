"""A slanted kernel of a 3-D convolution answers to one direction of motion and not the other."""

import numpy as np
from _figure import plt, save

import nn

T = W = 16
rng = np.random.default_rng(0)

columns = np.arange(W)
right = np.stack([np.exp(-0.5 * ((columns - t) / 1.2) ** 2) for t in range(T)])  # (T, W)
right = right + 0.15 * rng.standard_normal(right.shape)
clips = np.stack([right, right[::-1]])[:, :, None, :, None].astype(np.float32)  # (N, T, H, W, C)

layer = nn.Conv3d(1, 1, (5, 1, 5), bias=False)
layer.weight.data[:, 0, :, 0, 0] = np.eye(5) - 1 / 5  # along the slant, less its surroundings
with nn.inference():
    answers = layer(clips)

figure, axes = plt.subplots(1, 5, figsize=(10.5, 2.5), layout="constrained")
gray = {"cmap": "gray", "aspect": "equal"}
axes[0].imshow(clips[0, :, 0, :, 0], **gray)
axes[1].imshow(clips[1, :, 0, :, 0], **gray)
axes[2].imshow(layer.weight.data[:, 0, :, 0, 0], cmap="RdBu_r", vmin=-1, vmax=1)
limit = float(np.abs(answers).max())
for axis, answer in zip(axes[3:], answers, strict=True):
    image = axis.imshow(answer[:, 0, :, 0], cmap="RdBu_r", vmin=-limit, vmax=limit)
figure.colorbar(image, ax=axes[4], label="answer", shrink=0.8)

titles = ["moving right", "the same, backwards", "kernel", "answer to right", "answer to left"]
for axis, title in zip(axes, titles, strict=True):
    axis.set(title=title, xlabel="column", xticks=[], yticks=[])
axes[0].set_ylabel("← time")
save(figure, __file__)
