"""Dealing the tasks of a job out to workers, and remembering what is done."""

import shutil
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lmaseg.batch.chunk import Chunk, ChunkResult, disagreement
from lmaseg.batch.executor import Executor, Failure, Outcome
from lmaseg.batch.join import Join, Joined
from lmaseg.batch.manifest import Manifest, SourceHistory
from lmaseg.batch.plan import Plan, PlanTask
from lmaseg.batch.state import Assignment, BatchProgress, SourceState
from lmaseg.errors import LmasegWarning
from lmaseg.job import Job, digest
from lmaseg.segmentation import make_segmenter

RETRIES = 3  # further attempts at a task that failed, on other workers where there are any
PATIENCE = 0.2  # seconds to wait for a worker before the display is updated
CHUNKS = ".chunks"  # the folder of the output that holds what is not joined yet
NAMES = {Chunk: "chunk", Join: "join", PlanTask: "plan"}


class Schedule:
    """A job: every source looked at, cut, segmented and joined, unless the manifest knows it as done.

    Args:
        jobs: for each source, by the name of its outputs; all with the same settings.
        folder: where chunks are kept until they are joined: on a disk that every worker sees.
        manifest, history: open, with everything recorded there first; and its records so far, by source.
        executor: the workers.
        seconds: of a chunk.

    Attributes:
        states: the sources.
        full: whether the job ended early as the disk is full.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        folder: Path,
        manifest: Manifest,
        history: Mapping[str, SourceHistory],
        executor: Executor,
        *,
        seconds: float,
    ) -> None:
        self._chunks_of, self._manifest, self._executor = partial(chunks_folder, folder), manifest, executor
        self._seconds = seconds
        self.states = [SourceState(name, job, history.get(name, SourceHistory())) for name, job in jobs.items()]
        self._weights = weights_digest(next(iter(jobs.values()))) if jobs else ""
        self.full = False
        self._queues: tuple[deque[Assignment], ...] = (deque(), deque(), deque())  # by urgency
        self._running: dict[str, Assignment] = {}
        self._began = time.monotonic()
        self._counts = BatchProgress(len(self.states))
        for state in self.states:
            self._look_at(state)

    def run(self, stop: threading.Event) -> Iterator[BatchProgress]:
        """Work until nothing is left to do, yielding progress a few times a second; `stop` ends it early. Raises
        BatchError: the manifest cannot be written."""
        while not stop.is_set() and (self._running or (any(self._queues) and not self.full)):
            if not self.full:
                self._deal()
            for outcome in self._executor.wait(PATIENCE):
                self._take(outcome)
            yield self.progress()
        yield self.progress()

    def progress(self) -> BatchProgress:
        seconds = time.monotonic() - self._began
        return self._counts.now(len(self._executor.alive()), seconds, self._executor.under_way())

    def _deal(self) -> None:
        for worker in self._executor.idle():
            unit = self._next_for(worker)
            if unit is None:
                continue
            self._running[worker] = unit
            if isinstance(unit.task, Chunk):
                self._note(unit, "started", durable=False, attempt=unit.task.attempt, worker=worker)
            self._executor.submit(worker, unit.task)

    def _next_for(self, worker: str) -> Assignment | None:
        """The most urgent task that has not failed on this worker; one that has, if no other worker is left for it."""
        alive = set(self._executor.alive())
        for units in self._queues:
            for index, unit in enumerate(units):
                if worker not in unit.avoid or alive <= unit.avoid:
                    del units[index]
                    return unit
        return None

    def _take(self, outcome: Outcome) -> None:
        unit = self._running.pop(outcome.worker)
        if unit.is_stale:
            return
        if isinstance(outcome.result, Failure):
            self._failed(unit, outcome.worker, outcome.result)
        elif isinstance(outcome.result, Plan):
            self._cut(unit.state, outcome.result)
        elif isinstance(outcome.result, ChunkResult):
            self._segmented(unit, outcome.result)
        else:
            self._joined(unit.state, outcome.result)

    def _failed(self, unit: Assignment, worker: str, failure: Failure) -> None:
        self.full |= failure.disk_full
        again = not failure.disk_full and unit.failures < RETRIES
        self._note(unit, "retried" if again else "failed", error=failure.message, worker=worker)
        unit.fail(worker)
        if again:
            self._counts.retries += 1
            self._queue(unit)
        else:
            self._give_up(unit.state, failure.message)

    def _give_up(self, state: SourceState, why: str) -> None:
        self._counts.sources_failed += state.error is None
        state.error = state.error or why
        self._counts.set_left(state, 0)

    def _look_at(self, state: SourceState, *, whole: bool = False) -> None:
        known = state.past.plan
        if known is not None and (whole or state.past.key != self._key(state, known)):
            known = None
        self._queue(Assignment(PlanTask(state.job, self._seconds, whole, known), state))

    def _key(self, state: SourceState, plan: Plan) -> str:
        """Identifies the outputs of a source: the same key means the same outputs."""
        return digest([state.job.decisive(self._weights), plan.identity])

    def _cut(self, state: SourceState, plan: Plan) -> None:
        """Queue the chunks that are missing of a source, now that its plan is known."""
        self._counts.sources_looked_at += 1
        key, past = self._key(state, plan), state.past
        same = past.key == key and past.plan == plan
        if same and past.done and all(output.exists() for output in state.job.outputs):
            state.done = state.found_done = True
            self._counts.sources_done += 1
            if past.error:
                self._record(state, state="done", frames=past.frames)
            self._tidy(state)
            return
        if not same or past.done or not self._folder(state, key, plan).exists():
            state.past = past = SourceHistory(key, plan, attempts=past.attempts if same else {})
            self._record(state, state="planned", key=key, plan=asdict(plan))
        missing = [index for index in range(plan.chunks) if index not in past.results]
        self._counts.chunks += plan.chunks
        self._counts.chunks_done += plan.chunks - len(missing)
        self._counts.set_left(state, plan.frames - sum(result.frames for result in past.results.values()))
        state.open_chunks = len(missing)
        folder = str(self._folder(state, key, plan))
        for index in missing:
            attempt = past.attempts.get(index, 0) + 1
            self._queue(Assignment(Chunk(state.job, folder, index, *plan.span(index), attempt), state))
        if not missing:
            self._check(state)

    def _segmented(self, unit: Assignment, result: ChunkResult) -> None:
        state, chunk = unit.state, unit.task
        assert isinstance(chunk, Chunk)
        self._note(unit, "done", attempt=chunk.attempt, result=asdict(result))
        state.past.results[chunk.index] = result
        state.open_chunks -= 1
        self._counts.chunks_done += 1
        self._counts.frames += result.frames
        if state.error is None:
            self._counts.set_left(state, state.frames_left - result.frames)
        if result.damaged and not chunk.is_whole:
            self._cut_anew(state, f"it is damaged in chunk {chunk.index}")
        elif not state.open_chunks:
            self._check(state)

    def _check(self, state: SourceState) -> None:
        """Join the chunks of a source if they make up the whole."""
        plan, results = state.past.plan, state.past.results
        assert plan is not None
        in_order = [results[index] for index in range(plan.chunks)]
        fault = disagreement(in_order)
        if fault:
            self._cut_anew(state, fault)
            return
        folder = self._folder(state, state.past.key, plan)
        self._queue(Assignment(Join(state.job, str(folder), in_order), state))

    def _joined(self, state: SourceState, joined: Joined) -> None:
        if joined.fault:
            self._cut_anew(state, joined.fault)
            return
        state.done = True
        self._counts.sources_done += 1
        self._counts.set_left(state, 0)
        state.warnings += [f"not copied: {line}" for line in joined.skipped_streams]
        state.past.frames = joined.frames
        self._record(
            state, durable=True, state="done", frames=joined.frames, seconds=joined.seconds, warnings=state.warnings
        )
        self._tidy(state)

    def _cut_anew(self, state: SourceState, why: str) -> None:
        """Read a source again, in one piece."""
        plan, key = state.past.plan, state.past.key
        assert plan is not None
        self._counts.sources_looked_at -= 1
        self._counts.chunks -= plan.chunks
        self._counts.chunks_done -= len(state.past.results)
        for units in self._queues:
            kept = [unit for unit in units if unit.state is not state]
            units.clear()
            units.extend(kept)
        state.past = SourceHistory(key)  # what is still under way is stale from here on
        shutil.rmtree(self._folder(state, key, plan), ignore_errors=True)
        if plan.whole:
            self._record(state, durable=True, state="failed", error=why)
            self._give_up(state, why)
            return
        state.warnings.append(f"{why}: read again as a whole")
        self._look_at(state, whole=True)

    def _folder(self, state: SourceState, key: str, plan: Plan) -> Path:
        return self._chunks_of(state.name) / f"{key}{'-whole' if plan.whole else ''}"

    def _tidy(self, state: SourceState) -> None:
        folder = self._chunks_of(state.name)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others are in it still
            folder.parent.rmdir()

    def _queue(self, unit: Assignment) -> None:
        self._queues[unit.urgency].append(unit)

    def _note(self, unit: Assignment, state: str, *, durable: bool = True, **more: Any) -> None:
        """Write down what became of a task."""
        task = unit.task
        chunk = {"chunk": task.index} if isinstance(task, Chunk) else {}
        self._record(unit.state, durable=durable, task=NAMES[type(task)], **chunk, state=state, **more)

    def _record(self, of: SourceState, *, durable: bool = False, **more: Any) -> None:
        self._manifest.append(durable=durable, source=of.name, path=of.job.source, **more)


def chunks_folder(folder: Path, name: str) -> Path:
    """Where the chunks of one source are kept until they are joined."""
    return folder / CHUNKS / name


def weights_digest(job: Job) -> str:
    """A digest of what the network of a job computes with."""
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore", category=LmasegWarning):
        torch.manual_seed(0)  # what is left to chance is no change
        return make_segmenter(replace(job, device="cpu")).digest
