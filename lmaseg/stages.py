"""Stages that run side by side, each on its own thread, joined by bounded queues."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

QUEUE_LENGTH = 4  # items between two stages: enough to even out, bounded however long the run
PATIENCE = 0.1  # seconds between looks at whether another stage has failed

T = TypeVar("T")


class _Aborted(Exception):  # noqa: N818 - not an error, a way out
    """The run has failed elsewhere: leave quietly."""


class Stages:
    """The threads of one run. The first exception in any of them ends them all and is the one reported.

    `release` is called when they end early, to wake a stage that waits for something other than its queues.
    """

    def __init__(self, release: Callable[[], None] = lambda: None) -> None:
        self._release = release
        self._threads: list[threading.Thread] = []
        self._abort = threading.Event()
        self._error: BaseException | None = None

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` on a thread of its own."""
        thread = threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> Iterator[None]:
        """Yield now and then until every stage has ended, then raise what one of them raised, if any did."""
        try:
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(PATIENCE)
                    yield
        finally:
            self._end()
            for thread in self._threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def channel(self) -> "Channel[T]":
        """A queue between two of these stages."""
        return Channel(self._abort)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Aborted:
            pass
        except BaseException as error:
            if not self._abort.is_set():
                self._error = error
            self._end()

    def _end(self) -> None:
        self._abort.set()
        self._release()


class Channel(Generic[T]):
    """A bounded queue; neither end waits for the other once the run has failed."""

    def __init__(self, abort: threading.Event) -> None:
        self._abort = abort
        self._queue: queue.Queue[T | None] = queue.Queue(QUEUE_LENGTH)

    def put(self, item: T | None) -> None:
        """Hand an item on, waiting while the queue is full."""
        while not self._abort.is_set():
            try:
                return self._queue.put(item, timeout=PATIENCE)
            except queue.Full:
                continue
        raise _Aborted

    def close(self) -> None:
        """Mark the end: the reader's loop ends after the items in the queue."""
        self.put(None)

    def __iter__(self) -> Iterator[T]:
        while not self._abort.is_set():
            try:
                item = self._queue.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item
        raise _Aborted
