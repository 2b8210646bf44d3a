"""One writer at a time: a file beside an output, or in a folder of outputs, that is locked while they are written."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

from lmaseg.errors import VideoError
from lmaseg.paths import writing

SILENCE = 120.0  # seconds after which a writer on another machine counts as dead
BEAT = 15.0  # seconds between signs of life


class Lock:
    """A lock held from entering to leaving; its file says who holds it, and holds a note for the next holder.

    The system frees the lock of a process that dies. A disk shared by machines may not pass locks on: there, a holder
    on another machine counts as dead when it has given no sign of life (`beat`) for a while. Raises VideoError if
    another process holds it, or its file cannot be written.

    Args:
        path: the lock's file.
        target: what is written meanwhile, for messages.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self.note: Any = None
        self._last_beat = 0.0

    def __enter__(self) -> Self:
        with writing(self._target):
            locked = self._open()
        holder = self._content()
        elsewhere = holder.get("host") not in (None, socket.gethostname())
        if not locked or (elsewhere and time.time() - os.fstat(self._file).st_mtime < SILENCE):
            os.close(self._file)
            who = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'this machine')}"
            raise VideoError(f"{self._target} is being written by {who}: wait for it, or write elsewhere")
        self.note = holder.get("note")
        self._write(pid=os.getpid(), host=socket.gethostname())
        return self

    def __exit__(self, *exception: object) -> None:
        self._write()
        os.close(self._file)

    def write_note(self, note: Any) -> None:
        """Store a note, which must fit into JSON, for the next holder of the lock."""
        self.note = note
        with writing(self._target):
            self._write(pid=os.getpid(), host=socket.gethostname())

    def remove(self) -> None:
        """Remove the file with its note; call it while the lock is held."""
        self.path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Give a sign of life now and then."""
        if time.monotonic() - self._last_beat > BEAT:
            self._last_beat = time.monotonic()
            os.utime(self._file)

    def _open(self) -> bool:
        """Open the file and lock it; returns whether nobody else holds it."""
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            if not self._locked():
                return False
            if self.path.exists() and os.path.samestat(os.fstat(self._file), self.path.stat()):
                return True
            os.close(self._file)  # its last holder took the file away meanwhile

    def _locked(self) -> bool:
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a disk without locks: signs of life must do
            return True
        return True

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(os.pread(self._file, os.fstat(self._file).st_size, 0))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, **holder: Any) -> None:
        content = {**holder, **({} if self.note is None else {"note": self.note})}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(content, indent=2).encode() if content else b"", 0)
