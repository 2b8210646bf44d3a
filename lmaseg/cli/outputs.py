"""Outputs of commands: whether they may be written, and how they appear only when they are complete."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.prompt import Confirm

from lmaseg.cli.console import console
from lmaseg.errors import VideoError
from lmaseg.paths import part_path, writing

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
    existing = [path for path in outputs if path.is_file() or (path.is_dir() and any(path.iterdir()))]
    if not existing or overwrite:
        return bool(overwrite)
    names = " and ".join(str(path) for path in existing)
    asked = overwrite is None and sys.stdin.isatty() and console.is_terminal
    if asked and Confirm.ask(f"{escape(names)} already exists. Overwrite?", console=console, default=False):
        return True
    raise VideoError(f"{names} already exists: add -y to overwrite, or write elsewhere")


def write_text(path: Path, text: str) -> None:
    """A text file that appears under its name when it is complete.

    Raises:
        VideoError: it cannot be written.
    """
    part = part_path(path)
    with writing(path):
        part.write_text(text)
        part.replace(path)
