"""Video files in, answers out.

What is imported here reads, cuts and serves clips and knows nothing of networks.
`video.models`, `video.plots`, `video.synthetic` and the rest load on first use, so that
reading a file does not wait for the layers or for matplotlib.
"""

from importlib import import_module

from video import transforms
from video.folder import VideoFolder
from video.loader import DataLoader
from video.reader import VideoError, VideoInfo, VideoWarning, probe, read, stream
from video.splitting import split
from video.writer import write

__all__ = [
    "DataLoader",
    "VideoError",
    "VideoFolder",
    "VideoInfo",
    "VideoWarning",
    "models",
    "plots",
    "probe",
    "read",
    "split",
    "stream",
    "synthetic",
    "transforms",
    "write",
]

_LOADED_ON_FIRST_USE = {"models", "plots", "synthetic"}


def __getattr__(name):
    if name in _LOADED_ON_FIRST_USE:
        return import_module(f"video.{name}")
    raise AttributeError(f"module 'video' has no attribute {name!r}")
