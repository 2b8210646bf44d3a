"""Where outputs are kept until they are complete, and what is said when they cannot be written."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lmaseg.errors import VideoError

REMEDY = "see that its folder is there and can be written, and that its disk has room"


def part_path(path: Path) -> Path:
    """NAME.part.EXT beside NAME.EXT, NAME.part beside a folder without a suffix."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


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
    return [path for path in outputs if path.is_file() or (path.is_dir() and any(path.iterdir()))]


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
