"""Ctrl-C and SIGTERM as a request to stop after the current frame."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from lmaseg.cli.console import say

INTERRUPTED = 130
PATIENCE = 0.1  # seconds between looks at whether a signal came

Result = TypeVar("Result")


def unless_interrupted(work: Callable[[], Result]) -> Result:
    """Call `work` so that Ctrl-C ends the process at once; returns what it returns.

    It runs on a thread of its own: Python sees no signal in the one that waits for an address, a camera or a pipe.
    """
    done = ThreadPoolExecutor(1).submit(work)
    try:
        while not done.done():
            wait([done], PATIENCE)
    except KeyboardInterrupt:
        say("interrupted")
        os._exit(INTERRUPTED)  # an ordinary exit might wait for the thread
    return done.result()


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the second signal ends the process at once."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
