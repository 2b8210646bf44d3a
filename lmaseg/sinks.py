"""Outputs that take labelled frames: overlaid video, lines of JSON, shares of the classes, or any function."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import numpy as np
from PIL import Image

from lmaseg.errors import VideoError
from lmaseg.labels import LabelSet
from lmaseg.paths import appearing, part_path, publish, writing
from lmaseg.render import View
from lmaseg.video import Frame, VideoWriter
from lmaseg.zones import Zones

QUALITY = 95  # of pictures in formats that lose some
WHOLE = ""
"""Stands for the whole picture where zones go by their names."""


class Labelled(NamedTuple):
    """A frame and its labels."""

    frame: Frame
    labels: np.ndarray
    """(H, W) uint8 class ids."""
    confidence: np.ndarray | None = None
    """(H, W) floating point: the probability of each pixel's class, if the segmenter computes it."""
    alone: np.ndarray | None = None
    """(H, W) uint8 class ids of the frame without its past, if the segmenter computes them."""
    smooth: np.ndarray | None = None
    """(H, W) uint8 class ids with smooth edges, nicer to look at, if the segmenter computes them."""


class Sink:
    """Takes labelled frames in order, into an output that is open while the sink is entered.

    Left on an exception, the output keeps what it has under a `.part` name.

    Args:
        output: a context manager that is entered and left with the sink; None where nothing needs to be closed.
        take: what to do with each labelled frame, unless a subclass says so by its `write`.
    """

    def __init__(
        self,
        output: AbstractContextManager[object] | None = None,
        take: Callable[[Labelled], object] = lambda seen: None,
    ) -> None:
        self._output, self._take = output or nullcontext(), take

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._output.__exit__(kind, error, traceback)

    def write(self, seen: Labelled) -> None:
        """Take a labelled frame."""
        self._take(seen)

    def skip(self, frame: Frame) -> None:
        """Pass over a frame that the output holds already, from an interrupted run."""


class OverlayVideo(Sink):
    """A video of the frames as a view shows them."""

    def __init__(self, writer: VideoWriter, view: View) -> None:
        super().__init__(writer)
        self._writer, self._view = writer, view

    def write(self, seen: Labelled) -> None:
        labels = seen.labels if seen.smooth is None else seen.smooth
        self._writer.write(self._view(seen.frame.image, labels), seen.frame.pts)

    def skip(self, frame: Frame) -> None:
        self._writer.skip(frame.pts)


class OverlayPicture(Sink):
    """A picture of the one frame that comes, as a view shows it. `path`: where it appears when it is complete; the
    suffix chooses the format."""

    def __init__(self, path: Path, view: View) -> None:
        super().__init__()
        self._path, self._view = path, view

    def write(self, seen: Labelled) -> None:
        picture = Image.fromarray(self._view(seen.frame.image, seen.labels if seen.smooth is None else seen.smooth))
        with appearing(self._path) as part:
            picture.save(part, quality=QUALITY)


class LineFile:
    """A text file that takes a line per frame; a context manager. Raises VideoError if no more is taken.

    Args:
        output: where it appears when it is complete, or an open text stream, which is left open.
        keep: how many lines of the file's part to keep from an interrupted run, which are then in `kept`.
        publish: whether it appears; otherwise its part stays for the caller to replace.
    """

    def __init__(self, output: Path | TextIO, *, keep: int = 0, publish: bool = True) -> None:
        self._output, self._keep, self._publish = output, keep, publish
        self.kept: list[str] = []

    def __enter__(self) -> Self:
        if not isinstance(self._output, Path):
            self._stream = self._output
            return self
        part = part_path(self._output)
        with writing(self._output):
            if self._keep:
                self.kept = part.read_text().splitlines(keepends=True)[: self._keep]
            self._stream = part.open("w")
            self._stream.writelines(self.kept)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if not isinstance(self._output, Path):
            return
        if error is not None:
            with suppress(OSError):  # what a full disk refused is tried again
                self._stream.close()
            return
        with writing(self._output):
            self._stream.close()
            if self._publish:
                publish(self._output)

    def write(self, content: Any) -> None:
        """Append a line of JSON."""
        self.write_text(json.dumps(content))

    def write_text(self, line: str) -> None:
        """Append a line."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            raise VideoError(f"cannot write lines ({error.strerror}): see why they are not taken") from error


class FrameLines(Sink):
    """A line of JSON per frame: its name, its time and each class's share of the pixels, also in each of the zones."""

    def __init__(
        self, output: Path | TextIO, label_set: LabelSet, *, keep: int = 0, zones: Zones | None = None
    ) -> None:
        self._file = LineFile(output, keep=keep)
        super().__init__(self._file)
        self._label_set, self._zones = label_set, zones

    def write(self, seen: Labelled) -> None:
        line = {
            "frame": seen.frame.name,
            "pts": seen.frame.pts,
            "seconds": round(float(seen.frame.time), 6),
            "shares": self._shares(seen.labels),
        }
        if self._zones:
            line["zones"] = {name: self._shares(part) for name, part in self._zones.parts(seen.labels)}
        self._file.write(line)

    def _shares(self, labels: np.ndarray) -> dict[str, float]:
        return shares_by_name(pixels_of(labels, len(self._label_set)), self._label_set)


