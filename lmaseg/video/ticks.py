"""The times of a source as an output counts them."""

from fractions import Fraction


class Ticks:
    """Turns pts into whole ticks of an output, which increase.

    Only a first one before 0 moves all of them up to 0; `from_zero` moves any first one there. `lift` is by how many
    ticks all are moved up, `last` the newest pts and its ticks, `left_out` how many came too soon.

    Args:
        time_base, unit: seconds, the units of the pts and of the ticks.
        shortest: ticks that a frame lasts at least.
    """

    def __init__(self, time_base: Fraction, unit: Fraction, *, shortest: int = 1, from_zero: bool = False) -> None:
        self._time_base, self.unit = time_base, unit
        self._shortest, self._from_zero = shortest, from_zero
        self.lift = self.left_out = 0
        self.last: tuple[int, int] | None = None

    def __call__(self, pts: int) -> int | None:
        """The time to write for a pts, in ticks; None if it comes too soon after the one before."""
        ticks = round(pts * self._time_base / self.unit)
        if self.last is None:
            self.lift = -ticks if self._from_zero else max(0, -ticks)
        ticks += self.lift
        if self.last is not None:
            too_soon = ticks - self.last[1] < self._shortest
            if too_soon and self._shortest > 1:
                self.last = pts, self.last[1]
                self.left_out += 1
                return None
            ticks = self.last[1] + 1 if too_soon else ticks  # where ticks are coarse, two times may fall on one
        self.last = pts, ticks
        return ticks
