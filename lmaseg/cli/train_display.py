"""What `lmaseg train` shows while it runs."""

import math
from typing import TYPE_CHECKING

from lmaseg.cli.console import Display, clock, say

if TYPE_CHECKING:
    from lmaseg.models import ModelSpec
    from lmaseg.train import TrainProgress


class TrainDisplay(Display):
    """The state of a run; nothing at all unless `shown`, which only one of many processes has set."""

    def introduce(self, spec: "ModelSpec", data: str) -> None:
        """Say what is trained on what."""
        if self._shown:
            name = spec.backbone or "attached network"
            say(f"{name}, memory {spec.memory_frames}, window {spec.window}, {spec.classes} classes; {data}")

    def show(self, progress: "TrainProgress") -> None:
        """Show where the run stands, and the scores of a validation."""
        if self._shown and progress.scores:
            scores = (f"{name} {score:.4f}" for name, score in progress.scores.items() if not math.isnan(score))
            say(f"step {progress.step}: {', '.join(scores)}")
            if progress.memory_lowers:
                say("the memory lowers the score: these weights are not kept as the best")
        self.update("training", progress.step, progress.steps, _figures(progress))


def _figures(progress: "TrainProgress") -> str:
    loss = "" if math.isnan(progress.loss) else f"loss {progress.loss:.3f}, "
    left = "" if math.isnan(progress.seconds_left) else f", {clock(progress.seconds_left)} left"
    best = "" if progress.best is None else f", best {progress.best:.4f}"
    done = f"step {progress.step} of {progress.steps}"
    speed = f"rate {progress.learning_rate:.1e}, {progress.images_per_second:.1f} images/s"
    return f"{done}, {loss}{speed}{left}{best}"
