"""The training loop.

Every random number of a step comes from the seed, the step and the process's rank, so a run that was killed and resumed
draws what an uninterrupted one draws; on a CPU both end with the same weights to the last bit.
"""

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file
from torch import distributed

from lmaseg import checkpoint
from lmaseg.calibration import calibrate
from lmaseg.errors import CheckpointError, LmasegError
from lmaseg.models import BACKBONES, LocalMemoryNet
from lmaseg.paths import writing
from lmaseg.train.history import MEASURES, History
from lmaseg.train.learner import Learner
from lmaseg.train.mixture import Mixture
from lmaseg.train.state import check_same_run, load_state, save_state
from lmaseg.train_options import TrainOptions

BEST, LATEST, FINAL = "best.safetensors", "latest.safetensors", "final.safetensors"


@dataclass(frozen=True)
class Validate:
    """How a network is scored; the first score is the one that must rise."""

    names: Sequence[str]
    score: Callable[[LocalMemoryNet], Mapping[str, float]]
    """Takes a network in evaluation mode, its own to change; all processes call this at once."""
    without_memory: str | None = None
    """The score that the same network has without its memory, if it has one: weights whose first score is below it are
    not kept as the best."""


@dataclass(frozen=True)
class TrainProgress:
    """Where a run stands; the last one has `finished` or `stopped` set."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    """Mean since the last report."""
    learning_rate: float
    images_per_second: float
    """Frames through the network, all processes together."""
    seconds: float
    """Since this process began or resumed the run."""
    seconds_left: float
    best: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Of a validation that has just been made, else empty."""
    finished: bool = False
    stopped: bool = False
    """Ended early with its state saved."""
    memory_lowers: bool = False
    """In the last validation the score was lower with the memory than without."""


