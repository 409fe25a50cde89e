"""What is measured: each row by name, its inputs and weights drawn the same way for both sides."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """One thing both libraries do: `kind` says how to build it, `shape` the input, last axis C."""

    name: str
    group: str
    kind: str
    shape: tuple


ROWS = [
    Row("article's CNN, training step", "step", "article_cnn", (32, 64, 64, 3)),
]


def find(name):
    """The row of that name."""
    return next(row for row in ROWS if row.name == name)


def article_cnn(row):
    """Input, labels, and the article's network as arrays in Backreel's layout (§4, 10 classes)."""
    N, H, W, C = row.shape
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": (3, 3, C, 32),
        "conv2": (3, 3, 32, 64),
        "dense1": (H // 4 * (W // 4) * 64, 512),
        "dense2": (512, 10),
    }
    weights = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        weights[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
        weights[f"{name}_bias"] = (0.1 * rng.standard_normal(shape[-1])).astype(np.float32)
    x = rng.standard_normal(row.shape, dtype=np.float32)
    return x, rng.integers(0, 10, N), weights


SGD = {"lr": 0.001, "momentum": 0.9}
