"""What the commands say to people: one console on stderr, and the display of a run."""

import math
import time
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from lmaseg.cli.preview import Preview


class _Console(Console):
    """Where everything is said; `quiet` holds back all but errors."""

    verbose = False
    """Whether details are wanted."""


console = _Console(stderr=True, highlight=False)

STARTED = time.perf_counter()
PLAIN_INTERVAL = 5.0  # seconds between lines where there is no terminal to redraw


def say(message: str, *, prefix: str = "") -> None:
    """One line on stderr, broken between words on a terminal; `prefix` may carry markup, the message is taken as is."""
    console.print(prefix + escape(" ".join(message.split())), soft_wrap=not console.is_terminal)


def detail(message: str) -> None:
    """A line for those who asked for details."""
    if console.verbose:
        say(message)


def warn(message: str) -> None:
    """A line on what did not come through as it was."""
    say(message, prefix="[yellow]warning:[/] ")


def complain(message: str) -> None:
    """A line on what went wrong, said however quiet it is to be."""
    quiet, console.quiet = console.quiet, False
    say(message, prefix="[bold red]error:[/] ")
    console.quiet = quiet


def complain_unexpected(error: Exception) -> None:
    """A line that asks for a report of an error that nobody foresaw; with details wanted, where it arose."""
    remedy = "please report it with the command and the output of lmaseg info"
    if not console.verbose:
        remedy += ", and with what --verbose says"
    complain(f"something went wrong that should not ({type(error).__name__}: {error}): {remedy}")
    if console.verbose:
        console.print(escape("".join(traceback.format_exception(error))), soft_wrap=True)


class _BarBelow(Bar):
    """A progress line with something above it."""

    def __init__(self, above: "Preview | None", *columns: ProgressColumn, **options: Any) -> None:
        self._above = above
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._above:
            yield self._above
        yield from super().get_renderables()


class LiveLine:
    """Base of what shows how far something is: a bar while it is entered, plain lines now and then without a terminal.

    Args:
        bar: what is shown on a terminal.
        shown: whether to say plain lines.
        at_once: whether to say the first of them without delay.
    """

    def __init__(self, bar: Bar, *, shown: bool = True, at_once: bool = False) -> None:
        self._bar, self._shown = bar, shown
        self._last_line = -math.inf if at_once else time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _say_now_and_then(self, line: str) -> None:
        if self._shown and not console.is_terminal and time.monotonic() - self._last_line >= PLAIN_INTERVAL:
            self._last_line = time.monotonic()
            say(line)


class RunDisplay(LiveLine):
    """A progress line: frames, percentage, frames per second, time left; plain lines without a terminal.

    Args:
        description: what goes on.
        shown: whether to show anything.
        preview: what is shown above the line, asked whether it is due with every update.
    """

    def __init__(self, description: str, *, shown: bool = True, preview: "Preview | None" = None) -> None:
        self._description, self._preview = description, preview
        bar = _BarBelow(
            preview,
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            auto_refresh=preview is None,
            disable=console.quiet or not (console.is_terminal and shown),
        )
        super().__init__(bar, shown=shown)
        self._task = bar.add_task(description, total=None, rate="")

    def update(self, frames: int, total: int | None, seconds: float) -> None:
        """Show where the run stands."""
        rate = f"{frames / seconds:.1f} frames/s" if frames and seconds else ""
        self._bar.update(self._task, completed=frames, total=total, rate=rate)
        if self._preview and self._preview.due():
            self._bar.refresh()
        self._say_now_and_then(_plain_line(self._description, frames, total, seconds))


def _plain_line(description: str, frames: int, total: int | None, seconds: float) -> str:
    rate = frames / seconds if seconds else 0.0
    if not total:
        return f"{description}: {frames} frames, {rate:.1f} frames/s"
    left = f", {(total - frames) / rate:.0f} s left" if rate and total > frames else ""
    return f"{description}: {frames} of {total} frames, {min(1, frames / total):.0%}, {rate:.1f} frames/s{left}"
