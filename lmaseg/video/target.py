"""Where an output goes, checked before hours of work."""

from pathlib import Path

from lmaseg.errors import VideoError


def check_target(path: Path, source: str | Path | None, overwrite: bool) -> None:
    """Refuse early what would fail only after hours, or destroy the source.

    Raises:
        VideoError: no such folder, a folder by that name, a file that may not be overwritten, or the source itself.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise VideoError(f"the folder {folder} does not exist: make it first, or write elsewhere")
    if path.is_dir():
        raise VideoError(f"{path} is a folder: give the name of a video file")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise VideoError(f"{path} is the source itself: write to another name")
    if path.exists() and not overwrite:
        raise VideoError(f"{path} already exists: allow overwriting, or write elsewhere")
