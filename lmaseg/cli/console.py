"""Messages and progress of the commands, on stderr."""

import math
import time
import traceback
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

if TYPE_CHECKING:
    from lmaseg.cli.preview import Preview


class _Console(Console):
    """Where all messages go; `quiet` suppresses all but errors."""

    verbose = False
    """Whether details are wanted."""


console = _Console(stderr=True, highlight=False)

STARTED = time.perf_counter()
PLAIN_INTERVAL = 5.0  # seconds between lines where there is no terminal to redraw


def say(message: str, *, prefix: str = "") -> None:
    """One line on stderr, broken between words on a terminal; `prefix` may carry markup, the message is taken as is."""
    console.print(prefix + escape(" ".join(message.split())), soft_wrap=not console.is_terminal)


def detail(message: str) -> None:
    """A line that only --verbose shows."""
    if console.verbose:
        say(message)


def warn(message: str) -> None:
    """A warning."""
    say(message, prefix="[yellow]warning:[/] ")


def complain(message: str) -> None:
    """An error, printed even with --quiet."""
    quiet, console.quiet = console.quiet, False
    say(message, prefix="[bold red]error:[/] ")
    console.quiet = quiet


def complain_unexpected(error: Exception) -> None:
    """An unexpected error, with a request to report it; with --verbose also its traceback."""
    remedy = "please report it with the command and the output of lmaseg info"
    if not console.verbose:
        remedy += ", and with what --verbose says"
    complain(f"something went wrong that should not ({type(error).__name__}: {error}): {remedy}")
    if console.verbose:
        console.print(escape("".join(traceback.format_exception(error))), soft_wrap=True)


class _Bar(Progress):
    """A progress bar with something above it."""

    above: "Preview | None" = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.above:
            yield self.above
        yield from super().get_renderables()


class Display:
    """How far something is: a bar on a terminal, plain lines now and then elsewhere; a context manager.

    Nothing is shown unless `shown`; the first plain line comes without delay if `at_once`; a `preview` is shown above
    the bar, and asked whether it is due with every update.
    """

    def __init__(self, *, shown: bool = True, at_once: bool = False, preview: "Preview | None" = None) -> None:
        self._shown, self._preview = shown, preview
        self._last_line = -math.inf if at_once else time.monotonic()
        self._bar = _Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            auto_refresh=preview is None,
            disable=console.quiet or not (console.is_terminal and shown),
        )
        self._bar.above = preview
        self._task = self._bar.add_task("", total=None, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, what: str, done: float, total: float | None, figures: str = "") -> None:
        """Show where it stands: what goes on, how much of it is done, and figures in words."""
        self._bar.update(self._task, description=what, completed=done, total=total, figures=figures)
        if self._preview and self._preview.due():
            self._bar.refresh()
        if self._shown and not console.is_terminal and time.monotonic() - self._last_line >= PLAIN_INTERVAL:
            self._last_line = time.monotonic()
            share = [f"{min(1, done / total):.0%}"] if total else []
            say(f"{what}: {', '.join([*share, *([figures] if figures else [])])}")


def frames_done(frames: int, total: int | None, seconds: float) -> str:
    """Words on how many frames are done, how fast, and how long the others will take."""
    rate = frames / seconds if seconds else 0.0
    of_total = f"{frames} of {total}" if total else f"{frames}"
    left = f", {clock((total - frames) / rate)} left" if total and rate and total > frames else ""
    return f"{of_total} frames, {rate:.1f} frames/s{left}"


def clock(seconds: float) -> str:
    """90 -> "0:01:30"."""
    return str(timedelta(seconds=round(seconds)))
