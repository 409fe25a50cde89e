"""The networks, one file each, and how they are kept in files."""

from video.models.base import VideoModel
from video.models.cnn_attention import CNNAttention
from video.models.cnn_rnn import CNNRNN
from video.models.conv3d import Conv3dNet
from video.models.early_fusion import EarlyFusionCNN
from video.models.frame_cnn import FrameCNN
from video.models.head_only import HeadOnly
from video.models.r2plus1d import R2Plus1DNet
from video.models.resnet3d import ResNet3D, SmallResNet3D
from video.models.storage import load, save, with_new_head
from video.models.video_transformer import VideoTransformer

__all__ = [
    "CNNAttention",
    "CNNRNN",
    "Conv3dNet",
    "EarlyFusionCNN",
    "FrameCNN",
    "HeadOnly",
    "R2Plus1DNet",
    "ResNet3D",
    "SmallResNet3D",
    "VideoModel",
    "VideoTransformer",
    "load",
    "save",
    "with_new_head",
]
