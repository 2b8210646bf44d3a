"""What `lmaseg train` shows while it runs: a bar on a terminal, a line now and then elsewhere."""

import math
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lmaseg.cli.console import LiveLine, console, say

if TYPE_CHECKING:
    from lmaseg.models import ModelSpec
    from lmaseg.train import TrainProgress


class TrainDisplay(LiveLine):
    """The state of a run on stderr; nothing at all unless `shown`, which only one of many processes has set."""

    def __init__(self, *, shown: bool = True) -> None:
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            disable=console.quiet or not (console.is_terminal and shown),
        )
        super().__init__(bar, shown=shown, at_once=True)
        self._task = bar.add_task("preparing", total=None, figures="")

    def reading(self, name: str, done: int, to_do: int) -> None:
        """Show how far a data set has been read."""
        self._bar.update(self._task, description=f"reading {name}", completed=done, total=to_do)

    def introduce(self, spec: "ModelSpec", data: str) -> None:
        """Say what is trained on what."""
        if self._shown:
            name = spec.backbone or "attached network"
            say(f"{name}, memory {spec.memory_frames}, window {spec.window}, {spec.classes} classes; {data}")

    def update(self, progress: "TrainProgress") -> None:
        """Show where the run stands, and the scores of a validation."""
        figures = _figures(progress)
        self._bar.update(
            self._task, description="training", completed=progress.step, total=progress.steps, figures=figures
        )
        if self._shown and progress.scores:
            scores = ", ".join(
                f"{name} {score:.4f}" for name, score in progress.scores.items() if not math.isnan(score)
            )
            say(f"step {progress.step}: {scores}")
            if progress.memory_lowers:
                say("the memory lowers the score: these weights are not kept as the best")
        self._say_now_and_then(f"step {progress.step} of {progress.steps}: {figures}")


def _figures(progress: "TrainProgress") -> str:
    loss = "" if math.isnan(progress.loss) else f"loss {progress.loss:.3f}, "
    left = "" if math.isnan(progress.seconds_left) else f", {_duration(progress.seconds_left)} left"
    best = "" if progress.best is None else f", best {progress.best:.4f}"
    return f"{loss}rate {progress.learning_rate:.1e}, {progress.images_per_second:.1f} images/s{left}{best}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
