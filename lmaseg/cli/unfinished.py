"""What a run that was cut short left, and how far another can take it over."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmaseg._version import __version__
from lmaseg.cli.outputs import write_text
from lmaseg.errors import VideoError
from lmaseg.paths import part_path


class Unfinished:
    """The parts of one source's outputs, and a note beside them on how they were made.

    The note, NAME.part.json, lies there while a run works and as long as it leaves parts: only the same command on the
    same source may go on with them.

    Args:
        source: as given to the command.
        video, folders, lines: the outputs wanted; folders hold a PNG per frame.
        given: the command's options.
    """

    def __init__(
        self,
        source: str,
        video: Path | None,
        folders: Sequence[Path | None],
        lines: Path | None,
        given: dict[str, Any],
    ) -> None:
        self._video, self._folders = video, [folder for folder in folders if folder]
        self._lines = lines if lines != Path("-") else None
        self._outputs = [path for path in (video, *self._folders, self._lines) if path]
        self._how = {"lmaseg": __version__, **given, **_identity(source)}
        self._note = self._outputs[0].with_name(f"{self._outputs[0].stem}.part.json") if self._outputs else None

    @property
    def complete(self) -> bool:
        """Whether a run has finished all of them."""
        no_parts = not (self._parts() or (self._note and self._note.exists()))
        return bool(self._outputs) and no_parts and all(path.exists() for path in self._outputs)

    def begin(self, *, resume: bool) -> int:
        """Note how the outputs are about to be made; returns the number of frames that all of them hold already.

        Raises:
            VideoError: the parts were made otherwise.
        """
        if self._note is None:
            return 0
        done = self._frames_done() if resume and self._parts() else 0
        if not done:
            write_text(self._note, json.dumps(self._how, indent=2) + "\n")
        return done

    def close(self) -> None:
        """Take the note away where no parts are left."""
        if self._note and not self._parts():
            self._note.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        return [part for part in map(part_path, self._outputs) if part.exists()]

    def _frames_done(self) -> int:
        from lmaseg.video.unfinished import resume_points

        assert self._note
        try:
            how = json.loads(self._note.read_text())
        except (OSError, ValueError) as error:
            raise VideoError(f"{self._note} does not tell how the parts were made: run without --resume") from error
        changed = [key for key in self._how.keys() | how.keys() if self._how.get(key) != how.get(key)]
        if changed:
            raise VideoError(
                f"{self._parts()[0]} was made with another {' and '.join(sorted(changed))}: "
                "give the same command again, or run without --resume"
            )
        counts = [  # the last one may not be whole
            sum(1 for _ in part_path(folder).glob("*.png")) - 1 for folder in self._folders
        ]
        if self._lines:
            part = part_path(self._lines)
            counts.append(part.read_text().count("\n") if part.exists() else 0)
        if self._video:
            points = resume_points(self._video)
            return max((point for point in points if all(point <= count for count in counts)), default=0)
        return max(0, min(counts))


def _identity(source: str) -> dict[str, Any]:
    """What tells a source from another that has taken its name."""
    path = Path(source)
    if not path.exists():
        return {"source": source}
    told = path.stat()
    return {"source": str(path.resolve()), "source size": told.st_size, "source time": told.st_mtime_ns}
