"""`lmaseg run`: sources in, overlaid videos or label maps out."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmaseg.cli.console import (
    STARTED,
    Display,
    complain,
    complain_unexpected,
    console,
    detail,
    frames_done,
    say,
    warn,
)
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt, unless_interrupted
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import Duration, output_option, refusing, with_duration
from lmaseg.cli.outputs import NOTHING, Overwrite, is_drawn_into, make_folder, may_replace, place_beside, require_png
from lmaseg.cli.settings import COMPUTING, LOOK, READING, job_options
from lmaseg.errors import LmasegError
from lmaseg.job import PIPE, Job, Pipe
from lmaseg.paths import check_apart, part_path

if TYPE_CHECKING:
    from lmaseg.cli.preview import Preview as PreviewSink
    from lmaseg.pipeline import Progress
    from lmaseg.report import Report
    from lmaseg.stream import Segmenter

FAILED = 1
EXAMPLES = """
lmaseg run drive.mp4                                  drive_labelled.mp4
lmaseg run drive.mp4 -o out.mp4                       a video, overlaid
lmaseg run drive.mp4 -o out.mp4 --legend top-left     with class names
lmaseg run drive.mp4 -o out.mp4 --labels masks/       and label maps
lmaseg run drive.mp4 -o masks/ --ids train            label maps only
lmaseg run drive.mp4 -o part.mp4 -ss 1:30 -t 20       20 s from 1:30
lmaseg run 'frames/*.png' -o masks/                   a folder of images
lmaseg run a.mp4 b.mkv -o out/                        several videos
lmaseg run rtsp://host/stream -o out.mkv --live       a stream
lmaseg run drive.mp4 -o out.mp4 --preview             watch it
lmaseg run --print-config > run.toml                  options as a file
"""

OPTIONS = job_options(
    *("maps", "confidence", "ids", "lines", "report", "plot", "coco", "zones", "codec", "crf"),
    *(*LOOK, *READING, "live", *COMPUTING, "reset_at_cuts"),
)


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, folders of images, quoted globs such as 'frames/*.png', addresses (rtsp://, https://), a "
            "camera (camera:0), or - for standard input.",
        ),
    ],
    job: Annotated[Job, OPTIONS],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A video (.mp4 .mkv .mov .webm .avi .gif), or of one image an image, to draw into; a folder for label "
            "maps, or for the videos of several SOURCEs; - for label maps on standard output; default: beside the "
            "source.",
        ),
    ] = None,
    duration: Duration = None,
    pipe: Annotated[
        Pipe, output_option(help="The form of label maps on standard output: bare bytes, or a lossless grey video.")
    ] = "gray",
    preview: Annotated[bool, output_option("--preview", help="Also show the overlay in the terminal.")] = False,
    resume: Annotated[
        bool, output_option("--resume", help="Continue what an interrupted run of the same command left unfinished.")
    ] = False,
    overwrite: Overwrite = None,
) -> None:
    """Segment videos, streams or images into overlaid videos and label maps."""
    from lmaseg.images import gathered

    sources = gathered(sources)
    with refusing():
        jobs = _jobs(with_duration(job, duration), sources, output, pipe)
        check_apart([path for each in jobs for path in each.outputs], [source for source in sources if source != "-"])
    require_png(jobs[0].plot)
    segmenter = make_segmenter(jobs[0])
    make_preview = _preview_maker(jobs[0], segmenter) if preview else lambda: None
    failed = 0
    for each in jobs:
        try:
            report = run_job(each, segmenter, overwrite=overwrite, resume=resume, preview=make_preview())
        except Exception as error:
            if len(jobs) == 1:
                raise
            if isinstance(error, LmasegError):
                complain(str(error))
            else:
                complain_unexpected(error)
            failed += 1
            continue
        if report and not report.complete:
            raise typer.Exit(INTERRUPTED)
    if failed:
        complain(f"{failed} of {len(jobs)} sources failed")
        raise typer.Exit(FAILED)


def run_job(
    job: Job,
    segmenter: "Segmenter",
    *,
    overwrite: bool | None,
    resume: bool = False,
    preview: "PreviewSink | None" = None,
) -> "Report | None":
    """Run a job with a progress display; Ctrl-C ends it after the current frame. None if it was complete already."""
    from lmaseg import segmentation
    from lmaseg.sinks import Sink
    from lmaseg.unfinished import is_complete, is_unfinished
    from lmaseg.video.inputs import display_name

    if resume and is_complete(job):
        say(f"{' and '.join(map(str, job.outputs))} is complete: nothing to resume")
        return None
    replaced = may_replace(job.outputs, True if resume and is_unfinished(job) else overwrite, job.folders)
    opening = partial(segmentation.open_reader, job, segmenter.memory)
    with unless_interrupted(opening) as reader:
        detail("working at {}x{} (height x width)".format(*segmenter.working_size(reader.height, reader.width)))
        with stop_on_interrupt() as stop, Display(preview=preview) as display:
            report = segmentation.run_job(
                job,
                segmenter=segmenter,
                reader=reader,
                overwrite=replaced,
                resume=resume,
                stop=stop,
                watch=_shown_on(display, display_name(job.source)),
                more=[preview or Sink()],  # which may be all that there is
            )
    _summarise(report)
    return report


def _shown_on(display: Display, name: str) -> "Callable[[Progress], None]":
    first = False

    def show(progress: "Progress") -> None:
        nonlocal first
        if progress.frames and not first:
            first = True
            detail(f"first frame done {time.perf_counter() - STARTED:.1f} s after the start")
        figures = frames_done(progress.frames, progress.total, progress.seconds)
        display.update(name, progress.frames, progress.total, figures)

    return show


def _summarise(report: "Report") -> None:
    """Print the warnings, then one line on what was done, or on what is there after an interruption."""
    job = report.job
    for warning in report.warnings:
        warn(warning)
    if not report.complete:
        kept = [part for part in map(part_path, job.outputs) if part.exists()]
        where = f"kept what there is as {' and '.join(map(str, kept))}" if kept else "nothing was written"
        say(f"interrupted after {report.frames} frames: {where}")
        return
    new = report.frames - report.resumed_after
    model = new / report.model_seconds if report.model_seconds else 0.0
    outputs = [path for path in (job.video, job.maps, job.confidence) if path] or job.outputs
    written = ", ".join(f"{path} ({_bytes(path) / 1e6:.1f} MB)" for path in outputs)
    written = written or ("standard output" if job.pipe or job.lines else "nothing is written")
    before = f" after {report.resumed_after} that were there" if report.resumed_after else ""
    say(
        f"{new} frames in {report.seconds:.1f} s{before} "
        f"({model:.1f} frames/s in the model, {new / report.seconds:.1f} end to end), "
        f"{report.width}x{report.height} -> {written}"
    )


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _jobs(job: Job, sources: list[str], output: Path | None, pipe: Pipe) -> list[Job]:
    """A job for each source: a single one has the outputs named, several have files named after them in folders."""
    from lmaseg.images import name_of

    if output is None and not (job.outputs or job.lines):
        beside = {source: place_beside(source) for source in sources}
        say(f"no --output is given: writing {' and '.join(map(str, beside.values()))}")
        return [_one_job(replace(job, source=source), place, pipe) for source, place in beside.items()]
    if len(sources) == 1 or output == NOTHING:
        return [_one_job(replace(job, source=source), output, pipe) for source in sources]
    for_one = job.lines or job.report or job.plot or job.coco
    if output is None or output == PIPE or is_drawn_into(output) or for_one:
        raise typer.BadParameter("several SOURCEs take a folder as --output, and no --json, --report, --plot or --coco")
    stems = [name_of(source) for source in sources]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise typer.BadParameter(f"two SOURCEs are called {twice}: give them in two commands")
    for folder in (output, job.maps, job.confidence):
        if folder:
            make_folder(folder)
    return [
        replace(
            job,
            source=source,
            video=output / f"{stem}.mp4",
            maps=job.maps and job.maps / stem,
            confidence=job.confidence and job.confidence / stem,
        )
        for source, stem in zip(sources, stems, strict=True)
    ]


def _one_job(job: Job, output: Path | None, pipe: Pipe) -> Job:
    from lmaseg.video.encoders import MUXERS

    if output is None or output == NOTHING:
        return job
    if output == PIPE:
        return replace(job, pipe=pipe)
    if is_drawn_into(output):
        return replace(job, video=output)
    if job.maps:
        raise typer.BadParameter("--labels goes with a video as --output; a folder as --output is the label maps")
    if output.suffix and not output.is_dir():
        raise typer.BadParameter(
            f"{output} ends in none of {' '.join(MUXERS)}: give a video, of one image an image such as .png, or a "
            "folder's name without a suffix"
        )
    return replace(job, maps=output)


def _preview_maker(job: Job, segmenter: "Segmenter") -> "Callable[[], PreviewSink | None]":
    """Makes the preview of a source; none where nobody could see it."""
    if console.quiet or not console.is_terminal:
        return lambda: None
    if console.color_system not in ("truecolor", "256"):
        say("no preview, as this terminal shows less than 256 colours: set TERM=xterm-256color if it shows more")
        return lambda: None
    from lmaseg.cli.preview import Preview
    from lmaseg.outputs import drawn, shown

    label_set = segmenter.net.labels
    return partial(Preview, shown(job, label_set), opacity=job.opacity, classes=drawn(job, label_set))
