"""One source of `lmaseg run` and all that it becomes."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaseg.cli.console import STARTED, RunDisplay, detail, say
from lmaseg.cli.interrupt import stop_on_interrupt, unless_interrupted
from lmaseg.cli.outputs import check_apart, may_replace
from lmaseg.cli.run_report import summarise, warnings_of, write_report, write_shares_plot
from lmaseg.cli.unfinished import Unfinished

if TYPE_CHECKING:
    from lmaseg.cli.preview import Preview
    from lmaseg.images import ImageReader
    from lmaseg.pipeline import Progress
    from lmaseg.render import View
    from lmaseg.sinks import Sink
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
    plot: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The outputs that are files or folders."""
        paths = self.video, self.maps, self.confidence, self.lines, self.report, self.plot
        return [path for path in paths if path and path != PIPE]


@dataclass(frozen=True)
class Settings:
    """What all sources of a command share."""

    segmenter: "Segmenter"
    view: "View"
    reading: dict[str, Any]
    """How sources are read: arguments of `open_source`."""
    ids: Ids
    pipe: Pipe
    codec: str | None
    crf: float | None
    reset_at_cuts: bool
    overwrite: bool | None
    resume: bool
    make_preview: "Callable[[], Preview] | None"
    given: dict[str, Any]
    """The command's options, for the report and for whoever resumes it."""


def run_job(job: Job, settings: Settings) -> bool:
    """Segment one source into its outputs; returns whether it was interrupted."""
    from lmaseg.images import open_source
    from lmaseg.sinks import ClassShares

    unfinished = Unfinished(job.source, job.video, [job.maps, job.confidence], job.lines, settings.given)
    if settings.resume and unfinished.complete:
        say(f"{' and '.join(map(str, job.files))} is complete: nothing to resume")
        return False
    replace = may_replace(job.files, settings.overwrite)
    segmenter = settings.segmenter
    segmenter.reset()
    opening = partial(open_source, job.source, warm_up=segmenter.memory.frames, **settings.reading)
    source = unless_interrupted(opening)
    with source as reader, closing(unfinished):
        inputs = _images(reader)
        check_apart(job.files, inputs)
        done = unfinished.begin(resume=settings.resume)
        writer = _overlay_writer(job, settings, reader, replace, done) if job.video else None
        shares = ClassShares(len(segmenter.net.labels))
        sinks = [*_sinks(job, settings, reader, writer, inputs, replace, done)]
        if job.report or job.plot:  # counting pixels costs time on every frame
            sinks.append(shares)
        preview = settings.make_preview() if settings.make_preview else None
        progress = segment(
            job.source,
            reader,
            segmenter,
            [*sinks, *([preview] if preview else [])],
            preview=preview,
            reset_at_cuts=settings.reset_at_cuts,
            done=done,
        )
        warnings = warnings_of(reader, writer)
        summarise(progress, reader, [path for path in (job.video, job.maps, job.confidence) if path], warnings)
        if job.report:
            write_report(job.report, settings.given, progress, reader, segmenter.net.labels, shares, warnings)
        if job.plot and progress.frames > done:
            write_shares_plot(job.plot, job.source, segmenter.net.labels, shares)
    return progress.stopped


def segment(
    source: str,
    reader: "VideoReader | ImageReader",
    segmenter: "Segmenter",
    sinks: "Sequence[Sink]",
    *,
    preview: "Preview | None" = None,
    reset_at_cuts: bool,
    done: int = 0,
) -> "Progress":
    """Segment an open source into sinks, showing how far it is; Ctrl-C ends it after the frame in hand."""
    from lmaseg.pipeline import segment_video
    from lmaseg.video.inputs import display_name

    detail("working at {}x{} (height x width)".format(*segmenter.working_size(reader.height, reader.width)))
    first = False
    with stop_on_interrupt() as stop, RunDisplay(display_name(source), preview=preview) as display:
        for progress in segment_video(reader, segmenter, sinks, reset_at_cuts=reset_at_cuts, stop=stop, done=done):
            if progress.frames and not first:
                first = True
                detail(f"first frame done {time.perf_counter() - STARTED:.1f} s after the start")
            display.update(progress.frames, progress.total, progress.seconds)
    return progress


def _sinks(
    job: Job,
    settings: Settings,
    reader: "VideoReader | ImageReader",
    writer: "VideoWriter | None",
    inputs: "list[Path]",
    replace: bool,
    done: int,
) -> "Iterator[Sink]":
    from lmaseg import sinks
    from lmaseg.datasets.cityscapes import written_ids
    from lmaseg.maps import ConfidenceMapWriter, LabelMapWriter
    from lmaseg.video import LabelVideoWriter

    label_set = settings.segmenter.net.labels
    if writer:
        yield sinks.OverlayVideo(writer, settings.view)
    if job.maps:
        table, shown_as = written_ids(label_set, settings.ids)
        maps = LabelMapWriter(job.maps, shown_as, overwrite=replace, inputs=inputs, keep=done > 0)
        yield sinks.LabelMaps(maps, table)
    if job.confidence:
        confidence = ConfidenceMapWriter(job.confidence, overwrite=replace, inputs=inputs, keep=done > 0)
        yield sinks.ConfidenceMaps(confidence)
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


def _overlay_writer(
    job: Job, settings: Settings, reader: "VideoReader | ImageReader", replace: bool, done: int
) -> "VideoWriter":
    assert job.video
    return video_writer(
        job.video,
        job.source,
        reader,
        size=settings.view.size(reader.width, reader.height),
        codec=settings.codec,
        crf=settings.crf,
        start=settings.reading["start"],
        end=settings.reading["end"],
        overwrite=replace,
        keep=done,
    )


def video_writer(
    path: Path, source: str, reader: "VideoReader | ImageReader", *, size: tuple[int, int], **options: Any
) -> "VideoWriter":
    """A writer for frames of (width, height) pixels at the times of a source's frames, with the source's sound.

    `options` are further arguments of `VideoWriter`: codec, crf, start, end, overwrite, keep.
    """
    from lmaseg.images import writer_like
    from lmaseg.video.target import check_target

    check_target(path, source, options["overwrite"])
    return writer_like(reader, path, size=size, copy_from=source, **options)


def _images(reader: "VideoReader | ImageReader") -> list[Path]:
    """The image files that are read."""
    from lmaseg.images import ImageReader

    return reader.paths if isinstance(reader, ImageReader) else []
