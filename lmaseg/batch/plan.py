"""Cutting a source into chunks."""

import math
from dataclasses import dataclass
from enum import StrEnum

from lmaseg.job import Job
from lmaseg.segmentation import open_reader
from lmaseg.unfinished import identify

MOST_CHUNKS = 10_000  # of one source: what declares to be longer is cut into longer ones
FROM_START = 4  # chunks at most where each decodes all that comes before it
LEAST_REST = 0.25  # of a chunk: a shorter rest goes with the chunk before it


class Mode(StrEnum):
    """How chunks of a source are read, from the fastest way to the safest."""

    SEEK = "seek"
    """Decoding begins at a keyframe before the chunk."""
    START = "start"
    """Decoding begins with the source: for what differs when it is entered in the middle."""
    WHOLE = "whole"
    """One chunk."""

    @property
    def stricter(self) -> "Mode | None":
        """The next one to try; None after the last."""
        order = list(Mode)
        return order[order.index(self) + 1] if self is not order[-1] else None


@dataclass(frozen=True)
class Plan:
    """The identity of a source, and how it is cut."""

    identity: str
    mode: Mode = Mode.SEEK
    chunks: int = 1
    seconds: float = 0.0
    """Length of a chunk; the first one has no start, the last one no end."""
    frames: int = 0
    """Expected number of frames of the whole source; 0 if unknown."""

    def span(self, index: int) -> tuple[float | None, float | None]:
        """(start, end) of a chunk in seconds after the source's start; None where it is open."""
        last = index == self.chunks - 1
        return index * self.seconds if index else None, None if last else (index + 1) * self.seconds


@dataclass(frozen=True)
class PlanTask:
    """Look at a source; cut it anew, into chunks of `seconds`, unless it is the one `known`."""

    job: Job
    seconds: float
    mode: Mode = Mode.SEEK
    known: Plan | None = None

    def run(self) -> Plan:
        """Raises VideoError if the source cannot be read."""
        identity = identify(self.job.source)
        if self.known is not None and self.known.identity == identity:
            return self.known
        with open_reader(self.job) as reader:
            first = next(iter(reader))
            frames = reader.frames or 0
            duration = float(frames / reader.rate)
        # Times before 0 are moved up by the video's writer, which must then see all of them.
        mode = Mode.WHOLE if first.pts < 0 else self.mode
        count = _count(duration, self.seconds, mode)
        seconds = duration / count if mode is Mode.START or count == MOST_CHUNKS else self.seconds
        return Plan(identity, mode, count, seconds, frames)


def _count(duration: float, seconds: float, mode: Mode) -> int:
    if mode is Mode.WHOLE or not math.isfinite(duration):
        return 1
    most = FROM_START if mode is Mode.START else MOST_CHUNKS
    return min(most, max(1, math.ceil(duration / seconds - LEAST_REST)))
