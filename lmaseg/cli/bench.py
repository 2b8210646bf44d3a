"""`lmaseg bench`: where the time goes."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.cli.bench_tables import charts, heading, ratio_table, remarks
from lmaseg.cli.console import console, say
from lmaseg.cli.options import INPUT, NETWORK, OUTPUT, Batch, Device, Size, Weights
from lmaseg.cli.outputs import Overwrite, may_replace, require_png, write_picture, write_text

if TYPE_CHECKING:
    from lmaseg.bench import Report
    from lmaseg.models import LocalMemoryNet


EXAMPLES = """
lmaseg bench --size 512x1024 --json bench.json --plot bench.png
lmaseg bench --video drive.mp4 --device cuda --batch 8
"""


class Dtype(StrEnum):
    """What the optimised network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


Memory = Annotated[
    int | None,
    typer.Option(min=1, help="Past frames to attend to; default: as the weights want.", rich_help_panel=NETWORK),
]
Window = Annotated[
    int | None,
    typer.Option(min=1, help="Odd side of the attention's window, in feature cells.", rich_help_panel=NETWORK),
]
DtypeName = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype", help="Type the optimised network computes in; default: the fastest here.", rich_help_panel=NETWORK
    ),
]
Video = Annotated[
    Path | None, typer.Option(help="Time on its first frames; default: a drawn view that moves.", rich_help_panel=INPUT)
]
Seconds = Annotated[
    float, typer.Option(min=0, help="Per group of contenders; at least five repeats are made.", rich_help_panel=INPUT)
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write every figure, the settings and the versions.", rich_help_panel=OUTPUT),
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the bars.", rich_help_panel=OUTPUT)]


def bench(
    weights: Weights = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    window: Window = None,
    batch: Batch = 1,
    dtype: DtypeName = None,
    video: Video = None,
    seconds: Seconds = 20.0,
    json_file: Json = None,
    plot: Plot = None,
    overwrite: Overwrite = None,
) -> None:
    """Time a network, its stages and a video end to end."""
    if window is not None and window % 2 == 0:
        raise typer.BadParameter(f"a window has an odd number of cells, not {window}: {window + 1} would do")
    require_png(plot)
    may_replace([path for path in (json_file, plot) if path], overwrite)

    from lmaseg.checkpoint import load

    options = {"size": size, "memory": memory, "window": window, "batch": batch, "video": video, "seconds": seconds}
    report = _measure(load(weights, device), dtype, options)
    _show(report)
    if json_file:
        content = {"weights": str(weights or "bundled"), "video": str(video or "drawn"), **asdict(report)}
        write_text(json_file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    if plot:
        from lmaseg.cli.bench_plot import report_plot

        write_picture(plot, report_plot(report))


def _measure(net: "LocalMemoryNet", dtype: Dtype | None, options: dict[str, Any]) -> "Report":
    import torch

    from lmaseg.bench import bench

    try:
        return bench(
            net, dtype=getattr(torch, dtype) if dtype else None, on_group=lambda name: say(f"timing: {name}"), **options
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _show(report: "Report") -> None:
    say(heading(report))
    console.print(ratio_table(report))
    for chart in charts(report):
        console.print(chart.table())
    for line in remarks(report):
        say(line)
