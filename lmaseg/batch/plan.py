"""Cutting a source into chunks."""

import math
from dataclasses import dataclass

from lmaseg.job import Job
from lmaseg.segmentation import open_reader
from lmaseg.unfinished import identify

MOST_CHUNKS = 10_000  # of one source: what declares to be longer is cut into longer ones
LEAST_REST = 0.25  # of a chunk: a shorter rest goes with the chunk before it


@dataclass(frozen=True)
class Plan:
    """The identity of a source, and how it is cut."""

    identity: str
    whole: bool = False
    """Whether it must be read in one piece."""
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
    """Look at a source; cut it anew, into chunks of `seconds` or not at all (`whole`), unless it is the one `known`."""

    job: Job
    seconds: float
    whole: bool = False
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
        whole = self.whole or first.pts < 0
        count = 1 if whole or not math.isfinite(duration) else math.ceil(duration / self.seconds - LEAST_REST)
        count = min(MOST_CHUNKS, max(1, count))
        return Plan(identity, whole, count, duration / count if count == MOST_CHUNKS else self.seconds, frames)
