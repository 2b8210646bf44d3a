"""The record of a job: a line of JSON for every event, appended to one file."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmaseg.batch.chunk import ChunkResult
from lmaseg.batch.plan import Plan
from lmaseg.errors import BatchError

NAME = "manifest.jsonl"


class Manifest(AbstractContextManager["Manifest"]):
    """The file DIR/manifest.jsonl, open for appending; a context manager.

    A line is written by one system call. A line that a crash or a full disk cut short is passed over in reading, and
    the next one begins anew.

    Raises:
        BatchError: it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":  # a torn line
                os.write(self._file, b"\n")
        except OSError as error:
            raise BatchError(f"{self.path} cannot be written ({error.strerror}): give another folder") from error

    def __exit__(self, *exception: object) -> None:
        os.close(self._file)

    def append(self, *, durable: bool = True, **record: Any) -> None:
        """Add a line; when this returns it outlives the process and, if `durable`, the machine."""
        line = json.dumps({"time": round(time.time(), 3), **record}).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(0, "no space left")
            if durable:
                os.fsync(self._file)
        except OSError as error:
            raise BatchError(f"{self.path} takes no more ({error.strerror}): make room, then try again") from error


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a folder's manifest, oldest first; none if there is no manifest."""
    path = folder / NAME
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
    except OSError as error:
        raise BatchError(f"{path} cannot be read ({error.strerror}): check its permissions") from error


@dataclass
class SourceHistory:
    """The records of one source since its last plan."""

    key: str = ""
    plan: Plan | None = None
    done: bool = False
    frames: int = 0
    error: str | None = None
    results: dict[int, ChunkResult] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    """Attempts started so far, by chunk."""
    errors: dict[int, str] = field(default_factory=dict)
    """Errors of chunks whose last attempt failed."""

    @property
    def running(self) -> int:
        """Chunks begun and, as far as is known, not ended."""
        return len(self.attempts.keys() - self.results.keys() - self.errors.keys())


def history(folder: Path) -> dict[str, SourceHistory]:
    """The records of each source, by name."""
    pasts: dict[str, SourceHistory] = {}
    for record in records(folder):
        name = record.get("source")
        if isinstance(name, str):
            with suppress(KeyError, TypeError, ValueError):  # a line of another version
                _take_in(pasts.setdefault(name, SourceHistory()), record)
    return pasts


def _take_in(past: SourceHistory, record: dict[str, Any]) -> None:
    state, chunk = record["state"], record.get("chunk")
    if state == "planned":
        past.__dict__.update(SourceHistory(record["key"], Plan(**record["plan"])).__dict__)
    elif isinstance(chunk, int):
        _take_in_chunk(past, chunk, state, record)
    elif state in ("done", "failed"):
        past.done |= state == "done"
        past.error = record["error"] if state == "failed" else None
        past.frames = record.get("frames", past.frames)


def _take_in_chunk(past: SourceHistory, chunk: int, state: str, record: dict[str, Any]) -> None:
    past.errors.pop(chunk, None)
    if state == "started":
        past.attempts[chunk] = record["attempt"]
    elif state == "done":
        told = record["result"]
        seen = {key: [(pts, crc) for pts, crc in told[key]] for key in ("before", "tail")}
        past.results[chunk] = ChunkResult(**{**told, **seen})
    else:
        past.errors[chunk] = record["error"]
