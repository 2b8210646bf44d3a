"""Outputs of commands: whether they may be written, and how they appear only when they are complete."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.prompt import Confirm

from lmaseg.cli.console import console
from lmaseg.errors import VideoError
from lmaseg.paths import appearing, check_place, check_places, existing_of, writing

if TYPE_CHECKING:
    from PIL.Image import Image

Overwrite = Annotated[
    bool | None,
    typer.Option("--overwrite/--no-overwrite", "-y/-n", help="Replace outputs that exist, or refuse; default: ask."),
]


def may_replace(outputs: list[Path], overwrite: bool | None) -> bool:
    """Whether outputs that exist may be replaced: `overwrite` or, if it is None, what the user answers.

    Raises:
        VideoError: an output's folder does not exist, or the output does and may not be replaced.
    """
    check_places(outputs, overwrite=True)
    existing = existing_of(outputs)
    if not existing or overwrite:
        return bool(overwrite)
    names = " and ".join(str(path) for path in existing)
    asked = overwrite is None and sys.stdin.isatty() and console.is_terminal and not console.quiet
    if asked and Confirm.ask(f"{escape(names)} already exists. Overwrite?", console=console, default=False):
        return True
    raise VideoError(f"{names} already exists: add -y to overwrite, or write elsewhere")


def make_folder(folder: Path) -> None:
    """A folder for outputs that can be written, unless it is there already; VideoError if it cannot be made."""
    check_place(folder)
    with writing(folder):
        folder.mkdir(exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file that appears under its name when it is complete; VideoError if it cannot be written."""
    with appearing(path) as part:
        part.write_text(text)


def write_picture(path: Path, picture: "Image") -> None:
    """A picture that appears under its name when it is complete; VideoError if it cannot be written."""
    with appearing(path) as part:
        picture.save(part)


def require_png(plot: Path | None) -> None:
    """Refuse a name for a plot that stands for another kind of file."""
    if plot and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"--plot draws a PNG picture: {plot.with_suffix('.png')} would do")
