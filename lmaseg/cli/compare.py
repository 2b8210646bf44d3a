"""`lmaseg compare`: a video with memory off and on side by side."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import Duration, with_duration
from lmaseg.cli.outputs import Overwrite, may_replace
from lmaseg.cli.run import run_job
from lmaseg.cli.settings import COMPUTING, READING, job_options
from lmaseg.job import Job
from lmaseg.paths import check_apart

EXAMPLES = """
lmaseg compare drive.mp4 -o cmp.mp4                   side by side
lmaseg compare drive.mp4 -o cmp.mp4 -ss 1:30 -t 20    20 s from 1:30
lmaseg compare drive.mp4 -o cmp.mp4 --still 12        a noisy video
"""
Options = job_options("codec", "crf", "opacity", "still", *READING, *COMPUTING, "reset_at_cuts")


def compare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A video, a folder of images, a quoted glob such as 'frames/*.png', or an address (https://).",
        ),
    ],
    video: Annotated[Path, typer.Option("--output", "-o", help="The video to write: .mp4 .mkv .mov .webm.")],
    job: Annotated[Job, Options],
    duration: Duration = None,
    overwrite: Overwrite = None,
) -> None:
    """Show a video labelled without and with memory, side by side, with what flickers in white.

    A pixel flickers where its label changes from one frame to the next although the picture there hardly does (see
    --still). The last line has the share of such pixels among the still ones, memory off and on.
    """
    job = with_duration(replace(job, source=source, video=video, compare=True), duration)
    if job.memory == 0:
        raise typer.BadParameter("there must be a memory to compare with: leave out --memory 0")
    replaced = may_replace(job.outputs, overwrite)
    check_apart(job.outputs, [source])
    report = run_job(job, make_segmenter(job), overwrite=replaced)
    if report and report.flicker:
        off, on = report.flicker
        say(f"flickering pixels, of those that are still: {off:.2%} with memory off, {on:.2%} with memory on")
    if report and not report.complete:
        raise typer.Exit(INTERRUPTED)
