"""`lmaseg batch`: many videos in chunks, on one worker or on many."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.cli.batch_display import BatchDisplay, duration, failures_table, status_lines
from lmaseg.cli.console import complain, console, say, warn
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt
from lmaseg.cli.options import Batch, Device, Memory, Net, Size, Weights, parse_time
from lmaseg.cli.outputs import make_folder, write_text
from lmaseg.cli.run import FAILED, class_ids
from lmaseg.cli.run_job import Ids
from lmaseg.cli.run_options import (
    Classes,
    Codec,
    Crf,
    Deinterlace,
    LabelIds,
    Legend,
    Opacity,
    ResetAtCuts,
    View,
    ViewName,
)
from lmaseg.errors import VideoError

if TYPE_CHECKING:
    from lmaseg.batch.making import Making
    from lmaseg.batch.schedule import Batch as Schedule
    from lmaseg.batch.sources import Source
    from lmaseg.cluster import Resources

WORK = "Work"
REPORT = "report.json"
EXAMPLES = """
lmaseg batch 'videos/*.mp4' -o out/                   many, in chunks
lmaseg batch --list videos.txt -o out/ --workers 4    on four workers
lmaseg batch --list videos.csv -o out/ --address auto --labels-only
lmaseg batch --status out/                            how far it is
"""

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="Videos, quoted patterns of them, folders or quoted patterns of images.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The folder for all outputs; every worker must see it.")
]
Listing = Annotated[
    Path | None,
    typer.Option("--list", help="Sources in a text file, one a line, or in a CSV with columns source and name."),
]
Labels = Annotated[bool, typer.Option("--labels", help="Also write DIR/NAME/000000.png ..., a label map per frame.")]
LabelsOnly = Annotated[bool, typer.Option("--labels-only", help="Write label maps and no videos.")]
Status = Annotated[
    Path | None, typer.Option("--status", metavar="DIR", help="Print how far the job in this folder is, and leave.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-y", help="Replace outputs that are not of this job.")]
Seconds = Annotated[
    Any, typer.Option("--chunk", parser=parse_time, metavar="TIME", help="Length of a chunk.", rich_help_panel=WORK)
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="1 works in this process, more on Ray; default: 1, or all a cluster has.", rich_help_panel=WORK
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster to join: auto, or HOST:PORT; default: this machine.", rich_help_panel=WORK),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker", min=0, help="May be a share; default: 1 where there are GPUs.", rich_help_panel=WORK
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option(
        "--cpus-per-worker", min=1, help="Default: this machine's shared out; 1 in a cluster.", rich_help_panel=WORK
    ),
]


def batch(
    sources: Sources = None,
    output: Output = None,
    listing: Listing = None,
    labels: Labels = False,
    labels_only: LabelsOnly = False,
    ids: LabelIds = Ids.CLASS,
    status: Status = None,
    overwrite: Overwrite = False,
    seconds: Seconds = "60s",
    workers: Workers = None,
    address: Address = None,
    gpus_per_worker: Gpus = None,
    cpus_per_worker: Cpus = None,
    codec: Codec = None,
    crf: Crf = None,
    view: View = ViewName.OVERLAY,
    opacity: Opacity = 0.5,
    classes: Classes = None,
    legend: Legend = False,
    deinterlace: Deinterlace = True,
    weights: Weights = None,
    net: Net = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    batch: Batch = 1,
    reset_at_cuts: ResetAtCuts = True,
) -> None:
    """Segment many videos in chunks, on any number of workers: lmaseg batch 'videos/*.mp4' -o out.

    Given again, the same command does what is missing or has changed.
    """
    if status is not None:
        _print_status(status)
        return
    if output is None:
        raise typer.BadParameter("name the folder for the outputs: -o DIR")
    if seconds <= 0:
        raise typer.BadParameter("a chunk must last longer than nothing: give --chunk 60, for instance")

    from lmaseg.batch.making import Making
    from lmaseg.batch.sources import absolute, find_sources
    from lmaseg.cluster import Resources

    making = Making(
        output=absolute(output),
        video=not labels_only,
        labels=labels or labels_only,
        ids=str(ids),
        weights=absolute(weights) if weights else None,
        net=net,
        net_folder=os.getcwd() if net else None,
        device=device,
        size=size,
        memory=memory,
        batch=batch,
        reset_at_cuts=reset_at_cuts,
        deinterlace=deinterlace,
        view=str(view),
        opacity=opacity,
        classes=_drawn(classes, weights),
        legend=legend,
        codec=codec,
        crf=crf,
    )
    _check(making)
    resources = Resources(workers, address, gpus_per_worker, cpus_per_worker)
    _work(find_sources(sources or [], listing), making, seconds, resources, overwrite=overwrite)


def _work(
    sources: "list[Source]", making: "Making", seconds: float, resources: "Resources", *, overwrite: bool
) -> None:
    from lmaseg.batch.job import check_outputs, report_of
    from lmaseg.batch.lock import Lock
    from lmaseg.batch.manifest import Manifest, history
    from lmaseg.batch.schedule import Batch as Schedule
    from lmaseg.cluster import executor_for

    folder = Path(making.output)
    make_folder(folder)
    with Lock(folder) as lock, Manifest(folder) as manifest:
        pasts = history(folder)
        check_outputs(sources, making, pasts, overwrite=overwrite)
        executor, making = executor_for(making, resources)
        at_once = True
        try:
            job = Schedule(sources, making, manifest, pasts, executor, seconds=seconds)
            with stop_on_interrupt() as stop, BatchDisplay() as display:
                for progress in job.run(stop):
                    lock.beat()
                    display.update(progress)
            at_once = stop.is_set()
        finally:
            executor.close(at_once=at_once)
        complete = progress.sources_done == progress.sources
        with suppress(VideoError):  # on a full disk, what is said below is the better news
            write_text(folder / REPORT, json.dumps(report_of(job, making, complete=complete), indent=2) + "\n")
    _summarise(job, folder, stopped=stop.is_set())


def _summarise(job: "Schedule", folder: Path, *, stopped: bool) -> None:
    progress = job.progress()
    found = sum(state.found_done for state in job.states)
    for state in job.states:
        for warning in state.warnings:
            warn(f"{state.source.name}: {warning}")
    say(
        f"{progress.sources_done} of {progress.sources} sources done ({found} before), {progress.frames} frames in "
        f"{duration(progress.seconds)} -> {folder}"
    )
    if stopped:
        say("interrupted: give the same command again to go on")
        raise typer.Exit(INTERRUPTED)
    failures = {state.source.name: state.error for state in job.states if state.error is not None}
    if failures:
        console.print(failures_table(failures))
    if job.full:
        complain("the disk is full: make room, then give the same command again")
    if progress.sources_done < progress.sources:
        raise typer.Exit(FAILED)


def _print_status(folder: Path) -> None:
    from lmaseg.batch.job import status_of

    pasts = status_of(folder)
    for line in status_lines(pasts):
        say(line)
    failures = {name: past.error for name, past in pasts.items() if past.error is not None}
    if failures:
        console.print(failures_table(failures))


def _check(making: "Making") -> None:
    """Find out about a wrong command line before workers do, each for itself."""
    from lmaseg.batch.making import SUFFIX, make_segmenter
    from lmaseg.video.encoders import encoder_for, muxer_for, options_for

    muxer = muxer_for(Path(f"any{SUFFIX}"))
    options_for(encoder_for(making.codec or muxer.default_codec, muxer), making.crf)
    try:
        make_segmenter(replace(making, device="cpu", threads=None))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _drawn(classes: str | None, weights: Path | None) -> tuple[int, ...] | None:
    from lmaseg.checkpoint import BUNDLED, read_header

    return None if classes is None else tuple(class_ids(classes, read_header(weights or BUNDLED).labels))
