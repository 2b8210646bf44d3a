"""One job at a time in one folder."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Self

from lmaseg.errors import BatchError

NAME = ".lock"
SILENCE = 120.0  # seconds after which a driver on another machine counts as dead
BEAT = 15.0  # seconds between signs of life


class Lock:
    """Held from entering to leaving; the file DIR/.lock says by whom.

    A process that dies gives it up: the system sees to that on its own machine, and elsewhere, where a disk shared by
    machines may not pass locks on, the signs of life (`beat`) that fail to come.

    Raises:
        BatchError: another job holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._last_beat = 0.0

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        holder = self._holder()
        elsewhere = holder.get("host") not in (None, socket.gethostname())
        if not self._locked() or (elsewhere and time.time() - os.fstat(self._file).st_mtime < SILENCE):
            os.close(self._file)
            raise BatchError(
                f"{self._path.parent} is being written by process {holder.get('pid', 'unknown')} on "
                f"{holder.get('host', 'this machine')}: wait for it, or look on with --status"
            )
        self._write({"pid": os.getpid(), "host": socket.gethostname()})
        return self

    def __exit__(self, *exception: object) -> None:
        self._write({})
        os.close(self._file)

    def beat(self) -> None:
        """Give a sign of life now and then."""
        if time.monotonic() - self._last_beat > BEAT:
            self._last_beat = time.monotonic()
            os.utime(self._file)

    def _locked(self) -> bool:
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _holder(self) -> dict[str, object]:
        try:
            told = json.loads(os.pread(self._file, 4096, 0))
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}

    def _write(self, told: dict[str, object]) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(told).encode() if told else b"", 0)
