"""Where outputs are kept until they are complete."""

from pathlib import Path


def part_path(path: Path) -> Path:
    """NAME.part.EXT beside NAME.EXT, NAME.part beside a folder without a suffix."""
    return path.with_name(f"{path.stem}.part{path.suffix}")
