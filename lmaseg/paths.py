"""Where outputs are kept until they are complete, and what is said when they cannot be written."""

import codecs
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lmaseg.errors import VideoError

REMEDY = "see that its folder is there and can be written, and that its disk has room"
LONGEST_NAME = 255  # bytes that file systems take for the name of a file
EFFECTIVE = os.access in os.supports_effective_ids
CLUTTER = (".ds_store", "thumbs.db", "desktop.ini")


def part_path(path: Path) -> Path:
    """NAME.part.EXT beside NAME.EXT, NAME.part beside a folder without a suffix; of a link, beside what it leads to."""
    path = behind_link(path)
    return beside(path, path.stem, f".part{path.suffix}")


def behind_link(path: Path) -> Path:
    """What a link leads to, whether it is there yet or not; any other path itself."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def publish(path: Path) -> None:
    """Give the part of an output its name; a link in its place stays, and leads to it."""
    part_path(path).replace(behind_link(path))


def beside(path: Path, stem: str, ending: str) -> Path:
    """STEM + ENDING in the folder of a path; a stem that is too long is cut, with a digest at its end."""
    room = LONGEST_NAME - len(os.fsencode(ending))
    name = os.fsencode(stem)
    if len(name) > room:
        digest = "~" + hashlib.sha256(name).hexdigest()[:8]
        stem = name[: room - len(digest)].decode(errors="ignore") + digest
    return path.with_name(stem + ending)


def read_text(path: Path) -> str:
    """A text file in UTF-8 or in UTF-16, as Windows may store it. Raises OSError, UnicodeDecodeError: it cannot be
    read, or is neither."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-8-sig")


def is_clutter(path: Path) -> bool:
    """Whether a file is one that macOS or Windows puts beside those of a person, about how to show them."""
    return path.name.startswith("._") or path.name.lower() in CLUTTER


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError within this into a VideoError about the output `path`. Raises VideoError: in place of an
    OSError."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"cannot write {path} ({error.strerror or error}): {REMEDY}") from error


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """The `.part` file to write, which is renamed to `path` at the end; VideoError if it cannot be written."""
    part = part_path(path)
    with writing(path):
        yield part
        publish(path)


def write_text(path: Path, text: str) -> None:
    """A text file that appears under its name when it is complete; VideoError if it cannot be written."""
    with appearing(path) as part:
        part.write_text(text)


def check_places(outputs: Iterable[Path], *, overwrite: bool, folders: Collection[Path] = ()) -> None:
    """Refuse outputs where nothing can be written, and those that exist unless they may be replaced.

    A device or a pipe is refused, too: an output takes its name only when it is complete, and would replace it.
    `folders` are those of the outputs that are folders; the others are files. Raises VideoError, which names them.
    """
    outputs = list(outputs)
    for path in outputs:
        _check_place(path)
        kinds = ("file", "folder") if path in folders else ("folder", "file")
        if path.exists() and path.is_dir() != (path in folders):
            raise VideoError("{} is a {}: give the name of a {}".format(path, *kinds))
    if not overwrite and (existing := existing_of(outputs)):
        raise VideoError(f"{' and '.join(map(str, existing))} already exists: allow overwriting, or write elsewhere")


def _check_place(path: Path) -> None:
    folder = behind_link(path).absolute().parent
    with writing(path):
        if not folder.is_dir():
            if folder.is_file():
                raise VideoError(f"{folder} is a file: give the name of a folder, or write elsewhere")
            raise VideoError(f"the folder {folder} does not exist: make it first, or write elsewhere")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise VideoError(f"{path} is a device or a pipe: give the name of a file or a folder")
        for place in (folder, path):
            if place.is_dir() and not os.access(place, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
                raise VideoError(f"cannot write {path} ({place} is read-only for you): write elsewhere")


def check_new_folder(path: Path) -> None:
    """As `check_places`, of a folder that is made with all the folders that lead to it."""
    path = path.absolute()
    with writing(path):
        while not path.parent.is_dir():
            path = path.parent
    check_places([path], overwrite=True, folders=[path])


def existing_of(outputs: Iterable[Path]) -> list[Path]:
    """The files that are there already, and the folders that hold more than clutter; VideoError if one cannot be looked
    at."""
    found = []
    for path in outputs:
        with writing(path):
            found += [path] if path.is_file() or (path.is_dir() and not all(map(is_clutter, path.iterdir()))) else []
    return found


def check_apart(outputs: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would destroy what is read, each other, or what lies behind a link in their place.

    Raises:
        VideoError: an output, or where it is kept until it is complete, is an input or a link.
        ValueError: two outputs have one name.
    """
    read = {_file_identity(Path(path)) for path in inputs if os.path.isfile(path)}
    taken = set[Path]()
    for path in outputs:
        part = part_path(path)
        for place in (path, part):
            if os.path.exists(place) and _file_identity(place) in read:
                why = "is the source itself" if place == path else f"is the source, and {path} is kept there until done"
                raise VideoError(f"{place} {why}: write to another name")
            if place.resolve() in taken:
                raise ValueError(f"{place} would be two outputs at once: give each a name of its own")
        if os.path.islink(part):  # writing would follow it
            raise VideoError(f"{part} is a link, and {path} is kept there until it is complete: remove the link")
        taken |= {path.resolve(), part.resolve()}


def _file_identity(path: Path) -> tuple[int, int]:
    """The device and inode of a file, the same for all its names and links."""
    status = path.stat()
    return status.st_dev, status.st_ino
