"""Where an output goes, checked before hours of work."""

import os
from pathlib import Path

from lmaseg.errors import VideoError
from lmaseg.paths import check_place


def check_target(path: Path, source: str | Path | None, overwrite: bool) -> None:
    """Refuse early what would fail only after hours, or destroy the source.

    Raises:
        VideoError: a place where nothing can be written, a folder by that name, a file that may not be overwritten, or
            the source itself.
    """
    check_place(path)
    if path.is_dir():
        raise VideoError(f"{path} is a folder: give the name of a video file")
    if source is not None and path.exists() and os.path.exists(source) and path.samefile(source):
        raise VideoError(f"{path} is the source itself: write to another name")
    if path.exists() and not overwrite:
        raise VideoError(f"{path} already exists: allow overwriting, or write elsewhere")
