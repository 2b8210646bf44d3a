"""What `lmaseg run` says and reports of a source when it is done with it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaseg._version import __version__
from lmaseg.cli.console import say, warn
from lmaseg.cli.outputs import write_picture, write_text
from lmaseg.paths import part_path

if TYPE_CHECKING:
    import numpy as np

    from lmaseg.images import ImageReader
    from lmaseg.labels import LabelSet
    from lmaseg.pipeline import Progress
    from lmaseg.sinks import ClassShares
    from lmaseg.video import VideoReader, VideoWriter


def warnings_of(reader: "VideoReader | ImageReader", writer: "VideoWriter | None") -> list[str]:
    """What of the source did not come through as it was."""
    warnings = [*reader.warnings, *(writer.warnings if writer else [])]
    if reader.damaged:
        warnings.append(f"damaged packets or frames in the source, decoding went on after each: {reader.damaged}")
    if reader.dropped:
        warnings.append(f"frames dropped to keep up with the source: {reader.dropped}")
    if reader.repaired:
        warnings.append(f"frames whose time was not after the one before, moved just past it: {reader.repaired}")
    return warnings


def summarise(
    progress: "Progress", reader: "VideoReader | ImageReader", outputs: list[Path], warnings: list[str]
) -> None:
    """One line on what was done, or on what there is after an interruption; warnings above it."""
    for warning in warnings:
        warn(warning)
    if progress.stopped:
        kept = [part for part in map(part_path, outputs) if part.exists()]
        where = f"kept what there is as {' and '.join(map(str, kept))}" if kept else "nothing was written"
        say(f"interrupted after {progress.frames} frames: {where}")
        return
    model = progress.frames / progress.model_seconds if progress.model_seconds else 0.0
    written = ", ".join(f"{path} ({_bytes(path) / 1e6:.1f} MB)" for path in outputs) or "standard output"
    say(
        f"{progress.frames} frames in {progress.seconds:.1f} s "
        f"({model:.1f} frames/s in the model, {progress.frames / progress.seconds:.1f} end to end), "
        f"{reader.width}x{reader.height} -> {written}"
    )


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def write_report(
    path: Path,
    settings: dict[str, Any],
    progress: "Progress",
    reader: "VideoReader | ImageReader",
    label_set: "LabelSet",
    shares: "ClassShares",
    warnings: list[str],
) -> None:
    def by_name(values: "np.ndarray") -> dict[str, float]:
        return {name: round(float(value), 6) for name, value in zip(label_set.names, values, strict=True)}

    content = {
        "lmaseg": __version__,
        "settings": settings,
        "frames": progress.frames,
        "width": reader.width,
        "height": reader.height,
        "seconds": round(progress.seconds, 3),
        "model_seconds": round(progress.model_seconds, 3),
        "complete": progress.finished,
        "warnings": warnings,
        "damaged": reader.damaged,
        "repaired": reader.repaired,
        "dropped": reader.dropped,
        "class_shares": by_name(shares.total()),
        "class_shares_per_second": [
            {"second": second, "shares": by_name(values)} for second, values in shares.over_time()
        ],
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_shares_plot(path: Path, source: str, label_set: "LabelSet", shares: "ClassShares") -> None:
    """Draw the class shares over time."""
    from lmaseg.cli.shares_plot import shares_plot
    from lmaseg.video.inputs import display_name

    title = f"Share of each class, {display_name(source)}"
    write_picture(path, shares_plot(shares.over_time(), shares.total(), label_set, title))
