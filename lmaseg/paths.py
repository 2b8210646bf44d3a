"""Where outputs are kept until they are complete, and what is said when they cannot be written."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmaseg.errors import VideoError

REMEDY = "see that its folder is there and can be written, and that its disk has room"
CLUTTER = (".ds_store", "thumbs.db", "desktop.ini")


def part_path(path: Path) -> Path:
    """NAME.part.EXT beside NAME.EXT, NAME.part beside a folder without a suffix."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def read_text(path: Path) -> str:
    """What a person wrote, in UTF-8 or in UTF-16 as Windows may store it.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is neither.
    """
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-8-sig")


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
