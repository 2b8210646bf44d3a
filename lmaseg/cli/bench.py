"""`lmaseg bench`: how fast a network is here."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmaseg.cli.bench_figures import conclusions, detail_tables, heading, ways_table
from lmaseg.cli.console import Display, console, say
from lmaseg.cli.network import load_network
from lmaseg.cli.options import (
    Batch,
    Device,
    DtypeName,
    Memory,
    Net,
    Size,
    Weights,
    input_option,
    network_option,
    output_option,
)
from lmaseg.cli.outputs import Overwrite, may_replace, write_text

if TYPE_CHECKING:
    from lmaseg.bench import Report


EXAMPLES = """
lmaseg bench                                          the bundled weights
lmaseg bench --size 512x1024 --full --json bench.json
lmaseg bench --video drive.mp4 --device cuda --batch 8
"""

Window = Annotated[
    int | None, network_option(min=1, help="Side of the attention window in feature cells, an odd number.")
]
Video = Annotated[Path | None, input_option(help="A video whose first frames are used; default: a moving pattern.")]
Full = Annotated[
    bool,
    input_option(
        "--full", help="Also time each part, other memories and sizes, and the network as its authors wrote it."
    ),
]
Seconds = Annotated[
    float | None, input_option(min=0, help="About how many seconds to take in all; default: 20, with --full 60.")
]
Json = Annotated[Path | None, output_option("--json", help="Write every figure, the settings and the versions.")]


def bench(
    weights: Weights = None,
    net: Net = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    window: Window = None,
    batch: Batch = 1,
    dtype: DtypeName = "auto",
    video: Video = None,
    full: Full = False,
    seconds: Seconds = None,
    json_file: Json = None,
    overwrite: Overwrite = None,
) -> None:
    """Measure how fast a network is on this machine, with the memory off and on."""
    if window is not None and window % 2 == 0:
        raise typer.BadParameter(f"a window has an odd number of cells, not {window}: {window + 1} would do")
    may_replace([json_file] if json_file else [], overwrite)

    from lmaseg.bench import bench
    from lmaseg.models.precision import named_dtype

    with Display(at_once=True) as display:
        try:
            report = bench(
                load_network(weights, device, net),
                size=size,
                memory=memory,
                window=window,
                batch=batch,
                dtype=named_dtype(dtype),
                video=video,
                full=full,
                seconds=seconds,
                on_progress=lambda group, share: display.update(f"timing {group}", share, 1.0),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    _show(report)
    if json_file:
        content = {"weights": str(weights or net or "bundled"), "video": str(video or "drawn"), **asdict(report)}
        write_text(json_file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _show(report: "Report") -> None:
    say(heading(report))
    console.print(ways_table(report))
    for table in detail_tables(report):
        console.print(table)
    for line in conclusions(report):
        say(line)
