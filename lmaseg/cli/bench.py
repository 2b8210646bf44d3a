"""`lmaseg bench`: how fast a network is here."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lmaseg.cli.bench_figures import conclusions, detail_tables, heading, ways_table
from lmaseg.cli.console import Display, clock, console, say
from lmaseg.cli.network import load_network
from lmaseg.cli.options import input_option, network_option, output_option, refusing
from lmaseg.cli.outputs import Overwrite, may_replace
from lmaseg.cli.settings import COMPUTING, job_options
from lmaseg.job import Job
from lmaseg.paths import write_text

EXAMPLES = """
lmaseg bench                                          the bundled weights
lmaseg bench --size 512x1024 --full --json bench.json
lmaseg bench --video drive.mp4 --device cuda --batch 8
"""


def bench(
    job: Annotated[Job, job_options(*COMPUTING)],
    window: Annotated[
        int | None, network_option(min=1, help="Side of the attention window in feature cells, an odd number.")
    ] = None,
    video: Annotated[
        Path | None, input_option(help="A video whose first frames are used; default: a moving pattern.")
    ] = None,
    full: Annotated[
        bool,
        input_option(
            "--full", help="Also time each part, other memories and sizes, and the network as its authors wrote it."
        ),
    ] = False,
    seconds: Annotated[
        float | None, input_option(min=0, help="About how many seconds to take in all; default: 20, with --full 60.")
    ] = None,
    json_file: Annotated[
        Path | None, output_option("--json", help="Write every figure, the settings and the versions.")
    ] = None,
    overwrite: Overwrite = None,
) -> None:
    """Measure how fast a network is on this machine, with the memory off and on."""
    if window is not None and window % 2 == 0:
        raise typer.BadParameter(f"a window has an odd number of cells, not {window}: {window + 1} would do")
    may_replace([json_file] if json_file else [], overwrite)

    from lmaseg.bench import bench
    from lmaseg.models.precision import named_dtype

    with refusing(), Display(at_once=True) as display:
        report = bench(
            load_network(job.weights, job.device, job.net),
            size=job.size,
            memory=job.memory,
            window=window,
            batch=job.batch,
            dtype=named_dtype(job.dtype),
            video=video,
            full=full,
            seconds=seconds,
            on_progress=_shown_on(display),
        )
    say(heading(report))
    for table in (ways_table(report), *detail_tables(report)):
        console.print(table)
    for line in conclusions(report):
        say(line)
    if json_file:
        told = {"weights": str(job.weights or job.net or "bundled"), "video": str(video or "drawn")}
        write_text(json_file, json.dumps({**told, **asdict(report)}, indent=2, allow_nan=False) + "\n")


def _shown_on(display: Display) -> Callable[[str, float], None]:
    begun = time.monotonic()

    def show(group: str, share: float) -> None:
        left = f"{clock((time.monotonic() - begun) * (1 / share - 1))} left" if share else ""
        display.update(f"timing {group}", share, 1.0, left)

    return show
