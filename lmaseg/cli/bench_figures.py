"""A benchmark as people look at it: the ways to label a video in a table, times as bars, and what follows from them."""

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.table import Table

if TYPE_CHECKING:
    from lmaseg.bench.report import Benchmark, Spread

BAR_WIDTH = 18  # characters


def heading(report: "Benchmark") -> str:
    """What was timed, where, in one line."""
    settings, here = report.settings, report.environment
    source, working = ("{}x{}".format(*size) for size in (settings.source_size, settings.working_size))
    memory = f"memory {settings.memory}, window {settings.window}" if settings.memory else "no memory"
    return (
        f"{settings.backbone or 'attached network'}, {settings.classes} classes, frames {source}, "
        f"working size {working}, {memory}, batch {settings.batch}, {settings.dtype}; "
        f"{settings.device}, {here['system']['processor']}, threads {here['system']['threads']}; "
        f"torch {here['versions']['torch']}; C kernels: {here['kernels']['C']}"
    )


def ways_table(report: "Benchmark") -> Table:
    """Frames per second, latency and peak memory of each way."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("model frames/s", "end to end", "latency ms", "10 - 90 %", "peak MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for way in report.ways:
        table.add_row(
            way.name,
            f"{way.model_frames_per_second:.1f}",
            f"{way.end_to_end_frames_per_second:.1f}",
            milliseconds(way.latency.median),
            _range(way.latency),
            f"{way.peak_bytes / 1e6:.0f}" if way.peak_bytes else "unknown",
        )
    return table


def detail_tables(report: "Benchmark") -> Iterable[Table]:
    """What a full benchmark adds: times per frame as bars from zero, and their ratio to that of the network."""
    for group, details in groupby(report.details, lambda detail: detail.group):
        rows = list(details)
        table = Table(title=group.capitalize(), title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("", width=BAR_WIDTH)
        for name in ("ms", "10 - 90 %", "of the model"):
            table.add_column(name, justify="right", no_wrap=True)
        longest = max(row.seconds.median for row in rows)
        for row in rows:
            bar = Bar(longest, 0, row.seconds.median, width=BAR_WIDTH)
            figures = milliseconds(row.seconds.median), _range(row.seconds), f"{row.ratio.median:.1%}"
            table.add_row(row.name, bar, *figures)
        yield table


def conclusions(report: "Benchmark") -> Iterable[str]:
    """What the figures say together, in sentences."""
    cost = report.memory_cost
    if cost:
        yield f"with the memory the model takes {cost.median:.2f} times as long ({cost.low:.2f} to {cost.high:.2f})"
    if report.agreement is not None:
        yield f"the straightforward network gives {report.agreement:.2%} of the pixels the same label"


def _range(seconds: "Spread") -> str:
    return f"{milliseconds(seconds.low)} - {milliseconds(seconds.high)}"


def milliseconds(seconds: float) -> str:
    """Three figures or so."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
