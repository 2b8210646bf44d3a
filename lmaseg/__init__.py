"""Video semantic segmentation with local memory attention.

>>> net = lmaseg.load()  # doctest: +SKIP
>>> segmenter = lmaseg.Segmenter(net)  # doctest: +SKIP
>>> labels = segmenter(frame)  # (H, W, 3) uint8 RGB -> (H, W) uint8 class ids  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmaseg._version import __version__

if TYPE_CHECKING:
    from lmaseg.attachment import attach
    from lmaseg.checkpoint import load, save
    from lmaseg.errors import BackendError, CheckpointError, DatasetError, LmasegError, VideoError
    from lmaseg.labels import CAMVID, CITYSCAPES, LabelSet
    from lmaseg.pipeline import segment_video
    from lmaseg.stream import Segmenter

# Resolved on first use, so that `lmaseg --help` does not wait for torch.
_HOMES = {
    "attach": "attachment",
    "load": "checkpoint",
    "save": "checkpoint",
    "LmasegError": "errors",
    "BackendError": "errors",
    "CheckpointError": "errors",
    "DatasetError": "errors",
    "VideoError": "errors",
    "CAMVID": "labels",
    "CITYSCAPES": "labels",
    "LabelSet": "labels",
    "segment_video": "pipeline",
    "Segmenter": "stream",
}

__all__ = [
    "CAMVID",
    "CITYSCAPES",
    "BackendError",
    "CheckpointError",
    "DatasetError",
    "LabelSet",
    "LmasegError",
    "Segmenter",
    "VideoError",
    "__version__",
    "attach",
    "load",
    "save",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmaseg' has no attribute {name!r}")
    return getattr(import_module(f"lmaseg.{_HOMES[name]}"), name)