def train(
    net: LocalMemoryNet,
    mixture: Mixture,
    options: TrainOptions,
    *,
    folder: Path,
    resume: bool = False,
    validate: Validate | None = None,
    about: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> Iterator[TrainProgress]:
    """Train a network, yielding progress every few steps and after every validation.

    Writes into `folder`: `final.safetensors` and, with `validate`, `best.safetensors` (the moving average, as
    checkpoints that are ready for int8), `history.csv`, and `state.pt`, from which an interrupted run resumes; beside
    that, until the run ends, `latest.safetensors`. Under torchrun every process calls this and the first one writes.
    Sets the seeds of torch's global generators.

    Args:
        net: on its device; where the stage starts from, and trained in place.
        folder: of this run alone; made if it is missing.
        resume: go on where the run in `folder` was interrupted; if there is none, begin it.
        about: goes into the checkpoints beside the stage, the steps and the scores.
        stop: when set, the run ends after the step in hand, with its state saved.

    Raises:
        CheckpointError: a folder that holds a run or, to `resume`, one of other options or data, or a damaged state.
        LmasegError: a loss that is no longer finite.
        ValueError: a crop that does not fit the network's stride, or frames too small for one that does.
    """
    run = _Run(net, mixture, options, folder=folder, validate=validate, about=about or {}, stop=stop)
    run.begin(resume)
    yield from run.go()


class _Run:
    """A learner with its folder: reports, scores, saves."""

    def __init__(
        self,
        net: LocalMemoryNet,
        mixture: Mixture,
        options: TrainOptions,
        *,
        folder: Path,
        validate: Validate | None,
        about: Mapping[str, str],
        stop: threading.Event | None,
    ) -> None:
        self._learner = Learner(net, mixture, options)
        self._options, self._folder, self._validate, self._about = options, folder, validate, about
        self._stop = stop or threading.Event()
        self._data = mixture.describe()
        self._best: float | None = None
        self._scores: dict[str, float] = {}
        self._memory_lowers = False

    def begin(self, resume: bool) -> None:
        """Make the folder ready, and take up the state found in it."""
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        state = load_state(self._folder)
        if state and not resume:
            raise CheckpointError(f"{self._folder} holds a run already: add --resume, or choose an empty folder")
        if state:
            check_same_run(state, self._options.decisive(), self._data, self._folder)
            self._best, self._scores = state["best"], state["scores"]
        self._learner.prepare(state and state["learner"])
        if distributed.is_initialized():
            distributed.barrier()  # nobody may write a state before everybody has looked for one
        self._began = self._saved = self._reported = time.monotonic()
        self._first = self._learner.step

    def go(self) -> Iterator[TrainProgress]:
        """Take the steps that are left."""
        learner, steps = self._learner, self._learner.steps
        distance = self._options.validation_distance(steps)
        names = self._validate.names if self._validate else ()
        history = None if learner.rank else History(self._folder, names, step=learner.step)
        while learner.step < steps:
            if self._must_stop():
                self._save_state()
                yield self._progress(math.nan, stopped=True)
                return
            learner.take_step()
            done = learner.step
            if self._validate and (done % distance == 0 or done == steps):
                self._score(self._validate)
                yield self._report(history, dict(self._scores))
            elif done % self._options.report_every == 0 or done == steps:
                yield self._report(history, {})
            if done < steps:
                self._save_state_if_due()
        self._save_weights(FINAL)
        self._save_state()
        if not learner.rank:
            (self._folder / LATEST).unlink(missing_ok=True)
            self._calibrate()
        yield self._progress(math.nan, finished=True)

    def _must_stop(self) -> bool:
        minutes, learner = self._options.minutes, self._learner
        late = minutes is not None and time.monotonic() - self._began >= minutes * 60
        asked = late or self._stop.is_set()
        if learner.world == 1:
            return asked
        # Asking the others costs a round trip: not before every step.
        return learner.step % self._options.report_every == 0 and learner.any_process(asked)

    def _report(self, history: History | None, scores: dict[str, float]) -> TrainProgress:
        loss = self._learner.mean_loss()
        if not math.isfinite(loss):
            step = self._learner.step
            raise LmasegError(f"the loss is no longer finite at step {step}: lower the learning rate and start again")
        progress = self._progress(loss, scores=scores)
        if history:
            history.add({name: getattr(progress, name) for name in MEASURES} | scores)
        self._reported = time.monotonic()
        return progress

    def _progress(
        self, loss: float, *, scores: Mapping[str, float] | None = None, finished: bool = False, stopped: bool = False
    ) -> TrainProgress:
        learner, now = self._learner, time.monotonic()
        taken, seconds = learner.step - self._first, now - self._began
        return TrainProgress(
            step=learner.step,
            steps=learner.steps,
            loss=loss,
            learning_rate=learner.rate,
            images_per_second=learner.take_image_count() / max(1e-9, now - self._reported),
            seconds=seconds,
            seconds_left=seconds / taken * (learner.steps - learner.step) if taken else math.nan,
            best=self._best,
            scores=scores or {},
            finished=finished,
            stopped=stopped,
            memory_lowers=self._memory_lowers,
        )

    def _score(self, validate: Validate) -> None:
        began = time.monotonic()
        if self._learner.world > 1:
            self._learner.average.agree()
        self._scores = {
            name: float(score) for name, score in validate.score(copy.deepcopy(self._learner.averaged())).items()
        }
        judged = self._scores[validate.names[0]]
        without = validate.without_memory
        self._memory_lowers = without is not None and judged < self._scores[without]
        if not self._memory_lowers and (self._best is None or judged > self._best):
            self._best = judged
            self._save_weights(BEST)
        self._reported += time.monotonic() - began  # images per second are those of training

    def _save_weights(self, name: str) -> None:
        if self._learner.rank:
            return
        scores = "; ".join(f"{name} {score:.4f}" for name, score in self._scores.items())
        steps = f"{self._options.stage}, {self._learner.step} of {self._learner.steps} steps"
        about = {**self._about, "stage": steps, "data": self._data} | ({"scores": scores} if scores else {})
        checkpoint.save(self._learner.averaged(), self._folder / name, about=about)

    def _calibrate(self) -> None:
        """Adds to the weights that the run leaves the ranges that int8 needs, if it can compute such a network."""
        if self._learner.averaged().spec.backbone not in BACKBONES:
            return
        net = copy.deepcopy(self._learner.averaged()).cpu()
        frames = list(self._learner.some_frames().permute(0, 2, 3, 1).cpu().numpy())
        for path in (self._folder / BEST, self._folder / FINAL):
            if path.exists():
                checkpoint.load_tensors(net, load_file(path), source=str(path))
                calibrate(net, frames)
                checkpoint.save_ranges(path, net.ranges, path, about={"calibrated": "on pictures trained on"})

    def _save_state_if_due(self) -> None:
        if time.monotonic() - self._saved >= self._options.save_minutes * 60:
            self._save_state()

    def _save_state(self) -> None:
        self._saved = time.monotonic()
        if self._learner.rank:
            return
        state = {"options": self._options.decisive(), "data": self._data, "best": self._best, "scores": self._scores}
        save_state(self._folder, state | {"learner": self._learner.state()})
        if self._learner.step < self._learner.steps:
            self._save_weights(LATEST)
