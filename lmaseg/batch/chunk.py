"""One chunk of a source: its computation, and the check that it fits its neighbours."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np

from lmaseg.errors import BatchError, NoFrameError
from lmaseg.job import Job
from lmaseg.segmentation import open_reader, run_job
from lmaseg.stream import Segmenter
from lmaseg.video import Frame

SUFFIX = ".mp4"  # of the videos of a batch and of their chunks

Marks = list[tuple[int, int]]
"""Frames identified by (pts, CRC-32 of the RGB picture), in order."""


@dataclass(frozen=True)
class Chunk:
    """A part of a source to be segmented: a task that any worker can do."""

    job: Job
    """The job of the whole source."""
    folder: str
    """The folder for the outputs."""
    index: int
    start: float | None
    """Seconds after the source's start; None is its beginning."""
    end: float | None
    """Seconds; None is its end."""
    attempt: int = 1
    """Part of the names of its outputs, so that a worker that was given up too early cannot overwrite them."""

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its source."""
        return self.start is None and self.end is None

    @property
    def part(self) -> Job:
        """The job of this part alone."""
        output = Path(self.folder) / f"{self.index:05d}-{self.attempt}"
        return replace(
            self.job,
            start=self.start,
            end=self.end,
            video=output.with_suffix(SUFFIX) if self.job.video else None,
            maps=output if self.job.maps else None,
            sound=self.job.sound and self.is_whole,  # otherwise it is copied when the chunks are joined
        )


@dataclass(frozen=True)
class ChunkResult:
    """The outcome of a chunk."""

    frames: int
    warm_up: int
    """Number of frames it should warm up on."""
    before: Marks
    """The frames it did warm up on."""
    tail: Marks
    """Its last frames, as many as a neighbour warms up on."""
    damaged: int = 0
    """Packets lost and frames decoded with errors while it was read."""
    seconds: float = 0.0
    model_seconds: float = 0.0
    video: str | None = None
    """Its part of the video, in the folder; None if there is none."""
    maps: str | None = None
    """Its label maps, in the folder."""


def run_chunk(
    chunk: Chunk,
    segmenter: Segmenter,
    *,
    stop: Event | None = None,
    on_frames: Callable[[int], None] = lambda frames: None,
) -> ChunkResult:
    """Segment a chunk into its folder; outputs appear under their names when they are complete.

    Args:
        segmenter: of the chunk's job; its memory is emptied first.
        stop: when set, the chunk is given up after the frame in hand.
        on_frames: called now and then with the number of frames done.

    Raises:
        VideoError: the source cannot be read, or the outputs cannot be written.
        BatchError: stopped.
    """
    began = time.monotonic()
    warm_up = max(1, segmenter.memory.frames)  # one at least, to detect a cut
    job, ends = chunk.part, Ends(warm_up)
    try:
        reader = open_reader(job, segmenter.memory, warm_up=warm_up)
    except NoFrameError:
        return ChunkResult(0, warm_up, [], [])
    with reader:
        Path(chunk.folder).mkdir(parents=True, exist_ok=True)
        report = run_job(
            job,
            segmenter=segmenter,
            reader=reader,
            overwrite=True,
            stop=stop,
            watch=lambda progress: on_frames(progress.frames),
            observe=ends.observe,
        )
    if not report.complete:
        raise BatchError("interrupted")
    return ChunkResult(
        report.frames,
        warm_up,
        ends.before(),
        ends.tail(),
        report.damaged,
        round(time.monotonic() - began, 3),
        round(report.model_seconds, 3),
        job.video.name if job.video else None,
        job.maps.name if job.maps else None,
    )


def disagreement(results: Sequence[ChunkResult]) -> str | None:
    """Why successive chunks do not make up the whole, or None if they do.

    What a chunk warmed up on must be what those before it ended with, to the tick and to the pixel: then it was
    decoded, timed and counted as in one pass from the beginning.
    """
    past: Marks = []
    for index, result in enumerate(results):
        if result.frames and result.before != past:
            return f"chunk {index} does not go on where the one before it ends"
        past = [*past, *result.tail][-result.warm_up :]
    return None


class Ends:
    """Identifies the frames at both ends of a chunk: those it warms up on, `before`, and as many at its end."""

    def __init__(self, warm_up: int) -> None:
        self._before: deque[Frame] = deque(maxlen=warm_up)
        self._last: deque[Frame] = deque(maxlen=warm_up)

    def observe(self, frame: Frame) -> None:
        """Take the next frame in."""
        (self._before if frame.warm_up else self._last).append(frame)

    def before(self) -> Marks:
        """The last frames that were to warm up, when all have come."""
        return [_mark(frame) for frame in self._before]

    def tail(self) -> Marks:
        """The last frames, when all have come."""
        return [_mark(frame) for frame in self._last]


def _mark(frame: Frame) -> tuple[int, int]:
    return frame.pts, zlib.crc32(np.ascontiguousarray(frame.image).data)
