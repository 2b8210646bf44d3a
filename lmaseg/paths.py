"""Where outputs are kept until they are complete, and what is said when they cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmaseg.errors import VideoError

REMEDY = "see that its folder is there and can be written, and that its disk has room"
CLUTTER = (".ds_store", "thumbs.db", "desktop.ini")


def part_path(path: Path) -> Path:
    """NAME.part.EXT beside NAME.EXT, NAME.part beside a folder without a suffix."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def is_clutter(path: Path) -> bool:
    """Whether a file is one that macOS or Windows puts beside those of a person, about how to show them."""
    return path.name.startswith("._") or path.name.lower() in CLUTTER


def holds_files(folder: Path) -> bool:
    """Whether there is anything in a folder but clutter."""
    return not all(map(is_clutter, folder.iterdir()))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses within this is about the output `path`.

    Raises:
        VideoError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise VideoError(f"cannot write {path} ({error.strerror or error}): {REMEDY}") from error
