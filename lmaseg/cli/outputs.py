"""Outputs of commands: whether they may be written, and how they appear only when they are complete."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.prompt import Confirm

from lmaseg.cli.console import console
from lmaseg.errors import VideoError
from lmaseg.paths import holds_files, part_path, writing

if TYPE_CHECKING:
    from PIL.Image import Image

Overwrite = Annotated[
    bool | None, typer.Option("--overwrite/--no-overwrite", "-y/-n", help="Replace outputs that exist; default: ask.")
]


def may_replace(outputs: list[Path], overwrite: bool | None) -> bool:
    """Whether outputs that exist may be replaced: as told, else as the person at the terminal answers.

    Raises:
        VideoError: an output's folder does not exist, or the output does and may not be replaced.
    """
    for path in outputs:
        if not path.absolute().parent.is_dir():
            raise VideoError(f"the folder {path.absolute().parent} does not exist: make it first, or write elsewhere")
    existing = [path for path in outputs if path.is_file() or (path.is_dir() and holds_files(path))]
    if not existing or overwrite:
        return bool(overwrite)
    names = " and ".join(str(path) for path in existing)
    asked = overwrite is None and sys.stdin.isatty() and console.is_terminal and not console.quiet
    if asked and Confirm.ask(f"{escape(names)} already exists. Overwrite?", console=console, default=False):
        return True
    raise VideoError(f"{names} already exists: add -y to overwrite, or write elsewhere")


def check_apart(outputs: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would destroy what is read, each other, or what lies behind a link in their place.

    Raises:
        VideoError: an output, or where it is kept until it is complete, is an input or a link.
        BadParameter: two outputs have one name.
    """
    read = {_identity(Path(path)) for path in inputs if Path(path).is_file()}
    taken = set[Path]()
    for path in outputs:
        part = part_path(path)
        for place in (path, part):
            if place.exists() and _identity(place) in read:
                why = "is the source itself" if place == path else f"is the source, and {path} is kept there until done"
                raise VideoError(f"{place} {why}: write to another name")
            if place.resolve() in taken:
                raise typer.BadParameter(f"{place} would be two outputs at once: give each a name of its own")
        if part.is_symlink():  # writing would follow it
            raise VideoError(f"{part} is a link, and {path} is kept there until it is complete: remove the link")
        taken |= {path.resolve(), part.resolve()}


def _identity(path: Path) -> tuple[int, int]:
    """What all names and links of a file share."""
    told = path.stat()
    return told.st_dev, told.st_ino


def make_folder(folder: Path) -> None:
    """A folder for outputs, unless it is there already."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be made a folder ({error.strerror}): give another name") from error


def write_text(path: Path, text: str) -> None:
    """A text file that appears under its name when it is complete; VideoError if it cannot be written."""
    with _appearing(path) as part:
        part.write_text(text)


def write_picture(path: Path, picture: "Image") -> None:
    """A picture that appears under its name when it is complete; VideoError if it cannot be written."""
    with _appearing(path) as part:
        picture.save(part)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Where to write what then takes its name."""
    part = part_path(path)
    with writing(path):
        yield part
        part.replace(path)


def require_png(plot: Path | None) -> None:
    """Refuse a name for a plot that stands for another kind of file."""
    if plot and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"--plot draws a PNG picture: {plot.with_suffix('.png')} would do")
