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
    "run": "segmentation",
    "segment": "segmentation",
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
    "run",
    "save",
    "segment",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmaseg' has no attribute {name!r}")
    return getattr(import_module(f"lmaseg.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
