"""How a job makes its outputs: what all sources share, and the writers that follow from it."""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lmaseg._version import __version__
from lmaseg.batch.sources import Identity, Source
from lmaseg.checkpoint import BUNDLED, load
from lmaseg.images import ImageReader, open_source, writer_like
from lmaseg.labels import LabelSet
from lmaseg.render import VIEWS, View
from lmaseg.stream import Segmenter
from lmaseg.video import VideoReader, VideoWriter

SUFFIX = ".mp4"
CHUNKS = ".chunks"  # the folder of the output that holds what is not joined yet


@dataclass(frozen=True)
class Making:
    """The settings of a job; everything but `PLACES` decides what the outputs are."""

    output: str
    """The folder for all outputs, absolute, on a disk that every worker sees."""
    video: bool = True
    labels: bool = False
    ids: str = "class"
    weights: str | None = None
    """Absolute; None is the bundled ones."""
    net: str | None = None
    net_folder: str | None = None
    """Where `net` may be imported from."""
    device: str = "auto"
    size: int | tuple[int, int] | None = None
    memory: int | None = None
    batch: int = 1
    threads: int | None = None
    """Of a worker's network on a CPU; None is torch's choice. More or fewer change labels by rounding."""
    reset_at_cuts: bool = True
    deinterlace: bool = True
    view: str = "overlay"
    opacity: float = 0.5
    classes: tuple[int, ...] | None = None
    legend: bool = False
    codec: str | None = None
    crf: float | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides what the outputs are, the weights' content included."""
        weights = Path(self.weights) if self.weights else BUNDLED
        decisive = {key: value for key, value in asdict(self).items() if key not in PLACES}
        decisive |= {"lmaseg": __version__, "weights": hashlib.sha256(weights.read_bytes()).hexdigest()}
        return _digest(decisive)

    def key(self, identity: Identity) -> str:
        """What a source's outputs are known by: the same key, the same outputs."""
        return _digest([self.fingerprint, asdict(identity)])

    def folder(self, name: str) -> Path:
        """Where the chunks of one source are kept until they are joined."""
        return Path(self.output) / CHUNKS / name

    def video_path(self, name: str) -> Path:
        return Path(self.output) / f"{name}{SUFFIX}"

    def maps_path(self, name: str) -> Path:
        return Path(self.output) / name

    def outputs(self, name: str) -> list[Path]:
        """The files and folders that a source becomes."""
        return [self.video_path(name)] * self.video + [self.maps_path(name)] * self.labels

    def is_published(self, name: str) -> bool:
        """Whether all of them are there."""
        return all(path.exists() for path in self.outputs(name))


PLACES = ("output", "device", "threads", "net_folder", "weights")


def make_segmenter(making: Making) -> Segmenter:
    """The network, loaded, on this worker's device.

    Raises:
        CheckpointError, BackendError: as `load`.
        ValueError: as `Segmenter`.
    """
    if making.threads:
        torch.set_num_threads(making.threads)
    if making.net_folder and making.net_folder not in sys.path:
        sys.path.append(making.net_folder)  # last, so that it hides nothing
    net = load(making.weights, making.device, making.net)
    return Segmenter(net, size=making.size, memory=making.memory, batch=making.batch)


def open_chunk(source: Source, making: Making, **part: Any) -> VideoReader | ImageReader:
    """A reader of the source, or of the part of it that `start`, `end`, `warm_up` and `seek` name."""
    return open_source(source.path, deinterlace=making.deinterlace, **part)


def make_view(making: Making, label_set: LabelSet) -> View:
    """What the videos show."""
    return VIEWS[making.view](label_set, opacity=making.opacity, classes=making.classes, legend=making.legend)


def make_writer(
    path: Path, reader: VideoReader | ImageReader, size: tuple[int, int], making: Making, *, copy_from: str | None
) -> VideoWriter:
    """A writer of (width, height) pictures: with the same settings for every chunk, so that they can be joined."""
    return writer_like(reader, path, size=size, copy_from=copy_from, codec=making.codec, crf=making.crf, overwrite=True)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