@dataclass(frozen=True)
class Shares:
    """Class shares of a part of the picture."""

    total: dict[str, float] | None
    """Each class's share of the pixels, from 0 to 1; None where those of an interrupted run are unknown."""
    over_time: tuple[tuple[int, dict[str, float]], ...]
    """(second of the source, the shares of that second)."""

    def as_json(self) -> dict[str, Any]:
        """The shares as JSON can hold them."""
        over_time = [{"second": second, "shares": shares} for second, shares in self.over_time]
        return {"class_shares": self.total, "class_shares_per_second": over_time}


class ClassShares(Sink):
    """Each class's share of the pixels, summed second by second of the source's time.

    Args:
        label_set: the classes.
        record: an output whose part has the pixel counts of each frame, so that an interrupted run can be continued;
            the caller replaces the part.
        keep: how many frames the part holds from an interrupted run.
        zones: parts of the picture that are counted, too.
    """

    def __init__(
        self, label_set: LabelSet, record: Path | None = None, *, keep: int = 0, zones: Zones | None = None
    ) -> None:
        self._record = None if record is None else LineFile(record, keep=keep, publish=False)
        super().__init__(self._record)
        self._label_set, self._zones = label_set, zones
        self._pixels: dict[int, np.ndarray] = {}  # by second, (parts, classes + 1)
        self._complete = record is not None or not keep

    def __enter__(self) -> Self:
        super().__enter__()
        for line in self._record.kept if self._record else ():
            second, pixels = json.loads(line)
            self._add(second, np.array(pixels))
        return self

    def write(self, seen: Labelled) -> None:
        parts = [seen.labels, *(part for _, part in self._zones.parts(seen.labels))] if self._zones else [seen.labels]
        second, pixels = int(seen.frame.time // 1), np.stack([pixels_of(part, len(self._label_set)) for part in parts])
        self._add(second, pixels)
        if self._record:
            self._record.write([second, pixels.tolist()])

    def by_part(self) -> dict[str, Shares]:
        """Of the picture, `WHOLE`, and of each zone; nothing where those of an interrupted run are unknown."""
        names = [WHOLE, *(self._zones.names if self._zones else ())] if self._complete else []
        total = sum(self._pixels.values(), np.zeros((len(names), len(self._label_set) + 1), np.int64))
        return {
            name: Shares(
                shares_by_name(total[row], self._label_set),
                tuple((at, shares_by_name(self._pixels[at][row], self._label_set)) for at in sorted(self._pixels)),
            )
            for row, name in enumerate(names)
        }

    def _add(self, second: int, pixels: np.ndarray) -> None:
        self._pixels[second] = self._pixels.get(second, 0) + pixels


def pixels_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes + 1,) int64 numbers of pixels in (H, W) uint8 class ids, at the end of those that are of no class."""
    counts = Image.fromarray(labels).histogram()
    return np.array([*counts[:classes], sum(counts[classes:])], np.int64)


def shares_by_name(pixels: np.ndarray, label_set: LabelSet) -> dict[str, float]:
    """Counts of `pixels_of` -> each class's share to a millionth; they add up to 1 if every pixel is of a class."""
    shares = pixels[:-1] / max(1, int(pixels.sum()))
    return {name: round(float(share), 6) for name, share in zip(label_set.names, shares, strict=True)}
