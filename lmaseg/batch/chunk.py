"""One chunk of a source: its computation, and what proves that it fits its neighbours."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from lmaseg.batch.making import Making, make_view, make_writer, open_chunk
from lmaseg.batch.plan import Mode
from lmaseg.batch.sources import Source
from lmaseg.datasets.cityscapes import written_ids
from lmaseg.errors import BatchError, NoFrameError
from lmaseg.images import ImageReader
from lmaseg.maps import LabelMapWriter
from lmaseg.pipeline import segment_video
from lmaseg.sinks import LabelMaps, OverlayVideo, Sink
from lmaseg.stream import Segmenter
from lmaseg.video import Frame, VideoReader

Seen = list[tuple[int, int]]
"""Frames told by (pts, CRC-32 of the RGB picture), in order."""


@dataclass(frozen=True)
class Chunk:
    """A part of a source to be segmented: a task that any worker can do."""

    source: Source
    making: Making
    folder: str
    """For the outputs."""
    index: int
    start: float | None
    """Seconds after the source's start; None is its beginning."""
    end: float | None
    """Seconds; None is its end."""
    mode: Mode = Mode.SEEK
    attempt: int = 1
    """Outputs are named after it, so that a worker that was given up too early spoils nothing."""

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its source."""
        return self.start is None and self.end is None


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk."""

    frames: int
    warm_up: int
    """Frames it was to warm up on."""
    before: Seen
    """Those it did."""
    tail: Seen
    """Its last frames, as many as a neighbour warms up on."""
    damaged: int = 0
    """Packets lost and frames decoded with errors while it was read."""
    seconds: float = 0.0
    model_seconds: float = 0.0
    video: str | None = None
    """Its part of the video, in the folder; None if there is none."""
    maps: str | None = None
    """Its label maps, in the folder."""


def warm_up_of(memory_frames: int) -> int:
    """Frames read before a chunk: what the network remembers, and at least the one that tells a cut."""
    return max(1, memory_frames)


def run_chunk(
    chunk: Chunk,
    segmenter: Segmenter,
    *,
    stop: Event | None = None,
    on_frames: Callable[[int], None] = lambda frames: None,
) -> ChunkResult:
    """Segment a chunk into its folder; outputs appear under their names when they are complete.

    Args:
        chunk: what to do.
        segmenter: of the chunk's `making`; its memory is emptied first.
        stop: when set, the chunk is given up after the frame in hand.
        on_frames: told now and then how many frames are done.

    Raises:
        VideoError: the source cannot be read, or the outputs cannot be written.
        BatchError: stopped.
    """
    began = time.monotonic()
    segmenter.reset()
    warm_up = warm_up_of(segmenter.memory.frames)
    part = {"start": chunk.start, "end": chunk.end, "warm_up": warm_up, "seek": chunk.mode is Mode.SEEK}
    try:
        reader = open_chunk(chunk.source, chunk.making, **part)
    except NoFrameError:
        return ChunkResult(0, warm_up, [], [])
    with reader:
        watched = Watched(reader, warm_up)
        Path(chunk.folder).mkdir(parents=True, exist_ok=True)
        outputs = _Outputs(chunk)
        sinks = outputs.open(reader, segmenter)
        cuts = chunk.making.reset_at_cuts
        for progress in segment_video(watched, segmenter, sinks, reset_at_cuts=cuts, stop=stop):
            on_frames(progress.frames)
        if progress.stopped:
            raise BatchError("interrupted")
        return ChunkResult(
            progress.frames,
            warm_up,
            watched.before,
            watched.tail(),
            reader.damaged,
            round(time.monotonic() - began, 3),
            round(progress.model_seconds, 3),
            outputs.video,
            outputs.maps,
        )


def disagreement(results: Sequence[ChunkResult]) -> str | None:
    """Why successive chunks do not make up the whole, or None if they do.

    What a chunk warmed up on must be what those before it ended with, to the tick and to the pixel: then it was
    decoded, timed and counted as in one pass from the beginning.
    """
    past: Seen = []
    for index, result in enumerate(results):
        if result.frames and result.before != past:
            return f"chunk {index} does not go on where the one before it ends"
        past = [*past, *result.tail][-result.warm_up :]
    return None


class Watched:
    """A reader's frames, with what tells those at both ends of them."""

    def __init__(self, reader: VideoReader | ImageReader, warm_up: int) -> None:
        self._reader = reader
        self.frames = reader.frames
        self.before: Seen = []
        self._last: deque[Frame] = deque(maxlen=warm_up)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._reader:
            if frame.warm_up:
                self.before.append(_seen(frame))
            else:
                self._last.append(frame)
            yield frame

    def stop(self) -> None:
        """As the reader does."""
        self._reader.stop()

    def tail(self) -> Seen:
        """The last frames, when all have come."""
        return [_seen(frame) for frame in self._last]


class _Outputs:
    """The files a chunk becomes."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        name = f"{chunk.index:05d}-{chunk.attempt}"
        self.video = f"{name}.mp4" if chunk.making.video else None
        self.maps = name if chunk.making.labels else None

    def open(self, reader: VideoReader | ImageReader, segmenter: Segmenter) -> list[Sink]:
        making, folder, label_set = self._chunk.making, Path(self._chunk.folder), segmenter.net.labels
        sinks: list[Sink] = []
        if self.video:
            view = make_view(making, label_set)
            copy_from = self._chunk.source.path if self._chunk.is_whole else None
            size = view.size(reader.width, reader.height)
            writer = make_writer(folder / self.video, reader, size, making, copy_from=copy_from)
            sinks.append(OverlayVideo(writer, view))
        if self.maps:
            table, shown_as = written_ids(label_set, making.ids)
            sinks.append(LabelMaps(LabelMapWriter(folder / self.maps, shown_as, overwrite=True), table))
        return sinks


def _seen(frame: Frame) -> tuple[int, int]:
    return frame.pts, zlib.crc32(np.ascontiguousarray(frame.image).data)
