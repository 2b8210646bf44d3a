"""What the scheduler needs of workers, wherever they are; and a worker in this process."""

import errno
import os
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from lmaseg.batch.chunk import Chunk, run_chunk
from lmaseg.batch.join import Join
from lmaseg.batch.plan import PlanTask
from lmaseg.errors import LmasegError
from lmaseg.segmentation import make_segmenter
from lmaseg.stream import Segmenter

Task = PlanTask | Chunk | Join
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Failure:
    """Why a task was not done, in words."""

    message: str
    disk_full: bool = False
    """Other workers would fail, too."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task."""

    worker: str
    task: Task
    result: Any
    """What its `run` returned, or a `Failure`."""


class Executor(Protocol):
    """Workers that take a task each."""

    workers: int
    """How many there are to be."""

    def alive(self) -> Sequence[str]:
        """Names of the running workers, busy or not; a restarted worker has a new name."""

    def idle(self) -> Sequence[str]:
        """Names of those that wait for a task."""

    def submit(self, worker: str, task: Task) -> None:
        """Give an idle worker a task."""

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """Tasks that have ended since, after waiting that long for one at most."""

    def under_way(self) -> int:
        """Frames done of chunks that are not, as far as is known."""

    def close(self, *, at_once: bool) -> None:
        """Stop the workers; with `at_once`, without waiting for their tasks."""


class Worker:
    """Does one task after the other; loads the network with its first chunk.

    `threads` are the network's on a CPU (None: torch's choice; more or fewer change labels by rounding),
    `module_folder` is where modules that build a network may be imported from.
    """

    def __init__(self, threads: int | None = None, module_folder: str | None = None) -> None:
        if threads:
            torch.set_num_threads(threads)
        if module_folder and module_folder not in sys.path:
            sys.path.append(module_folder)  # last, so that it hides nothing
        self._segmenter: Segmenter | None = None
        self.stop = threading.Event()
        self.frames = 0
        """Done of the chunk in hand."""

    def where(self) -> str:
        """This worker's machine and process."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def run(self, task: Task) -> Any:
        """What the task returned, or a `Failure`: no exception leaves a worker."""
        try:
            if not isinstance(task, Chunk):
                return task.run()
            self._segmenter = self._segmenter or make_segmenter(task.job)
            return run_chunk(task, self._segmenter, stop=self.stop, on_frames=self._count)
        except LmasegError as error:
            return Failure(str(error), _is_full(error))
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}", _is_full(error))
        finally:
            self.frames = 0

    def _count(self, frames: int) -> None:
        self.frames = frames


class InProcess:
    """One worker, a thread of this process."""

    workers = 1
    NAME = "here"

    def __init__(self, threads: int | None = None, module_folder: str | None = None) -> None:
        self._worker = Worker(threads, module_folder)
        self._thread = ThreadPoolExecutor(1)
        self._under_way: tuple[Task, Future[Any]] | None = None

    def alive(self) -> Sequence[str]:
        return [self.NAME]

    def idle(self) -> Sequence[str]:
        return [] if self._under_way else [self.NAME]

    def submit(self, worker: str, task: Task) -> None:
        self._under_way = task, self._thread.submit(self._worker.run, task)

    def wait(self, seconds: float) -> Sequence[Outcome]:
        if not self._under_way or not wait([self._under_way[1]], seconds).done:
            return []
        (task, result), self._under_way = self._under_way, None
        return [Outcome(self.NAME, task, result.result())]

    def under_way(self) -> int:
        return self._worker.frames

    def close(self, *, at_once: bool) -> None:
        if at_once:
            self._worker.stop.set()
        self._thread.shutdown()


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        error = error.__cause__
    return False
