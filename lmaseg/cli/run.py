"""`lmaseg run`: sources in, overlaid videos or label maps out."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.network import load_network
from lmaseg.cli.options import Batch, Device, Memory, Net, Size, Weights, parse_time
from lmaseg.cli.outputs import Overwrite
from lmaseg.cli.run_job import PIPE, Ids, Job, Pipe, Settings, run_job
from lmaseg.errors import LmasegError

if TYPE_CHECKING:
    from lmaseg.labels import LabelSet
    from lmaseg.stream import Segmenter

FAILED = 1


class ViewName(StrEnum):
    """What an output video shows; keys of `lmaseg.render.VIEWS`."""

    OVERLAY = "overlay"
    MASK = "mask"
    SIDE_BY_SIDE = "side-by-side"
    CONTOUR = "contour"


INPUT, OUTPUT, PICTURE, NETWORK = "Input", "Output", "Picture", "Network"

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Videos, folders of images, quoted globs such as 'frames/*.png', addresses (rtsp://, https://), a camera "
        "(camera:0), or - for standard input.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="A video (.mp4 .mkv .mov .webm) to draw into; a folder for label maps, or for the videos of several "
        "SOURCEs; - for label maps on standard output.",
    ),
]
Start = Annotated[
    Any,
    typer.Option(
        "-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5.", rich_help_panel=INPUT
    ),
]
Duration = Annotated[
    Any,
    typer.Option("-t", parser=parse_time, metavar="TIME", help="Take this much of the source.", rich_help_panel=INPUT),
]
End = Annotated[
    Any,
    typer.Option(
        "-to", parser=parse_time, metavar="TIME", help="Stop here, counted in the source.", rich_help_panel=INPUT
    ),
]
Stride = Annotated[int, typer.Option(min=1, help="Take every Nth frame; times are kept.", rich_help_panel=INPUT)]
Deinterlace = Annotated[bool, typer.Option(help="Filter frames marked as interlaced.", rich_help_panel=INPUT)]
Strict = Annotated[bool, typer.Option("--strict", help="End at the first damaged packet.", rich_help_panel=INPUT)]
Live = Annotated[bool, typer.Option("--live", help="Drop frames rather than lag behind.", rich_help_panel=INPUT)]
Labels = Annotated[
    Path | None,
    typer.Option(help="Also write one indexed PNG label map per frame into this folder.", rich_help_panel=OUTPUT),
]
Confidence = Annotated[
    Path | None,
    typer.Option(
        help="Also write one 16-bit PNG per frame into this folder: how probable the classes are.",
        rich_help_panel=OUTPUT,
    ),
]
LabelIds = Annotated[
    Ids,
    typer.Option(
        help="Ids in label maps: the weights' classes, or Cityscapes train or label ids.", rich_help_panel=OUTPUT
    ),
]
PipeFormat = Annotated[
    Pipe,
    typer.Option(
        "--pipe", help="Label maps on standard output: bare bytes, or a lossless grey video.", rich_help_panel=OUTPUT
    ),
]
Codec = Annotated[
    str | None,
    typer.Option(help="Video codec: h264 hevc av1 vp9 ffv1; default: as the suffix wants.", rich_help_panel=OUTPUT),
]
Crf = Annotated[
    float | None,
    typer.Option(min=0, max=63, help="Constant rate factor: lower is better and larger.", rich_help_panel=OUTPUT),
]
Lines = Annotated[
    Path | None,
    typer.Option("--json", help="Write time and class shares of each frame, a JSON line each.", rich_help_panel=OUTPUT),
]
Report = Annotated[
    Path | None,
    typer.Option(help="Write figures, settings and class shares over time to this JSON.", rich_help_panel=OUTPUT),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with what a run of the same command left unfinished.", rich_help_panel=OUTPUT),
]
View = Annotated[ViewName, typer.Option(help="What the video shows.", rich_help_panel=PICTURE)]
Opacity = Annotated[
    float, typer.Option(min=0, max=1, help="Of the class colours over the picture.", rich_help_panel=PICTURE)
]
Classes = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Draw only these classes.", rich_help_panel=PICTURE)
]
Legend = Annotated[bool, typer.Option("--legend", help="Name the classes in a corner.", rich_help_panel=PICTURE)]
ResetAtCuts = Annotated[
    bool, typer.Option(help="Forget the past where the video cuts to another shot.", rich_help_panel=NETWORK)
]


def run(
    sources: Sources,
    output: Output,
    labels: Labels = None,
    confidence: Confidence = None,
    ids: LabelIds = Ids.CLASS,
    lines: Lines = None,
    report: Report = None,
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
    """Segment videos: lmaseg run input.mp4 -o out.mp4."""
    given = {key: value for key, value in locals().items() if key not in ("sources", "resume", "overwrite")}
    end = _end_time(start, duration, end)
    jobs = _jobs(sources, output, Job(sources[0], maps=labels, confidence=confidence, lines=lines, report=report))

    from lmaseg.render import VIEWS

    segmenter = make_segmenter(weights, device, size, memory, batch, net, confidence=confidence is not None)
    label_set = segmenter.net.labels
    drawn = None if classes is None else class_ids(classes, label_set)
    settings = Settings(
        segmenter=segmenter,
        view=VIEWS[view](label_set, opacity=opacity, classes=drawn, legend=legend),
        reading={"deinterlace": deinterlace, "strict": strict, "live": live},
        start=start,
        end=end,
        stride=stride,
        ids=ids,
        pipe=pipe,
        codec=codec,
        crf=crf,
        reset_at_cuts=reset_at_cuts,
        overwrite=overwrite,
        resume=resume,
        given=_as_json(given),
    )
    failed = 0
    for job in jobs:
        try:
            stopped = run_job(job, settings)
        except LmasegError as error:
            if len(jobs) == 1:
                raise
            say(str(error), prefix="[bold red]error:[/] ")
            failed += 1
            continue
        if stopped:
            raise typer.Exit(INTERRUPTED)
    if failed:
        say(f"{failed} of {len(jobs)} sources failed", prefix="[bold red]error:[/] ")
        raise typer.Exit(FAILED)


def make_segmenter(
    weights: Path | None,
    device: str,
    size: Any,
    memory: int | None,
    batch: int = 1,
    net: str | None = None,
    *,
    confidence: bool = False,
) -> "Segmenter":
    """The network of a checkpoint, ready to stream; a size it cannot work at is a wrong command line."""
    from lmaseg.stream import Segmenter

    try:
        loaded = load_network(weights, device, net)
        return Segmenter(loaded, size=size, memory=memory, batch=batch, confidence=confidence)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _end_time(start: float | None, duration: float | None, end: float | None) -> float | None:
    """Where to stop in the source; a duration wins over an end, as in ffmpeg."""
    if duration is not None:
        end = (start or 0.0) + duration
    if end is not None and end <= (start or 0.0):
        raise typer.BadParameter(f"the end ({end:g} s) is not after the start ({start or 0:g} s)")
    return end


def _jobs(sources: list[str], output: Path, wanted: Job) -> list[Job]:
    """What each source becomes, besides what else is `wanted` of the first.

    One alone goes to the outputs named, several to files named after them in folders.
    """
    from lmaseg.video import SUFFIXES

    is_video = output.suffix.lower() in SUFFIXES
    if len(sources) == 1:
        return [_one_job(output, is_video, wanted)]
    if output == PIPE or is_video or wanted.lines or wanted.report:
        raise typer.BadParameter("several SOURCEs take a folder as --output, and no --json or --report")
    stems = [Path(source).stem for source in sources]
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


def make_folder(folder: Path) -> None:
    """Make an output's folder where it does not exist."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be made a folder ({error.strerror}): give another name") from error


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
