"""`lmaseg compare`: a video with memory off and on side by side."""

from dataclasses import replace
from typing import Annotated

import typer

from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.job_options import NETWORK, READING, Duration, JobMaker, JobOptions
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import end_time
from lmaseg.cli.outputs import Overwrite, may_replace
from lmaseg.cli.run import run_job
from lmaseg.paths import check_apart

EXAMPLES = """
lmaseg compare drive.mp4 -o cmp.mp4                   side by side
lmaseg compare drive.mp4 -o cmp.mp4 -ss 1:30 -t 20    20 s from 1:30
lmaseg compare drive.mp4 -o cmp.mp4 --still 12        a noisy video
"""
Options = JobOptions(("source", "video", "codec", "crf", "opacity", "still", *READING, *NETWORK), required=("video",))


def compare(job: Annotated[JobMaker, Options], duration: Duration = None, overwrite: Overwrite = None) -> None:
    """Show a video labelled without and with memory, side by side, with what flickers in white.

    A pixel flickers where its label changes from one frame to the next although the picture there hardly does (see
    --still). The last line has the share of such pixels among the still ones, memory off and on.
    """
    wanted = job(compare=True)
    wanted = replace(wanted, end=end_time(wanted.start, duration, wanted.end))
    if wanted.memory == 0:
        raise typer.BadParameter("there must be a memory to compare with: leave out --memory 0")
    may_replace(wanted.outputs, overwrite)
    check_apart(wanted.outputs, [wanted.source])
    report = run_job(wanted, make_segmenter(wanted), overwrite=overwrite)
    if report and report.flicker:
        off, on = report.flicker
        say(f"flickering pixels, of those that are still: {off:.2%} with memory off, {on:.2%} with memory on")
    if report and not report.complete:
        raise typer.Exit(INTERRUPTED)
