"""A benchmark as people look at it: ratios first, then times as bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.table import Table

if TYPE_CHECKING:
    from lmaseg.bench.report import Comparison, Report, Spread

BAR_WIDTH = 18  # characters


@dataclass(frozen=True)
class Row:
    """One bar of a chart."""

    label: str
    seconds: float
    spread: str
    note: str = ""
    strong: bool = False
    """What the chart is about, not what it is compared with."""


@dataclass(frozen=True)
class Chart:
    """Times of the same kind, as bars from zero."""

    title: str
    note: str
    """Heading of the rows' notes."""
    rows: tuple[Row, ...]

    @property
    def longest(self) -> float:
        """Seconds of the longest bar."""
        return max(row.seconds for row in self.rows)

    def table(self) -> Table:
        """The chart in characters."""
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("", width=BAR_WIDTH)
        for name in ("ms", "10 - 90 %", self.note):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            bar = Bar(self.longest, 0, row.seconds, width=BAR_WIDTH)
            style = "bold" if row.strong else ""
            table.add_row(row.label, bar, milliseconds(row.seconds), row.spread, row.note, style=style)
        return table


def heading(report: "Report") -> str:
    """What was timed, where, in one line."""
    settings, machine = report.settings, report.machine
    source, working = ("{}x{}".format(*size) for size in (settings.source_size, settings.working_size))
    kernels = f"C kernels {machine.kernels[-1]}" if machine.kernels else machine.kernels_missing
    return (
        f"{settings.backbone}, {settings.classes} classes, frames {source}, working size {working}, "
        f"memory {settings.memory}, window {settings.window}, batch {settings.batch}, {settings.dtype}; "
        f"{machine.device}, {machine.processor}, threads {machine.threads}; torch {machine.torch}; {kernels}"
    )


def ratio_table(report: "Report") -> Table:
    """What each measure gains or costs."""
    table = Table(title="Ratios", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("ratio", "10 - 90 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, spread in ratios(report):
        table.add_row(label, f"{spread.median:.2f}", f"{spread.low:.2f} - {spread.high:.2f}")
    return table


def ratios(report: "Report") -> Iterable[tuple[str, "Spread"]]:
    """What is compared with what, and how many times as long it takes."""
    yield "straightforward network / with memory", report.network.speedup
    yield "network with memory / single frame", report.network.memory_cost
    rivals = (
        ("attention: loop over offsets / lmaseg", report.attention.best("reference")),
        ("attention: best other way / lmaseg", report.attention.best("tiled", "flex_attention")),
        ("upsampling 2x and argmax: torch / lmaseg", report.labelling.best("torch")),
        ("the same, channels last in torch / lmaseg", report.labelling.best("torch channels last")),
    )
    yield from ((label, rival.times) for label, rival in rivals if rival)
    yield "video end to end / network alone", report.end_to_end.ratio


def charts(report: "Report") -> list[Chart]:
    """Every time of a report, per frame."""
    return [
        _network_chart(report),
        _stage_chart(report),
        _comparison_chart(report.attention),
        _comparison_chart(report.labelling),
        *_growth_charts(report),
        _end_to_end_chart(report),
    ]


def _network_chart(report: "Report") -> Chart:
    network = report.network
    rows = (
        _row(variant.name, variant.seconds, _fps(variant.seconds), strong=variant is network.with_memory)
        for variant in (network.straightforward, network.single_frame, network.with_memory)
    )
    return Chart("Network, from a frame's bytes to its labels", "frames/s", tuple(rows))


def _stage_chart(report: "Report") -> Chart:
    rows = [_row("network with memory", report.stages.network, "100 %")]
    for stage in report.stages.stages:
        note = f"{stage.share.median:.0%}".replace("%", " %") if stage.in_network else "outside"
        rows.append(_row(stage.name, stage.seconds, note, strong=stage.in_network))
    return Chart("Stages, each alone", "share", tuple(rows))


def _comparison_chart(comparison: "Comparison") -> Chart:
    rows = [_row("lmaseg", comparison.ours, "1.0x", strong=True)]
    if comparison.floor:
        seconds = comparison.floor.seconds
        rows.insert(0, Row("floor", seconds, "", f"{seconds / comparison.ours.median:.2f}x"))
    for rival in comparison.rivals:
        rows.append(_row(f"{rival.name}, {rival.dtype}", rival.seconds, f"{rival.times.median:.1f}x"))
    return Chart(comparison.name.capitalize(), "ratio", tuple(rows))


def _growth_charts(report: "Report") -> Iterable[Chart]:
    titles = {"memory": "Growth with past frames", "window": "Growth with the window", "size": "Growth with the size"}
    for setting, title in titles.items():
        points = [point for point in report.growth if point.setting == setting]
        rows = (_row(point.value, point.seconds, f"{point.ratio.median:.2f}x", strong=True) for point in points)
        yield Chart(title, "ratio", tuple(rows))


def _end_to_end_chart(report: "Report") -> Chart:
    run = report.end_to_end
    rows = (
        _row("network alone", run.network, f"{run.model_frames_per_second:.1f}"),
        _row("video to video", run.pipeline, f"{run.frames_per_second:.1f}", strong=True),
    )
    return Chart(f"End to end, {run.frames} frames", "frames/s", rows)


def remarks(report: "Report") -> Iterable[str]:
    """What the bars do not show: rates, memory, agreement, what was skipped."""
    rates, network = report.stages.rates, report.network
    yield f"matrix product {rates.flops / 1e9:.0f} GFLOP/s, copy {rates.bytes / 1e9:.1f} GB/s read and written"
    flops = ((stage.name, stage.flops, stage.matrix_share) for stage in report.stages.stages if stage.flops)
    yield "of the matrix product's rate: " + ", ".join(
        f"{name} {share:.0%} ({work / 1e9:.2g} GFLOP)" for name, work, share in flops
    )
    yield "peak memory: " + ", ".join(
        f"{variant.name} {variant.peak_bytes / 1e6:.0f} MB ({variant.added_bytes / 1e6:.0f} MB of it its own)"
        for variant in (network.single_frame, network.with_memory, network.straightforward)
    )
    yield f"labels: {network.agreement:.2%} of the pixels as the straightforward network's"
    yield from (f"skipped: {line}" for line in (*report.attention.skipped, *report.labelling.skipped))
    if report.machine.kernels_missing:
        yield f"missing: {report.machine.kernels_missing}"


def _row(label: str, seconds: "Spread", note: str, *, strong: bool = False) -> Row:
    spread = f"{milliseconds(seconds.low)} - {milliseconds(seconds.high)}"
    return Row(label, seconds.median, spread, note, strong)


def _fps(seconds: "Spread") -> str:
    return f"{1 / seconds.median:.1f}"


def milliseconds(seconds: float) -> str:
    """Three figures or so."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
