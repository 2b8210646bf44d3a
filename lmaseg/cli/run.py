"""`lmaseg run`: a source in, overlaid video or label maps out."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg._version import __version__
from lmaseg.cli.console import RunDisplay, say
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt
from lmaseg.cli.options import Device, Memory, Size, Weights, parse_time
from lmaseg.cli.outputs import Overwrite, may_replace, write_text
from lmaseg.paths import part_path

if TYPE_CHECKING:
    import numpy as np

    from lmaseg.images import ImageReader
    from lmaseg.labels import LabelSet
    from lmaseg.pipeline import ClassShares, LabelMaps, Progress
    from lmaseg.stream import Segmenter
    from lmaseg.video import VideoReader, VideoWriter


class Ids(StrEnum):
    """Which ids label maps carry."""

    CLASS = "class"
    TRAIN = "train"


Source = Annotated[
    str, typer.Argument(help="A video file, a folder of images, or a quoted glob such as 'frames/*.png'.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="A video (.mp4 .mkv .mov .webm) to overlay, or a folder for label maps.")
]
Labels = Annotated[Path | None, typer.Option(help="Also write one indexed PNG label map per frame into this folder.")]
Opacity = Annotated[float, typer.Option(min=0, max=1, help="Of the class colours over the picture.")]
ResetAtCuts = Annotated[bool, typer.Option(help="Forget the past where the video cuts to another shot.")]
Start = Annotated[Any, typer.Option("-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5.")]
Duration = Annotated[Any, typer.Option("-t", parser=parse_time, metavar="TIME", help="Take this much of the source.")]
End = Annotated[Any, typer.Option("-to", parser=parse_time, metavar="TIME", help="Stop here, counted in the source.")]
Stride = Annotated[int, typer.Option(min=1, help="Take every Nth frame; times are kept.")]
LabelIds = Annotated[Ids, typer.Option(help="Ids in label maps: the weights' classes, or Cityscapes train ids.")]
Codec = Annotated[str | None, typer.Option(help="Video codec: h264 hevc av1 vp9 ffv1; default: as the suffix wants.")]
Crf = Annotated[float | None, typer.Option(min=0, max=63, help="Constant rate factor: lower is better and larger.")]
Report = Annotated[Path | None, typer.Option(help="Write figures, settings and class shares over time to this JSON.")]


Batch = Annotated[int, typer.Option(min=1, max=256, help="Frames labelled at once: more keep a GPU busier.")]


def run(
    source: Source,
    output: Output,
    labels: Labels = None,
    weights: Weights = None,
    device: Device = "auto",
    size: Size = None,
    opacity: Opacity = 0.5,
    memory: Memory = None,
    batch: Batch = 1,
    reset_at_cuts: ResetAtCuts = True,
    start: Start = None,
    duration: Duration = None,
    end: End = None,
    stride: Stride = 1,
    ids: LabelIds = Ids.CLASS,
    codec: Codec = None,
    crf: Crf = None,
    report: Report = None,
    overwrite: Overwrite = None,
) -> None:
    """Segment a video: lmaseg run input.mp4 -o out.mp4."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in locals().items()}
    end = _end_time(start, duration, end)
    video, folder = _targets(output, labels)
    replace = may_replace([path for path in (video, folder, report) if path], overwrite)

    from lmaseg import pipeline
    from lmaseg.images import open_source

    segmenter = make_segmenter(weights, device, size, memory, batch)
    label_set = segmenter.net.labels
    with open_source(source, start=start, end=end, stride=stride, warm_up=segmenter.memory.frames) as reader:
        shares = pipeline.ClassShares(len(label_set))
        sinks: list[pipeline.Sink] = [shares] if report else []  # counting pixels costs time on every frame
        writer = None
        if video:
            writer = _video_writer(video, source, reader, codec=codec, crf=crf, start=start, end=end, replace=replace)
            sinks.append(pipeline.OverlayVideo(writer, label_set, opacity))
        if folder:
            sinks.append(_label_maps(folder, label_set, ids, replace))
        with stop_on_interrupt() as stop, RunDisplay(Path(source).name) as display:
            for progress in pipeline.segment_video(reader, segmenter, sinks, reset_at_cuts=reset_at_cuts, stop=stop):
                display.update(progress.frames, progress.total, progress.seconds)
        warnings = _warnings(reader, writer.skipped_streams if writer else [])
        _summarise(progress, reader, [path for path in (video, folder) if path], warnings)
        if report:
            _write_report(report, settings, progress, reader, label_set, shares, warnings)
    if progress.stopped:
        raise typer.Exit(INTERRUPTED)


