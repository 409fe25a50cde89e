"""Deep learning from scratch: layers with hand-written backward passes, and what trains them.

    import nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(8, 2))

Arrays have their channels last. Start with `linear.py`, then `convolution.py` beside
`kernels/reference.py`.
"""

from nn import initializers, kernels, metrics, optim
from nn.activation import ReLU, Sigmoid, Softmax, Tanh
from nn.checkpoint import load, save
from nn.convolution import Conv1d, Conv2d, Conv3d
from nn.dropout import Dropout
from nn.gradcheck import check_gradients
from nn.linear import Flatten, Linear
from nn.losses import CrossEntropyLoss, MSELoss
from nn.module import Module, Parameter, Sequential, inference
from nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from nn.trainer import Trainer

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Linear",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Trainer",
    "check_gradients",
    "inference",
    "initializers",
    "kernels",
    "load",
    "metrics",
    "optim",
    "save",
]
