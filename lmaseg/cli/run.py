"""`lmaseg run`: sources in, overlaid videos or label maps out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lmaseg.cli.console import complain, complain_unexpected, console, say
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import Batch, Device, Memory, Net, Size, Weights, end_time
from lmaseg.cli.outputs import Overwrite, check_apart, make_folder, require_png
from lmaseg.cli.run_job import PIPE, Ids, Job, Pipe, Settings, run_job
from lmaseg.cli.run_options import (
    Classes,
    Codec,
    Confidence,
    Crf,
    Deinterlace,
    Duration,
    End,
    LabelIds,
    Labels,
    Legend,
    Lines,
    Live,
    Opacity,
    Output,
    PipeFormat,
    Plot,
    Preview,
    Report,
    ResetAtCuts,
    Resume,
    Sources,
    Start,
    Strict,
    Stride,
    View,
    ViewName,
)
from lmaseg.errors import LmasegError

if TYPE_CHECKING:
    from lmaseg.cli.preview import Preview as PreviewSink
    from lmaseg.labels import LabelSet

FAILED = 1
NO_MATTER = ("sources", "resume", "overwrite", "preview")  # to what the outputs of a source hold
EXAMPLES = """
lmaseg run drive.mp4 -o out.mp4                       a video, overlaid
lmaseg run drive.mp4 -o out.mp4 --labels masks/       and label maps
lmaseg run drive.mp4 -o masks/ --ids train            label maps only
lmaseg run drive.mp4 -o part.mp4 -ss 1:30 -t 20       20 s from 1:30
lmaseg run 'frames/*.png' -o masks/                   a folder of images
lmaseg run a.mp4 b.mkv -o out/                        several videos
lmaseg run rtsp://host/stream -o out.mkv --live       a stream
lmaseg run drive.mp4 -o out.mp4 --preview             watch it
lmaseg run --print-config > run.toml                  options as a file
"""


def run(
    sources: Sources,
    output: Output,
    labels: Labels = None,
    confidence: Confidence = None,
    ids: LabelIds = Ids.CLASS,
    lines: Lines = None,
    report: Report = None,
    plot: Plot = None,
    preview: Preview = False,
    pipe: PipeFormat = Pipe.GRAY,
    codec: Codec = None,
    crf: Crf = None,
    resume: Resume = False,
    overwrite: Overwrite = None,
    view: View = ViewName.OVERLAY,
    opacity: Opacity = 0.5,
    classes: Classes = None,
    legend: Legend = False,
    start: Start = None,
    duration: Duration = None,
    end: End = None,
    stride: Stride = 1,
    deinterlace: Deinterlace = True,
    strict: Strict = False,
    live: Live = False,
    weights: Weights = None,
    net: Net = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    batch: Batch = 1,
    reset_at_cuts: ResetAtCuts = True,
) -> None:
    """Segment videos, streams or images into overlaid videos and label maps."""
    given = {key: value for key, value in locals().items() if key not in NO_MATTER}
    require_png(plot)
    end = end_time(start, duration, end)
    wanted = Job(sources[0], maps=labels, confidence=confidence, lines=lines, report=report, plot=plot)
    from lmaseg.images import gathered

    sources = gathered(sources)
    jobs = _jobs(sources, output, replace(wanted, source=sources[0]))
    check_apart([path for job in jobs for path in job.files], [source for source in sources if source != "-"])

    from lmaseg.render import VIEWS

    segmenter = make_segmenter(weights, device, size, memory, batch, net, confidence=confidence is not None)
    label_set = segmenter.net.labels
    drawn = None if classes is None else class_ids(classes, label_set)
    settings = Settings(
        segmenter=segmenter,
        view=VIEWS[view](label_set, opacity=opacity, classes=drawn, legend=legend),
        reading={
            "start": start,
            "end": end,
            "stride": stride,
            "deinterlace": deinterlace,
            "strict": strict,
            "live": live,
        },
        ids=ids,
        pipe=pipe,
        codec=codec,
        crf=crf,
        reset_at_cuts=reset_at_cuts,
        overwrite=overwrite,
        resume=resume,
        make_preview=_preview_maker(label_set, opacity, drawn) if preview else None,
        given=_as_json(given),
    )
    _run_all(jobs, settings)


def _run_all(jobs: list[Job], settings: Settings) -> None:
    """One source after the other; of several, the failure of one does not end the rest."""
    failed = 0
    for job in jobs:
        try:
            stopped = run_job(job, settings)
        except Exception as error:
            if len(jobs) == 1:
                raise
            if isinstance(error, LmasegError):
                complain(str(error))
            else:
                complain_unexpected(error)
            failed += 1
            continue
        if stopped:
            raise typer.Exit(INTERRUPTED)
    if failed:
        complain(f"{failed} of {len(jobs)} sources failed")
        raise typer.Exit(FAILED)


def _jobs(sources: list[str], output: Path, wanted: Job) -> list[Job]:
    """What each source becomes, besides what else is `wanted` of the first.

    One alone goes to the outputs named, several to files named after them in folders.
    """
    from lmaseg.images import name_of
    from lmaseg.video import SUFFIXES

    is_video = output.suffix.lower() in SUFFIXES
    if len(sources) == 1:
        return [_one_job(output, is_video, wanted)]
    if output == PIPE or is_video or wanted.lines or wanted.report or wanted.plot:
        raise typer.BadParameter("several SOURCEs take a folder as --output, and no --json, --report or --plot")
    stems = [name_of(source) for source in sources]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise typer.BadParameter(f"two SOURCEs are called {twice}: give them in two commands")
    for folder in (output, wanted.maps, wanted.confidence):
        if folder:
            make_folder(folder)
    return [
        Job(
            source,
            video=output / f"{stem}.mp4",
            maps=wanted.maps and wanted.maps / stem,
            confidence=wanted.confidence and wanted.confidence / stem,
        )
        for source, stem in zip(sources, stems, strict=True)
    ]


def _one_job(output: Path, is_video: bool, wanted: Job) -> Job:
    from lmaseg.video import SUFFIXES

    if output == PIPE:
        return replace(wanted, pipe=True)
    if is_video:
        return replace(wanted, video=output)
    if wanted.maps:
        raise typer.BadParameter("--labels goes with a video as --output; a folder as --output is the label maps")
    if output.suffix and not output.is_dir():
        known = " ".join(SUFFIXES)
        raise typer.BadParameter(f"{output} ends in none of {known}: give a video, or a folder's name without a suffix")
    return replace(wanted, maps=output)


def _preview_maker(
    label_set: "LabelSet", opacity: float, classes: list[int] | None
) -> "Callable[[], PreviewSink] | None":
    """What makes the preview of a source; None where nobody could see it."""
    if console.quiet or not console.is_terminal:
        return None
    if console.color_system not in ("truecolor", "256"):
        say("no preview, as this terminal shows less than 256 colours: set TERM=xterm-256color if it shows more")
        return None
    from lmaseg.cli.preview import Preview

    return partial(Preview, label_set, opacity=opacity, classes=classes)


def class_ids(names: str, label_set: "LabelSet") -> list[int]:
    """The ids of the classes that a comma-separated list names."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in label_set.names]
    if unknown or not wanted:
        known = ", ".join(label_set.names)
        raise typer.BadParameter(
            f"the weights know no class {', '.join(unknown) or 'without a name'}: choose of {known}"
        )
    return [label_set.names.index(name) for name in wanted]


def _as_json(given: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
