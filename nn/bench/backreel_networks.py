"""The networks whose training steps are timed, in Backreel; `torch_networks.py` has the same.

Those of `video.models` are fetched by name when one is asked for, as `nn` stands below `video` and
does not import it; `torch_video_models.py` has the same.

Run as a program it does the first step of the article's network and says so: that is what is
timed from the start of the process (`start.py`).
"""

from functools import partial
from importlib import import_module

import numpy as np

import nn
from nn.module import backward_to_parameters

CLASSES = 10
VIDEO_MODELS = [
    "FrameCNN",
    "EarlyFusionCNN",
    "CNNRNN",
    "CNNAttention",
    "Conv3dNet",
    "R2Plus1DNet",
    "SmallResNet3D",
    "ResNet3D",
    "VideoTransformer",
]


def article_cnn(shape):
    """The article's network for inputs of `shape` (N, H, W, C). Article §4."""
    _, H, W, C = shape
    return nn.Sequential(
        nn.Conv2d(C, 32, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, rng=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(H // 4 * (W // 4) * 64, 512, rng=2),
        nn.ReLU(),
        nn.Linear(512, CLASSES, rng=3),
    )


def cnn3d(shape):
    """Four blocks of convolution, batch norm, ReLU and max pooling, for (N, T, H, W, C)."""
    channels = shape[-1]
    layers = []
    for width in (16, 32, 64, 128):
        conv = nn.Conv3d(channels, width, 3, padding=1, bias=False, rng=width)
        layers += [conv, nn.BatchNorm(width), nn.ReLU(), nn.MaxPool3d(2)]
        channels = width
    return nn.Sequential(*layers, nn.GlobalAvgPool(), nn.Linear(channels, CLASSES, rng=0))


def video_model(name, shape, **options):
    """The network of `video.models` called `name`, for clips of `shape` (N, T, H, W, C)."""
    _, T, H, W, _ = shape
    model = getattr(import_module("video.models"), name)
    return model(CLASSES, size=(H, W), frames=T, rng=0, **options)


def sgd(parameters):
    """The article's optimiser."""
    return nn.optim.SGD(parameters, lr=0.001, momentum=0.9)


def adamw(parameters):
    """Adam with decoupled weight decay, PyTorch's defaults otherwise."""
    return nn.optim.AdamW(parameters, lr=0.001, weight_decay=0.01)


NETWORKS = {
    "article_cnn": (article_cnn, sgd),
    "cnn3d": (cnn3d, adamw),
    **{name: (partial(video_model, name), adamw) for name in VIDEO_MODELS},
}


def training_step(model, optimizer, x, labels):
    """A function that does one step, as `nn.Trainer` does it, and returns the loss."""
    criterion = nn.CrossEntropyLoss()

    def step():
        model.zero_grad()
        loss = criterion(model(x), labels)
        backward_to_parameters(model, criterion.backward())
        optimizer.step()
        return loss

    return step


def first_step():
    """The first step of the article's network, on random images."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 64, 64, 3), dtype=np.float32)
    model = article_cnn(x.shape)
    training_step(model, sgd(model.parameters()), x, rng.integers(0, CLASSES, len(x)))()


if __name__ == "__main__":
    first_step()
    print("done", flush=True)
