"""The unfinished outputs of interrupted runs, and the locks that keep two runs from writing one output."""

import hashlib
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from lmaseg.errors import VideoError
from lmaseg.images import find_images, is_image_source
from lmaseg.job import OUTPUTS, Job, json_like
from lmaseg.lock import Lock
from lmaseg.paths import behind_link, beside, part_path
from lmaseg.video.unfinished import resume_points

HEAD = 1 << 20  # bytes at a file's beginning that identify it together with its size


def identify(source: str) -> str:
    """What tells the content of a source from another: its size in bytes and the SHA-256 of its first MiB; of images of
    all their names and sizes. Raises VideoError: it cannot be read."""
    if is_image_source(source):
        paths = find_images(source)
        sizes = [path.stat().st_size for path in paths]
        listing = "\n".join(f"{path.name} {size}" for path, size in zip(paths, sizes, strict=True))
        return f"{sum(sizes)} {hashlib.sha256(listing.encode()).hexdigest()}"
    try:
        with open(source, "rb") as stream:
            return f"{os.fstat(stream.fileno()).st_size} {hashlib.sha256(stream.read(HEAD)).hexdigest()}"
    except FileNotFoundError:
        raise VideoError(f"{source} does not exist: check the name") from None
    except OSError as error:
        raise VideoError(f"{source} cannot be read ({error.strerror}): check its permissions") from error


def note_path(output: Path) -> Path:
    """NAME.EXT.unfinished beside an output: there while the output is being written, and as long as it has a part."""
    output = behind_link(output)
    return beside(output, output.name, ".unfinished")


class Unfinished:
    """The parts of a job's outputs, which nobody else writes while this is entered; a context manager.

    Beside each output lies a note on how its part was made, NAME.EXT.unfinished, which is its lock, too: only a job of
    the same settings and source may continue the parts. `weights` is the digest of what the network computes with.
    Raises VideoError if an output is being written by another run.
    """

    def __init__(self, job: Job, weights: str) -> None:
        self._job = job
        paths = {name: getattr(job, name) for name in OUTPUTS}
        places = {name: None if path is None else str(path.absolute()) for name, path in paths.items()}
        origin = {"source": job.source}
        if is_image_source(job.source) or Path(job.source).is_file():
            origin = {"source": os.path.abspath(job.source), "source content": identify(job.source)}
        self._how = json_like({**job.decisive(weights), **origin, **places})
        self._locks = [Lock(note_path(output), output) for output in job.outputs]
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock)
            self._held = held.pop_all()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        with suppress(OSError):
            for lock, output in zip(self._locks, self._job.outputs, strict=True):
                if not part_path(output).exists():
                    lock.remove()
        with suppress(OSError):  # on a full disk
            self._held.close()

    def begin(self, *, resume: bool) -> int:
        """Note how the outputs are about to be made; returns the number of frames that all of them hold already. Raises
        VideoError: the parts were made otherwise, or the notes cannot be written."""
        done = self._frames_done() if resume and parts_of(self._job) else 0
        for lock in self._locks:
            lock.write_note(self._how)
        return done

    def beat(self) -> None:
        """Give other machines a sign of life now and then."""
        for lock in self._locks:
            lock.beat()

    def _frames_done(self) -> int:
        part = parts_of(self._job)[0]
        note = next((lock.note for lock in self._locks if lock.note), None)
        if not isinstance(note, dict):
            raise VideoError(f"there is no note beside {part} on how it was made: start anew instead of resuming")
        how = self._how
        changed = sorted(key for key in how.keys() | note.keys() if how.get(key) != note.get(key))
        if changed:
            other = f"{part} was made with another {' and '.join(changed)}"
            raise VideoError(f"{other}: resume with the same settings, or start anew instead of resuming")
        return frames_done(self._job)


def parts_of(job: Job) -> list[Path]:
    """The `.part` files and folders of a job that exist."""
    return [part for part in map(part_path, job.outputs) if part.exists()]


def is_unfinished(job: Job) -> bool:
    """Whether a run that was cut short has left parts of the outputs, or its notes."""
    return bool(parts_of(job)) or any(note_path(output).exists() for output in job.outputs)


def is_complete(job: Job) -> bool:
    """Whether a run has finished all of the outputs."""
    return bool(job.outputs) and not is_unfinished(job) and all(output.exists() for output in job.outputs)


def frames_done(job: Job) -> int:
    """How many frames all parts of a job's outputs hold, so that a run can continue after them."""
    parts = map(part_path, job.folders)
    counts = [sum(1 for _ in part.glob("*.png")) - 1 for part in parts]  # the last one may not be whole
    counts += [_lines(part_path(file)) for file in (job.lines, record_of(job), job.coco) if file in job.outputs]
    if job.video:
        return max((point for point in resume_points(job.video) if all(point <= count for count in counts)), default=0)
    return max(0, min(counts, default=0))


def record_of(job: Job) -> Path | None:
    """The output whose part holds a line per frame, its class shares, until the report or the plot is made of them."""
    return job.report or job.plot


def _lines(part: Path) -> int:
    return part.read_bytes().count(b"\n") if part.exists() else 0
