"""The networks of `backreel_networks.py` in PyTorch, module for module.

Nothing of Backreel is imported here. As a program of its own, started by its path, this file
does the first step of the article's network, and Backreel's start would be counted as PyTorch's.
"""

import torch

CLASSES = 10


class GlobalAvgPool(torch.nn.Module):
    """The mean over everything behind N and C."""

    def forward(self, x):
        return x.flatten(2).mean(2)


def article_cnn(shape):
    """The article's network; `shape` is that of Backreel's input, (N, H, W, C)."""
    _, H, W, C = shape
    return torch.nn.Sequential(
        torch.nn.Conv2d(C, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(H // 4 * (W // 4) * 64, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, CLASSES),
    )


def cnn3d(shape):
    """Four blocks of convolution, batch norm, ReLU and max pooling."""
    channels = shape[-1]
    layers = []
    for width in (16, 32, 64, 128):
        conv = torch.nn.Conv3d(channels, width, 3, padding=1, bias=False)
        norm = torch.nn.BatchNorm3d(width)
        layers += [conv, norm, torch.nn.ReLU(), torch.nn.MaxPool3d(2)]
        channels = width
    return torch.nn.Sequential(*layers, GlobalAvgPool(), torch.nn.Linear(channels, CLASSES))


def sgd(parameters):
    """The article's optimiser."""
    return torch.optim.SGD(parameters, lr=0.001, momentum=0.9)


def adamw(parameters, fused=None):
    """The same as in `backreel_networks`."""
    return torch.optim.AdamW(parameters, lr=0.001, weight_decay=0.01, fused=fused)


NETWORKS = {"article_cnn": (article_cnn, sgd), "cnn3d": (cnn3d, adamw)}


def training_step(model, optimizer, x, labels):
    """A function that does one step and returns the loss."""

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def first_step():
    """The first step of the article's network, on random images."""
    x = torch.randn(32, 3, 64, 64)
    model = article_cnn((32, 64, 64, 3))
    training_step(model, sgd(model.parameters()), x, torch.randint(0, CLASSES, (len(x),)))()


if __name__ == "__main__":
    first_step()
    print("done", flush=True)
