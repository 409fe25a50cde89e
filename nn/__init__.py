"""Deep learning from scratch: layers with hand-written backward passes, and what trains them.

    import nn
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(8, 2))

Arrays have their channels last. Start with `linear.py`, then `convolution.py` beside
`kernels/reference.py`.
"""

from nn import initializers, interop, kernels, metrics, optim
from nn.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from nn.attention import Attention, AttentionDegree
from nn.checkpoint import load, save
from nn.containers import Residual, Sequential
from nn.contrastive import InfoNCELoss, TripletLoss
from nn.conv_recurrent import ConvLSTM2d
from nn.convolution import Conv1d, Conv2d, Conv3d
from nn.dropout import Dropout
from nn.embedding import Embedding
from nn.gradcheck import check_gradients
from nn.linear import Flatten, Linear
from nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    DiceLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
)
from nn.module import Module, Parameter, inference
from nn.multihead_attention import MultiHeadAttention
from nn.normalization import BatchNorm, GroupNorm, LayerNorm
from nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from nn.positional import PositionalEncoding
from nn.recurrent import GRU, LSTM, RNN
from nn.trainer import Trainer
from nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from nn.upsampling import Upsample2d, Upsample3d
from nn.watching import watch

__all__ = [
    "Attention",
    "AttentionDegree",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCEWithLogitsLoss",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvLSTM2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CrossEntropyLoss",
    "DiceLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELU",
    "GlobalAvgPool",
    "GRU",
    "GroupNorm",
    "HuberLoss",
    "InfoNCELoss",
    "L1Loss",
    "LSTM",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "PositionalEncoding",
    "RNN",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Trainer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "TripletLoss",
    "Upsample2d",
    "Upsample3d",
    "check_gradients",
    "inference",
    "initializers",
    "interop",
    "kernels",
    "load",
    "metrics",
    "optim",
    "save",
    "watch",
]
