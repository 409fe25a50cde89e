"""The networks, one file each, and how they are kept in files."""

from video.models.base import VideoModel
from video.models.frame_cnn import FrameCNN
from video.models.storage import load, save

__all__ = ["FrameCNN", "VideoModel", "load", "save"]
