"""One source of `lmaseg run` and all that it becomes."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaseg.cli.console import RunDisplay, say
from lmaseg.cli.interrupt import stop_on_interrupt
from lmaseg.cli.outputs import may_replace
from lmaseg.cli.run_report import summarise, warnings_of, write_report
from lmaseg.cli.unfinished import Unfinished

if TYPE_CHECKING:
    from lmaseg.images import ImageReader
    from lmaseg.labels import LabelSet
    from lmaseg.render import View
    from lmaseg.sinks import LabelMaps, Sink
    from lmaseg.stream import Segmenter
    from lmaseg.video import VideoReader, VideoWriter

PIPE = Path("-")


class Ids(StrEnum):
    """Which ids label maps carry."""

    CLASS = "class"
    TRAIN = "train"
    LABEL = "label"


class Pipe(StrEnum):
    """How label maps go to standard output."""

    GRAY = "gray"
    MKV = "mkv"


@dataclass(frozen=True)
class Job:
    """A source and its outputs; None is not wanted."""

    source: str
    video: Path | None = None
    maps: Path | None = None
    confidence: Path | None = None
    pipe: bool = False
    lines: Path | None = None
    report: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The outputs that are files or folders."""
        paths = self.video, self.maps, self.confidence, self.lines, self.report
        return [path for path in paths if path and path != PIPE]


@dataclass(frozen=True)
class Settings:
    """What all sources of a command share."""

    segmenter: "Segmenter"
    view: "View"
    reading: dict[str, Any]
    start: float | None
    end: float | None
    stride: int
    ids: Ids
    pipe: Pipe
    codec: str | None
    crf: float | None
    reset_at_cuts: bool
    overwrite: bool | None
    resume: bool
    given: dict[str, Any]
    """The command's options, for the report and for whoever resumes it."""


def run_job(job: Job, settings: Settings) -> bool:
    """Segment one source into its outputs; returns whether it was interrupted."""
    from lmaseg.images import open_source
    from lmaseg.pipeline import segment_video
    from lmaseg.sinks import ClassShares
    from lmaseg.video.inputs import display_name

    unfinished = Unfinished(job.source, job.video, [job.maps, job.confidence], job.lines, settings.given)
    if settings.resume and unfinished.complete:
        say(f"{' and '.join(map(str, job.files))} is complete: nothing to resume")
        return False
    replace = may_replace(job.files, settings.overwrite)
    segmenter = settings.segmenter
    segmenter.reset()
    source = open_source(
        job.source,
        start=settings.start,
        end=settings.end,
        stride=settings.stride,
        warm_up=segmenter.memory.frames,
        **settings.reading,
    )
    with source as reader, closing(unfinished):
        done = unfinished.begin(resume=settings.resume)
        writer = _video_writer(job, settings, reader, replace, done) if job.video else None
        shares = ClassShares(len(segmenter.net.labels))
        sinks = [*_sinks(job, settings, reader, writer, replace, done)]
        if job.report:  # counting pixels costs time on every frame
            sinks.append(shares)
        with stop_on_interrupt() as stop, RunDisplay(display_name(job.source)) as display:
            for progress in segment_video(
                reader, segmenter, sinks, reset_at_cuts=settings.reset_at_cuts, stop=stop, done=done
            ):
                display.update(progress.frames, progress.total, progress.seconds)
        warnings = warnings_of(reader, writer.skipped_streams if writer else [])
        summarise(progress, reader, [path for path in (job.video, job.maps, job.confidence) if path], warnings)
        if job.report:
            write_report(job.report, settings.given, progress, reader, segmenter.net.labels, shares, warnings)
    return progress.stopped


def _sinks(
    job: Job,
    settings: Settings,
    reader: "VideoReader | ImageReader",
    writer: "VideoWriter | None",
    replace: bool,
    done: int,
) -> "Iterator[Sink]":
    from lmaseg import sinks
    from lmaseg.datasets.cityscapes import written_ids
    from lmaseg.maps import ConfidenceMapWriter
    from lmaseg.video import LabelVideoWriter

    label_set = settings.segmenter.net.labels
    if writer:
        yield sinks.OverlayVideo(writer, settings.view)
    if job.maps:
        yield _label_maps(job.maps, label_set, settings.ids, reader, replace, done)
    if job.confidence:
        yield sinks.ConfidenceMaps(ConfidenceMapWriter(job.confidence, overwrite=replace, keep=done > 0))
    if job.pipe:
        ids, _ = written_ids(label_set, settings.ids)
        if settings.pipe is Pipe.GRAY:
            yield sinks.RawLabels(sys.stdout.buffer, ids)
        else:
            video = LabelVideoWriter(
                sys.stdout.buffer, width=reader.width, height=reader.height, time_base=reader.time_base
            )
            yield sinks.LabelVideo(video, ids)
    if job.lines:
        yield sinks.FrameLines(sys.stdout if job.lines == PIPE else job.lines, label_set, keep=done)


def _video_writer(
    job: Job, settings: Settings, reader: "VideoReader | ImageReader", replace: bool, done: int
) -> "VideoWriter":
    from lmaseg.video import VideoReader, VideoWriter
    from lmaseg.video.target import check_target

    assert job.video
    check_target(job.video, job.source, replace)
    width, height = settings.view.size(reader.width, reader.height)
    has_sound = isinstance(reader, VideoReader) and reader.repeatable
    return VideoWriter(
        job.video,
        width=width,
        height=height,
        time_base=reader.time_base,
        rate=reader.rate,
        sample_aspect_ratio=reader.sample_aspect_ratio,
        codec=settings.codec,
        crf=settings.crf,
        copy_from=job.source if has_sound else None,
        start=settings.start,
        end=settings.end,
        overwrite=replace,
        keep=done,
    )


def _label_maps(
    folder: Path, label_set: "LabelSet", ids: Ids, reader: "VideoReader | ImageReader", replace: bool, done: int
) -> "LabelMaps":
    from lmaseg.datasets.cityscapes import written_ids
    from lmaseg.images import ImageReader
    from lmaseg.maps import LabelMapWriter
    from lmaseg.sinks import LabelMaps

    table, shown_as = written_ids(label_set, ids)
    inputs = reader.paths if isinstance(reader, ImageReader) else ()
    return LabelMaps(LabelMapWriter(folder, shown_as, overwrite=replace, inputs=inputs, keep=done > 0), table)
