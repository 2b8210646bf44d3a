"""The times of a source as an output counts them."""

from fractions import Fraction


class Ticks:
    """Turns pts into whole ticks of an output, which increase; only a first one before 0 moves all of them up to 0.

    Args:
        time_base: seconds, the unit of the pts.
        unit: seconds, of a tick.

    Attributes:
        lift: by how many ticks all of them are moved up.
        last: the newest pts and its ticks.
    """

    def __init__(self, time_base: Fraction, unit: Fraction) -> None:
        self._time_base, self.unit = time_base, unit
        self.lift = 0
        self.last: tuple[int, int] | None = None

    def __call__(self, pts: int) -> int:
        """The time to write for a pts, in ticks."""
        ticks = round(pts * self._time_base / self.unit)
        if self.last is None:
            self.lift = max(0, -ticks)
        else:  # where ticks are coarse, two times may fall on the same one
            ticks = max(ticks, self.last[1] - self.lift + 1)
        self.last = pts, ticks + self.lift
        return ticks + self.lift
