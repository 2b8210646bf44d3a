"""Where outputs are kept until they are complete, and what is said when they cannot be written."""

import codecs
from collections.abc import Iterable, Iterator
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


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write what then takes its name; VideoError if it cannot be written."""
    part = part_path(path)
    with writing(path):
        yield part
        part.replace(path)


def check_places(outputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs in folders that do not exist, and those that exist unless they may be replaced.

    Raises:
        VideoError: names them.
    """
    outputs = list(outputs)
    for path in outputs:
        if not path.absolute().parent.is_dir():
            raise VideoError(f"the folder {path.absolute().parent} does not exist: make it first, or write elsewhere")
    existing = existing_of(outputs)
    if existing and not overwrite:
        names = " and ".join(str(path) for path in existing)
        raise VideoError(f"{names} already exists: allow overwriting, or write elsewhere")


def existing_of(outputs: Iterable[Path]) -> list[Path]:
    """The files that are there already, and the folders that hold something."""
    return [path for path in outputs if path.is_file() or (path.is_dir() and holds_files(path))]


def check_apart(outputs: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would destroy what is read, each other, or what lies behind a link in their place.

    Raises:
        VideoError: an output, or where it is kept until it is complete, is an input or a link.
        ValueError: two outputs have one name.
    """
    read = {_file_identity(Path(path)) for path in inputs if Path(path).is_file()}
    taken = set[Path]()
    for path in outputs:
        part = part_path(path)
        for place in (path, part):
            if place.exists() and _file_identity(place) in read:
                why = "is the source itself" if place == path else f"is the source, and {path} is kept there until done"
                raise VideoError(f"{place} {why}: write to another name")
            if place.resolve() in taken:
                raise ValueError(f"{place} would be two outputs at once: give each a name of its own")
        if part.is_symlink():  # writing would follow it
            raise VideoError(f"{part} is a link, and {path} is kept there until it is complete: remove the link")
        taken |= {path.resolve(), part.resolve()}


def _file_identity(path: Path) -> tuple[int, int]:
    """What all names and links of a file share."""
    told = path.stat()
    return told.st_dev, told.st_ino
