"""The networks, one file each, and how they are kept in files."""

from video.models.frame_cnn import FrameCNN

__all__ = ["FrameCNN"]
