"""The report of a run: its figures, its class shares over time, and the files that hold them."""

import json
from dataclasses import dataclass
from typing import Any

from lmaseg._version import __version__
from lmaseg.job import Job
from lmaseg.labels import LabelSet
from lmaseg.paths import appearing, write_text
from lmaseg.shares_plot import shares_plot
from lmaseg.sinks import Shares
from lmaseg.video.inputs import display_name


@dataclass(frozen=True)
class Report:
    """The result of a run."""

    job: Job
    frames: int
    """In the outputs."""
    resumed_after: int
    """How many of them an interrupted run had written before."""
    width: int
    height: int
    """Size of the source's frames, in pixels."""
    seconds: float
    """How long this run took."""
    model_seconds: float
    """The part of `seconds` that the network took."""
    complete: bool
    """False: the run was interrupted, and its outputs keep their `.part` names."""
    warnings: tuple[str, ...]
    """What of the source is missing or changed in the outputs, a line each."""
    damaged: int
    """Damaged packets and frames in the source, after which decoding went on."""
    repaired: int
    """Frames whose time was not after the one before and was moved just past it."""
    dropped: int
    """Frames left out to keep up with the source."""
    label_set: LabelSet
    whole: Shares
    """Class shares of the whole picture."""
    zones: dict[str, Shares]
    """The same of each zone, by its name."""
    flicker: tuple[float, float] | None
    """Share of the still pixels that change their label, memory off and on; None unless they are compared."""

    @property
    def shares(self) -> dict[str, float] | None:
        """Each class's share of the pixels, from 0 to 1; None where those of an interrupted run are unknown."""
        return self.whole.total

    def as_json(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        figures = {name: value for name, value in vars(self).items() if isinstance(value, int | float)}
        return {
            "lmaseg": __version__,
            "settings": self.job.as_json(),
            **{name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()},
            "warnings": list(self.warnings),
            **self.whole.as_json(),
            **({"zones": {name: shares.as_json() for name, shares in self.zones.items()}} if self.zones else {}),
        }

    def publish(self) -> None:
        """Write the job's report and plot, if they are wanted. Raises VideoError: they cannot be written."""
        if self.job.report:
            write_text(self.job.report, json.dumps(self.as_json(), indent=2) + "\n")
        if self.job.plot and self.shares is not None:
            title = f"Share of each class, {display_name(self.job.source)}"
            with appearing(self.job.plot) as part:
                shares_plot(self.whole.over_time, self.shares, self.label_set, title).save(part, "PNG")
