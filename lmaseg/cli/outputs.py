"""Outputs of commands: whether they may be written, and how they appear only when they are complete."""

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.prompt import Confirm

from lmaseg.cli.console import console
from lmaseg.errors import VideoError
from lmaseg.paths import behind_link, check_places, existing_of, writing

NOTHING = Path(os.devnull)
"""As an output: to label without writing anything."""

Overwrite = Annotated[
    bool | None,
    typer.Option("--overwrite/--no-overwrite", "-y/-n", help="Replace outputs that exist, or refuse; default: ask."),
]


def is_drawn_into(output: Path) -> bool:
    """Whether an output's suffix is that of a video or an image."""
    from lmaseg.pictures import SUFFIXES
    from lmaseg.video.encoders import MUXERS

    return output.suffix.lower() in (*MUXERS, *SUFFIXES)


def place_beside(source: str) -> Path:
    """The output of a source where none is named: NAME_labelled beside a file, a folder NAME_labels of several images.

    Raises:
        typer.BadParameter: the source has no place.
    """
    from lmaseg.images import ImageReader, is_image_source, name_of
    from lmaseg.video.encoders import MUXERS
    from lmaseg.video.inputs import display_name, is_remote, is_standard_input

    if is_remote(source) or is_standard_input(source):
        raise typer.BadParameter(f"name an output for {display_name(source)}: -o out.mkv, for instance")
    path, suffix = Path(source), ".mp4"
    if is_image_source(source):
        if not path.is_file():
            folder = path if path.is_dir() else path.parent
            return Path(os.path.relpath(folder.absolute().parent)) / f"{name_of(source)}_labels"
        suffix = path.suffix if ImageReader(source).frames == 1 else suffix
    elif path.suffix.lower() in MUXERS:
        suffix = path.suffix
    return path.with_name(f"{path.stem}_labelled{suffix}")


def may_replace(outputs: list[Path], overwrite: bool | None, folders: Collection[Path] = ()) -> bool:
    """Whether outputs that exist may be replaced: `overwrite` or, if it is None, what the user answers.

    Raises VideoError if an output's folder does not exist, or the output does and may not be replaced.
    """
    check_places(outputs, overwrite=True, folders=folders)
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
    check_places([folder], overwrite=True, folders=[folder])
    with writing(folder):
        behind_link(folder).mkdir(exist_ok=True)


def require_png(plot: Path | None) -> None:
    """Refuse a name for a plot that stands for another kind of file."""
    if plot and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"--plot draws a PNG picture: {plot.with_suffix('.png')} would do")
