"""`lmaseg batch`: many videos in chunks, on one worker or on many."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.batch.resources import WORK, Resources
from lmaseg.cli.batch_display import figures, show_failures, status_lines
from lmaseg.cli.console import Display, clock, complain, say, warn
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import parse_time
from lmaseg.cli.outputs import make_folder
from lmaseg.cli.settings import COMPUTING, LOOK, job_options
from lmaseg.errors import BatchError, VideoError
from lmaseg.job import Job
from lmaseg.lock import Lock
from lmaseg.paths import write_text

if TYPE_CHECKING:
    from lmaseg.batch.schedule import Schedule

FAILED = 1
LOCK, REPORT = ".lock", "report.json"
EXAMPLES = """
lmaseg batch 'videos/*.mp4' -o out/                   many, in chunks
lmaseg batch --list videos.txt -o out/ --workers 4    on four workers
lmaseg batch --list videos.csv -o out/ --address auto --labels-only
lmaseg batch --status out/                            how far it is
"""

OPTIONS = job_options("ids", "codec", "crf", *LOOK, "deinterlace", *COMPUTING, "reset_at_cuts")


def batch(
    job: Annotated[Job, OPTIONS],
    resources: Resources,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...", help="Videos, folders of images, or quoted patterns of either.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder for all outputs; every worker must have access to it."),
    ] = None,
    listing: Annotated[
        Path | None,
        typer.Option(
            "--list",
            help="A list of sources: a text file with one per line, or a CSV file with the columns source and name.",
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Also write a label map of each frame: DIR/NAME/000000.png and so on.")
    ] = False,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Write label maps and no videos.")] = False,
    status: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Print how much of the job in this folder is done, and exit.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-y", help="Replace files in the output folder that another job wrote.")
    ] = False,
    seconds: Annotated[
        Any,
        typer.Option("--chunk", parser=parse_time, metavar="TIME", help="Length of a chunk.", rich_help_panel=WORK),
    ] = "60s",
) -> None:
    """Segment many videos in chunks, on any number of workers: lmaseg batch 'videos/*.mp4' -o out.

    The same command given again does only what is missing or has changed.
    """
    if status is not None:
        _print_status(status)
        return
    if output is None:
        raise typer.BadParameter("name the folder for the outputs: -o DIR")
    if seconds <= 0:
        raise typer.BadParameter("a chunk must be longer than 0 seconds: give --chunk 60, for instance")

    from lmaseg.batch.chunk import SUFFIX
    from lmaseg.batch.sources import absolute, find_sources

    folder, job = Path(absolute(output)), _for_workers(job)
    jobs = {}
    for name, path in find_sources(sources or [], listing).items():
        video = None if labels_only else folder / f"{name}{SUFFIX}"
        maps = folder / name if labels or labels_only else None
        jobs[name] = replace(job, source=path, video=video, maps=maps)
    _work(jobs, folder, seconds, resources, overwrite=overwrite)


def _for_workers(job: Job) -> Job:
    """The job with paths that workers find, too; a wrong command line is found out before they do, each for itself."""
    from lmaseg.batch.chunk import SUFFIX
    from lmaseg.batch.sources import absolute
    from lmaseg.checkpoint import weights_file
    from lmaseg.models.spec import HUB_PREFIX
    from lmaseg.video.encoders import encoder_for, muxer_for, options_for

    if job.weights:
        job = replace(job, weights=Path(absolute(weights_file(job.weights))))
    if job.net and Path(named := job.net.removeprefix(HUB_PREFIX)).is_dir():
        job = replace(job, net=f"{HUB_PREFIX}{absolute(named)}")
    muxer = muxer_for(Path(f"any{SUFFIX}"))
    options_for(encoder_for(job.codec or muxer.default_codec, muxer), job.crf)
    make_segmenter(replace(job, device="cpu"), describe=False)
    return job


def _work(jobs: Mapping[str, Job], folder: Path, seconds: float, resources: Resources, *, overwrite: bool) -> None:
    from lmaseg.batch.folder import check_outputs, report_of
    from lmaseg.batch.manifest import Manifest, history
    from lmaseg.batch.schedule import Schedule
    from lmaseg.cluster import executor_for

    make_folder(folder)
    first = next(iter(jobs.values()))
    with Lock(folder / LOCK, folder) as lock, Manifest(folder) as manifest:
        known = history(folder)
        check_outputs(jobs, folder, known, overwrite=overwrite)
        executor = executor_for(resources, device=first.device, module_folder=os.getcwd() if first.net else None)
        at_once = True
        try:
            schedule = Schedule(jobs, folder, manifest, known, executor, seconds=seconds)
            with stop_on_interrupt() as stop, Display() as display:
                for progress in schedule.run(stop):
                    lock.beat()
                    display.update("chunks", progress.chunks_done, progress.chunks or None, figures(progress))
            at_once = stop.is_set()
        finally:
            executor.close(at_once=at_once)
        complete = progress.sources_done == progress.sources
        with suppress(VideoError):  # on a full disk, the messages below matter more
            write_text(folder / REPORT, json.dumps(report_of(schedule, complete=complete), indent=2) + "\n")
    _summarise(schedule, folder, stopped=stop.is_set())


def _summarise(job: "Schedule", folder: Path, *, stopped: bool) -> None:
    progress = job.progress()
    found = sum(state.found_done for state in job.states)
    for state in job.states:
        for warning in state.warnings:
            warn(f"{state.name}: {warning}")
    say(
        f"{progress.sources_done} of {progress.sources} sources done ({found} before), {progress.frames} frames in "
        f"{clock(progress.seconds)} -> {folder}"
    )
    if stopped:
        say("interrupted: give the same command again to continue")
        raise typer.Exit(INTERRUPTED)
    show_failures({state.name: state.error for state in job.states})
    if job.full:
        complain("the disk is full: make room, then give the same command again")
    if progress.sources_done < progress.sources:
        raise typer.Exit(FAILED)


def _print_status(folder: Path) -> None:
    from lmaseg.batch.manifest import history

    pasts = history(folder)
    if not pasts:
        raise BatchError(f"{folder} holds no batch that has begun: give the --output folder of one")
    for line in status_lines(pasts):
        say(line)
    show_failures({name: past.error for name, past in pasts.items()})
