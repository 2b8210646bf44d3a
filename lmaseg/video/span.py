"""The wanted part of a source, in seconds from its start."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lmaseg.errors import VideoError

MICROSECONDS = 1_000_000

Since = Callable[[Fraction], Fraction]
"""From a time to one before it (seconds, as the file counts)."""


@dataclass(frozen=True)
class Span:
    """From `start` up to but not including `end`, in seconds after `origin`; None leaves that side open.

    Times are compared in whole microseconds, as ffmpeg does: a start typed as 0.333333 or computed as the float 2/3
    then means the frame at exactly that fraction.
    """

    start: float | None = None
    end: float | None = None
    origin: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 0:
            raise VideoError(f"the start ({self.start:g} s) lies before the source: give 0 or more")
        if self.end is not None and self.end <= (self.start or 0):
            times = f"the end ({self.end:g} s) is not after the start ({self.start or 0:g} s)"
            raise VideoError(f"{times}: give a later one")

    def is_before(self, time: Fraction) -> bool:
        """Whether a time (seconds, as the file counts) precedes the start."""
        return self.start is not None and self._microseconds(time) < round(self.start * MICROSECONDS)

    def is_past(self, time: Fraction) -> bool:
        """Whether a time (seconds, as the file counts) is at the end or after it."""
        return self.end is not None and self._microseconds(time) >= round(self.end * MICROSECONDS)

    def leads_in(self, time: Fraction, since: Since | None) -> bool:
        """Whether a time (seconds, as the file counts) before the start is not before what `since` makes of it."""
        return since is not None and time >= since(self.first)

    @property
    def first(self) -> Fraction:
        """The start (seconds, as the file counts)."""
        return self.origin + Fraction(self.start or 0)

    def length(self, duration: float) -> float:
        """Seconds of this span within a source of that duration."""
        end = duration if self.end is None else min(self.end, duration)
        return max(0.0, end - (self.start or 0.0))

    def __str__(self) -> str:
        end = "its end" if self.end is None else f"{self.end:g} s"
        return f"{self.start or 0:g} s and {end}"

    def _microseconds(self, time: Fraction) -> int:
        return round((time - self.origin) * MICROSECONDS)
