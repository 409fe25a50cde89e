"""How PyTorch does each row, eagerly, in either memory layout: its plain one or channels last.

Builders mirror `backreel_side.py`; arrays come in Backreel's layout and are turned here.
"""

import numpy as np
import torch

from nn.bench import rows

LAYOUTS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}


def build(row, layout):
    """{"training step": …} or {"forward": …, "forward+backward": …} for one row."""
    return BUILDERS[row.kind](row, LAYOUTS[layout])


def article_cnn(row, memory_format):
    """The same step in PyTorch, from the same weights, in the given memory layout."""
    x, labels, weights = rows.article_cnn(row)
    N, H, W, C = row.shape
    model = torch.nn.Sequential(
        torch.nn.Conv2d(C, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(H // 4 * (W // 4) * 64, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 10),
    )
    # PyTorch flattens (C, H, W) where Backreel flattens (H, W, C).
    dense1 = weights["dense1"].reshape(H // 4, W // 4, 64, 512)
    weights["dense1"] = dense1.transpose(2, 0, 1, 3).reshape(-1, 512)
    names = zip([0, 3, 7, 9], ["conv1", "conv2", "dense1", "dense2"], strict=True)
    with torch.no_grad():
        for i, name in names:
            w = weights[name]
            w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T
            model[i].weight.copy_(torch.from_numpy(np.ascontiguousarray(w)))
            model[i].bias.copy_(torch.from_numpy(weights[f"{name}_bias"]))
    model = model.to(memory_format=memory_format)
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    images = images.contiguous(memory_format=memory_format)
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), **rows.SGD)

    def step():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(model(images), targets)
        value.backward()
        optimizer.step()
        return np.array([value.item()])

    return {"training step": step}


BUILDERS = {"article_cnn": article_cnn}
