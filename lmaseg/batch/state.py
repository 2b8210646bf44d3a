"""Where a batch stands: its sources, the tasks under way, and the figures that are shown."""

from dataclasses import dataclass, field, replace

from lmaseg.batch.chunk import Chunk
from lmaseg.batch.executor import Task
from lmaseg.batch.join import Join
from lmaseg.batch.manifest import SourceHistory
from lmaseg.batch.plan import PlanTask
from lmaseg.job import Job


@dataclass
class SourceState:
    """A source of a job that runs."""

    name: str
    """The name of its outputs."""
    job: Job
    past: SourceHistory
    """Its records in the manifest."""
    error: str | None = None
    """Why it failed."""
    done: bool = False
    found_done: bool = False
    """Before this start of the job."""
    open_chunks: int = 0
    frames_left: int = 0
    """Expected number of frames that are yet to come."""
    warnings: list[str] = field(default_factory=list)


@dataclass
class Assignment:
    """A task with its failures in this start of the job."""

    task: Task
    state: SourceState
    failures: int = 0
    avoid: set[str] = field(default_factory=set)
    """Workers that failed at it."""

    @property
    def urgency(self) -> int:
        """0 goes first: joins, so that outputs appear early, then plans, so that the time left can be estimated."""
        return {Join: 0, PlanTask: 1, Chunk: 2}[type(self.task)]

    @property
    def is_stale(self) -> bool:
        """Whether it is a chunk of a source that was cut anew meanwhile."""
        plan = self.state.past.plan
        return isinstance(self.task, Chunk) and (plan is None or self.task.is_whole != (plan.chunks == 1))

    def fail(self, worker: str) -> None:
        """Make ready for another attempt, whose outputs have names of their own."""
        self.failures += 1
        self.avoid.add(worker)
        if isinstance(self.task, Chunk):
            self.task = replace(self.task, attempt=self.task.attempt + 1)


@dataclass
class BatchProgress:
    """Where a job stands, counted as it happens: going over all sources for each look would cost more than the work.

    Sources are looked at, then done or failed. Chunks and frames left are those of the sources looked at.
    """

    sources: int
    sources_looked_at: int = 0
    sources_done: int = 0
    sources_failed: int = 0
    chunks: int = 0
    chunks_done: int = 0
    frames: int = 0
    """Segmented since this start of the job."""
    frames_left: int = 0
    """Expected number of frames that are yet to come."""
    retries: int = 0
    workers: int = 0
    """Running workers."""
    seconds: float = 0.0
    """Seconds since this start of the job."""

    def set_left(self, state: SourceState, frames: int) -> None:
        """Set how many frames of a source are yet to come."""
        self.frames_left += max(0, frames) - state.frames_left
        state.frames_left = max(0, frames)

    def now(self, workers: int, seconds: float, under_way: int) -> "BatchProgress":
        """A copy as it is shown, with the frames that chunks under way have done."""
        frames, left = self.frames + under_way, max(0, self.frames_left - under_way)
        return replace(self, frames=frames, frames_left=left, workers=workers, seconds=seconds)
