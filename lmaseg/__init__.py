"""Video semantic segmentation with local memory attention.

>>> import lmaseg, numpy
>>> net = lmaseg.load()  # the bundled weights
>>> segmenter = lmaseg.Segmenter(net)  # owns the memory; one per video
>>> frame = numpy.zeros((180, 240, 3), numpy.uint8)  # (H, W, 3) RGB
>>> labels = segmenter(frame)  # (H, W) class ids
>>> labels.shape, labels.dtype
((180, 240), dtype('uint8'))
>>> name = net.labels.names[labels[90, 120]]
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
    from lmaseg.segmentation import run, segment
    from lmaseg.stream import Segmenter

# Resolved on first use, so that `lmaseg --help` does not wait for torch.
_HOMES = {
    "attachment": ("attach",),
    "checkpoint": ("load", "save"),
    "errors": ("BackendError", "CheckpointError", "DatasetError", "LmasegError", "VideoError"),
    "labels": ("CAMVID", "CITYSCAPES", "LabelSet"),
    "pipeline": ("segment_video",),
    "segmentation": ("run", "segment"),
    "stream": ("Segmenter",),
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
    "run",
    "save",
    "segment",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"lmaseg.{module}"), name)
    raise AttributeError(f"module 'lmaseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
