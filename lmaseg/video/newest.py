"""Keeping up with a live source by skipping what came while the last frame was in use."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Newest(Generic[Item]):
    """The latest of what an iterable yields, taken from it on a thread as fast as it comes.

    `merge` makes the item to yield of a dropped one and its successor; `dropped` counts those never taken.
    """

    def __init__(self, items: Iterable[Item], merge: Callable[[Item, Item], Item]) -> None:
        self.dropped = 0
        self._items, self._merge = items, merge
        self._waiting: list[Item] = []  # one at most
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fetch, name="newest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                item = self._waiting.pop()
            yield item
        if self._error is not None:
            raise self._error

    def close(self, timeout: float) -> bool:
        """Stop fetching; whether the thread ended within that many seconds, else `items` is still in use."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _fetch(self) -> None:
        try:
            for item in self._items:
                if not self._offer(item):
                    return
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _offer(self, item: Item) -> bool:
        """Put an item in the place of one not yet taken; whether more are wanted."""
        with self._changed:
            if self._waiting:
                item = self._merge(self._waiting.pop(), item)
                self.dropped += 1
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._ended
