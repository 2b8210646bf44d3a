"""What becomes of labelled frames: overlaid video, label maps, shares of the classes, a pipe."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, TextIO

import numpy as np

from lmaseg.errors import VideoError
from lmaseg.labels import LabelSet
from lmaseg.maps import ConfidenceMapWriter, LabelMapWriter
from lmaseg.paths import part_path, writing
from lmaseg.render import View
from lmaseg.video import Frame, LabelVideoWriter, VideoWriter


class Labelled(NamedTuple):
    """A frame and what the network says of it."""

    frame: Frame
    labels: np.ndarray
    """(H, W) uint8 class ids."""
    confidence: np.ndarray | None = None
    """(H, W) floating point: the probability of each pixel's class, where the segmenter tells it."""
    alone: np.ndarray | None = None
    """(H, W) uint8 class ids of the frame without its past, where the segmenter tells them."""
    drawn: np.ndarray | None = None
    """(H, W) uint8 class ids with smooth edges, to draw, where the segmenter tells them."""


class Sink:
    """Takes labelled frames in order, into an output that is open while the sink is entered.

    Left on an exception, the output keeps what it has under a `.part` name.
    """

    def __init__(self, output: AbstractContextManager[object]) -> None:
        self._output = output

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._output.__exit__(kind, error, traceback)

    def write(self, seen: Labelled) -> None:
        """Take a labelled frame."""
        raise NotImplementedError

    def skip(self, frame: Frame) -> None:
        """Pass over a frame that the output holds already, from a run that was cut short."""


class OverlayVideo(Sink):
    """A video of the frames as a view shows them."""

    def __init__(self, writer: VideoWriter, view: View) -> None:
        super().__init__(writer)
        self._writer, self._view = writer, view

    def write(self, seen: Labelled) -> None:
        labels = seen.labels if seen.drawn is None else seen.drawn
        self._writer.write(self._view(seen.frame.image, labels), seen.frame.pts)

    def skip(self, frame: Frame) -> None:
        self._writer.skip(frame.pts)


class LabelMaps(Sink):
    """A folder of indexed PNG label maps; `ids` (256,) uint8 leads from class id to the id to write."""

    def __init__(self, writer: LabelMapWriter, ids: np.ndarray) -> None:
        super().__init__(writer)
        self._writer, self._ids = writer, ids

    def write(self, seen: Labelled) -> None:
        self._writer.write(self._ids[seen.labels], seen.frame.name)


class ConfidenceMaps(Sink):
    """A folder of 16-bit PNG maps of how sure the network was; for a segmenter that tells."""

    def __init__(self, writer: ConfidenceMapWriter) -> None:
        super().__init__(writer)
        self._writer = writer

    def write(self, seen: Labelled) -> None:
        assert seen.confidence is not None
        self._writer.write(seen.confidence, seen.frame.name)


class LabelVideo(Sink):
    """Label maps as a lossless video into a pipe; `ids` as in `LabelMaps`."""

    def __init__(self, writer: LabelVideoWriter, ids: np.ndarray) -> None:
        super().__init__(writer)
        self._writer, self._ids = writer, ids

    def write(self, seen: Labelled) -> None:
        self._writer.write(self._ids[seen.labels], seen.frame.pts)


class RawLabels(Sink):
    """Label maps into a pipe one after the other, a byte per pixel, without any header; `ids` as in `LabelMaps`.

    Raises VideoError when the pipe takes no more.
    """

    def __init__(self, stream: BinaryIO, ids: np.ndarray) -> None:
        super().__init__(nullcontext())
        self._stream, self._ids = stream, ids

    def write(self, seen: Labelled) -> None:
        try:
            self._stream.write(self._ids[seen.labels].tobytes())
            self._stream.flush()
        except OSError as error:
            raise VideoError(f"the pipe takes no more ({error.strerror}): see why its reader ended") from error


class FrameLines(Sink):
    """A line of JSON per frame: its name, its time and each class's share of the pixels.

    Args:
        output: a file, or an open text stream. A file appears under its name when it is complete.
        label_set: names the classes.
        keep: lines that the file's part holds from a run that was cut short.

    Raises:
        VideoError: while writing, that no more is taken.
    """

    def __init__(self, output: Path | TextIO, label_set: LabelSet, *, keep: int = 0) -> None:
        self._file: AbstractContextManager[TextIO] = (
            _text_file(output, keep) if isinstance(output, Path) else nullcontext(output)
        )
        super().__init__(self._file)
        self._names = label_set.names

    def __enter__(self) -> Self:
        self._stream = self._file.__enter__()
        return self

    def write(self, seen: Labelled) -> None:
        shares = _shares(_pixels(seen.labels, len(self._names)))
        line = {
            "frame": seen.frame.name,
            "pts": seen.frame.pts,
            "seconds": round(float(seen.frame.time), 6),
            "shares": {name: round(float(share), 6) for name, share in zip(self._names, shares, strict=True)},
        }
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except OSError as error:
            raise VideoError(
                f"cannot write the lines of JSON ({error.strerror}): see why they are not taken"
            ) from error


@contextmanager
def _text_file(path: Path, keep: int) -> Iterator[TextIO]:
    """A file to write, with the first `keep` lines of its part in it."""
    part = part_path(path)
    with writing(path):
        kept = part.read_text().splitlines(keepends=True)[:keep] if keep else []
        stream = part.open("w")
        stream.writelines(kept)
    try:
        yield stream
    except BaseException:
        with suppress(OSError):  # what a full disk refused is tried again
            stream.close()
        raise
    with writing(path):
        stream.close()
        part.replace(path)


class ClassShares(Sink):
    """Each class's share of the pixels, summed second by second of the source's time."""

    def __init__(self, classes: int) -> None:
        super().__init__(nullcontext())
        self._classes = classes
        self._pixels: dict[int, np.ndarray] = {}

    def write(self, seen: Labelled) -> None:
        second = int(seen.frame.time // 1)
        self._pixels[second] = self._pixels.get(second, 0) + _pixels(seen.labels, self._classes)

    def total(self) -> np.ndarray:
        """(classes,) float64 shares over the whole run."""
        return _shares(sum(self._pixels.values(), np.zeros(self._classes, np.int64)))

    def over_time(self) -> list[tuple[int, np.ndarray]]:
        """(second, (classes,) float64 shares) in the order of time."""
        return [(second, _shares(self._pixels[second])) for second in sorted(self._pixels)]


def _pixels(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) int64 numbers of pixels."""
    return np.bincount(labels.ravel(), minlength=classes)[:classes]


def _shares(pixels: np.ndarray) -> np.ndarray:
    return pixels / max(1, int(pixels.sum()))