def make_segmenter(weights: Path | None, device: str, size: Any, memory: int | None, batch: int = 1) -> "Segmenter":
    """The network of a checkpoint, ready to stream; a size it cannot work at is a wrong command line."""
    from lmaseg.checkpoint import load
    from lmaseg.stream import Segmenter

    try:
        return Segmenter(load(weights, device), size=size, memory=memory, batch=batch)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: leave --size out or give another") from error


def _end_time(start: float | None, duration: float | None, end: float | None) -> float | None:
    """Where to stop in the source; a duration wins over an end, as in ffmpeg."""
    if duration is not None:
        end = (start or 0.0) + duration
    if end is not None and end <= (start or 0.0):
        raise typer.BadParameter(f"the end ({end:g} s) is not after the start ({start or 0:g} s)")
    return end


def _targets(output: Path, labels: Path | None) -> tuple[Path | None, Path | None]:
    """The overlaid video to write and the folder of label maps, either of them None."""
    from lmaseg.video import SUFFIXES

    if output.suffix.lower() in SUFFIXES:
        return output, labels
    if labels:
        raise typer.BadParameter("--labels goes with a video as --output; a folder as --output is the label maps")
    if output.suffix and not output.is_dir():
        known = " ".join(SUFFIXES)
        raise typer.BadParameter(f"{output} ends in none of {known}: give a video, or a folder's name without a suffix")
    return None, output


def _video_writer(
    path: Path,
    source: str,
    reader: "VideoReader | ImageReader",
    *,
    codec: str | None,
    crf: float | None,
    start: float | None,
    end: float | None,
    replace: bool,
) -> "VideoWriter":
    from lmaseg.video import VideoReader, VideoWriter

    return VideoWriter(
        path,
        width=reader.width,
        height=reader.height,
        time_base=reader.time_base,
        rate=reader.rate,
        sample_aspect_ratio=reader.sample_aspect_ratio,
        codec=codec,
        crf=crf,
        copy_from=Path(source) if isinstance(reader, VideoReader) else None,
        start=start,
        end=end,
        overwrite=replace,
    )


def _label_maps(folder: Path, label_set: "LabelSet", ids: Ids, replace: bool) -> "LabelMaps":
    import numpy as np

    from lmaseg.images import LabelMapWriter
    from lmaseg.labels import CITYSCAPES
    from lmaseg.pipeline import LabelMaps

    table = np.arange(256, dtype=np.uint8)
    if ids is Ids.TRAIN:
        table = np.full(256, CITYSCAPES.ignore_index, np.uint8)
        table[: len(label_set)] = label_set.train_ids
        label_set = CITYSCAPES
    return LabelMaps(LabelMapWriter(folder, label_set, overwrite=replace), table)


def _warnings(reader: "VideoReader | ImageReader", skipped_streams: list[str]) -> list[str]:
    """What of the source did not come through as it was."""
    warnings = [f"not copied: {line}" for line in skipped_streams]
    if reader.damaged:
        warnings.append(f"damaged packets or frames in the source, decoding went on after each: {reader.damaged}")
    if reader.repaired:
        warnings.append(f"frames whose time was not after the one before, moved just past it: {reader.repaired}")
    return warnings


def _summarise(
    progress: "Progress", reader: "VideoReader | ImageReader", outputs: list[Path], warnings: list[str]
) -> None:
    """One line on what was done, or on what there is after an interruption; warnings above it."""
    for warning in warnings:
        say(warning, prefix="[yellow]warning:[/] ")
    if progress.stopped:
        kept = [part for part in map(part_path, outputs) if part.exists()]
        where = f"kept what there is as {' and '.join(map(str, kept))}" if kept else "nothing was written"
        say(f"interrupted after {progress.frames} frames: {where}")
        return
    model = progress.frames / progress.model_seconds if progress.model_seconds else 0.0
    written = ", ".join(f"{path} ({_bytes(path) / 1e6:.1f} MB)" for path in outputs)
    say(
        f"{progress.frames} frames in {progress.seconds:.1f} s "
        f"({model:.1f} frames/s in the model, {progress.frames / progress.seconds:.1f} end to end), "
        f"{reader.width}x{reader.height} -> {written}"
    )


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _write_report(
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
        "class_shares": by_name(shares.total()),
        "class_shares_per_second": [
            {"second": second, "shares": by_name(values)} for second, values in shares.over_time()
        ],
    }
    write_text(path, json.dumps(content, indent=2) + "\n")
