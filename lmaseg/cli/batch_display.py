"""What `lmaseg batch` shows while it runs, and in the end."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from lmaseg.cli.console import clock, console

if TYPE_CHECKING:
    from lmaseg.batch.manifest import SourceHistory
    from lmaseg.batch.state import BatchProgress

MOST_ROWS = 20  # of a table of failures


def show_failures(errors: dict[str, str | None]) -> None:
    """Source by source, why it failed, if any did."""
    failures = {source: why for source, why in errors.items() if why is not None}
    table = Table(title=f"{len(failures)} failed", title_justify="left", title_style="bold red")
    table.add_column("source", overflow="fold")
    table.add_column("why", overflow="fold")
    for source, why in list(failures.items())[:MOST_ROWS]:
        table.add_row(escape(source), escape(why))
    if len(failures) > MOST_ROWS:
        table.add_row("...", f"and {len(failures) - MOST_ROWS} more, in report.json")
    if failures:
        console.print(table)


def status_lines(known: "dict[str, SourceHistory]") -> list[str]:
    """What a job's manifest says, in a few lines."""
    plans = [past.plan for past in known.values() if past.plan is not None]
    chunks = sum(plan.chunks for plan in plans)
    chunks_done = sum(
        past.plan.chunks if past.done else len(past.results) for past in known.values() if past.plan is not None
    )
    frames = sum(
        past.frames if past.done else sum(result.frames for result in past.results.values()) for past in known.values()
    )
    running = sum(past.running for past in known.values() if not past.done)
    done = sum(past.done for past in known.values())
    return [
        f"sources: {done} done of {len(known)} looked at",
        f"chunks: {chunks_done} done of {chunks}, {running} begun and not ended",
        f"frames: {frames}",
    ]


def figures(progress: "BatchProgress") -> str:
    """Where a job stands: chunks, sources, frames per second over all workers, time left, failures."""
    parts = [f"{progress.chunks_done} of {progress.chunks}, {progress.sources_done}/{progress.sources} sources"]
    rate = progress.frames / progress.seconds if progress.seconds else 0.0
    if rate:
        parts.append(f"{rate:.1f} frames/s")
    if progress.workers != 1:
        parts.append(f"{progress.workers} workers")
    if rate and progress.frames_left and progress.sources_looked_at == progress.sources:
        parts.append(f"{clock(progress.frames_left / rate)} left")
    if progress.retries:
        parts.append(f"{progress.retries} retried")
    if progress.sources_failed:
        parts.append(f"{progress.sources_failed} failed")
    return ", ".join(parts)
