"""Short clips of ever new procedural streets, drawn where they are asked for or by background processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lmaseg.datasets.street import street_clip
from lmaseg.errors import LmasegError

Bytes = NDArray[np.uint8]

LATEST_START = 600.0  # seconds into the drive


@dataclass(frozen=True)
class StreetClips:
    """An endless numbered series of clips, each of a street of its own; the number alone decides a clip's content."""

    seed: int
    frames: int
    """Per clip: neighbours in time, at an even rate."""
    rates: tuple[float, float]
    """Range of the frames per second: about 1 for separate views, 10 to 30 for video."""
    size: tuple[int, int]
    """Height and width in pixels."""

    def draw(self, number: int) -> tuple[Bytes, Bytes]:
        """Images (frames, H, W, 3) RGB and labels (frames, H, W) CamVid class ids of one clip."""
        rng = np.random.default_rng((self.seed, number))
        street = int(rng.integers(2**31))
        fps, start = rng.uniform(*self.rates), rng.uniform(0, LATEST_START)
        height, width = self.size
        frames = street_clip(street, frames=self.frames, fps=fps, height=height, width=width, start=start)
        images, labels = zip(*frames, strict=True)
        return np.stack(images), np.stack(labels)


class StreetPainters:
    """Background processes that draw the clips of a series in the order of their numbers, a few ahead of the demand.

    Args:
        clips: the series.
        workers: processes; they are started afresh (spawn), never forked.
        first: the number to begin with.
    """

    def __init__(self, clips: StreetClips, workers: int, *, first: int = 0) -> None:
        self._clips, self._next, self._ahead = clips, first, 2 * workers
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker)
        self._drawn: deque[Future[tuple[Bytes, Bytes]]] = deque()
        self._order()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take_if_ready(self) -> tuple[Bytes, Bytes] | None:
        """The next clip of the series, None while it is being drawn; raises as `take` does."""
        return self.take() if self._drawn[0].done() else None

    def take(self) -> tuple[Bytes, Bytes]:
        """The next clip of the series, when it is drawn.

        Raises:
            LmasegError: a process died.
        """
        try:
            clip = self._drawn.popleft().result()
        except BrokenProcessPool as error:
            raise LmasegError("a process that draws streets died: free some memory or use --workers 0") from error
        self._order()
        return clip

    def _order(self) -> None:
        while len(self._drawn) < self._ahead:
            self._drawn.append(self._pool.submit(self._clips.draw, self._next))
            self._next += 1


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
