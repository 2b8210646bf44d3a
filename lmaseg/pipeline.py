"""From a source to its segmented outputs in three overlapped stages: decode, segment, draw and write."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from lmaseg.cuts import CutDetector
from lmaseg.decision import ALONE, CONFIDENCE, LABELS, SMOOTH
from lmaseg.sinks import Labelled, Sink
from lmaseg.stages import Channel, Stages
from lmaseg.stream import Pending, Segmenter
from lmaseg.video import Frame
from lmaseg.video.frame import FrameSource


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    frames: int
    """Frames written."""
    total: int | None
    """Frames expected; None where the source does not tell."""
    seconds: float
    """Seconds since the run began."""
    model_seconds: float
    """The part of them that the network took, with its pre- and postprocessing."""
    finished: bool = False
    """Set in the last one a run yields, unless it ended early on request: then the outputs keep their `.part` names."""


BEHIND = 10  # nice value of the threads around the network: they get a tenth of the time of a thread at 0

Item = Labelled | Frame
"""What goes to the sinks; only the frame where they hold its labels already."""


def segment_video(
    reader: FrameSource,
    segmenter: Segmenter,
    sinks: Sequence[Sink],
    *,
    reset_at_cuts: bool = True,
    stop: threading.Event | None = None,
    done: int = 0,
    observe: Callable[[Frame], None] | None = None,
) -> Iterator[Progress]:
    """Segment every frame of an open source and hand it to every sink, yielding progress about ten times a second.

    Decoding, the network, and drawing and writing run on a thread each. Frames marked `warm_up` fill the memory and
    go no further; a gap in the source, and a cut unless `reset_at_cuts` is off, empties the memory.

    Args:
        stop: when set, the run ends after the frame in hand; the sinks close what they have under `.part` names.
        done: frames that the sinks hold from a run that was cut short: they only warm up the memory.
        observe: called with every frame that is read, on the thread that decodes.

    Raises:
        Whatever the first stage to fail raised, after all stages have ended.

    >>> import lmaseg
    >>> from PIL import Image
    >>> from lmaseg.images import open_source
    >>> from lmaseg.sinks import Sink
    >>> segmenter = lmaseg.Segmenter(lmaseg.load())
    >>> _ = Image.new("RGB", (96, 64)).save("in.png")
    >>> with open_source("in.png") as reader:
    ...     for progress in segment_video(reader, segmenter, [Sink(take=lambda seen: print(seen.labels.shape))]):
    ...         seconds_left = progress.total and progress.seconds * (progress.total / max(1, progress.frames) - 1)
    (64, 96)
    >>> progress.frames, progress.finished
    (1, True)
    """
    labelling = Labelling(segmenter, reset_at_cuts=reset_at_cuts, done=done)
    run = _Run(reader, labelling, sinks, stop or threading.Event(), observe)
    stages = Stages(release=reader.stop)
    decoded: Channel[Frame] = stages.channel()
    labelled: Channel[Item] = stages.channel()
    stages.start("decode", lambda: run.decode(decoded))
    stages.start("segment", lambda: run.segment(decoded, labelled))
    stages.start("write", lambda: run.write(labelled))
    for _ in stages.join():
        if run.stop.is_set():
            reader.stop()
        yield run.progress()
    yield run.progress(finished=not run.cut_short)


class Labelling:
    """Frames handed to a segmenter a batch at a time; while a GPU works on one, the labels before it go on.

    Args:
        segmenter: its memory is emptied where the source has a gap.
        reset_at_cuts: whether also where it cuts to another shot.
        done: frames without warm-up whose labels are not wanted: they only warm up the memory.

    `seconds` counts those spent in the network with its pre- and postprocessing.
    """

    def __init__(self, segmenter: Segmenter, *, reset_at_cuts: bool = True, done: int = 0) -> None:
        self._segmenter = segmenter
        self._is_cut = CutDetector() if reset_at_cuts else lambda frame: False
        self._done, self._handed_on = done, 0
        self._times: deque[Fraction] = deque()
        self._reach = None if segmenter.memory.since else segmenter.memory.frames  # None: not yet known
        self.seconds = 0.0

    def __call__(self, frames: Iterable[Frame]) -> Iterator[Item]:
        """Labels frames; yields those that are not marked `warm_up`, in order."""
        working: tuple[list[Frame], Pending] | None = None
        for batch in self._batches(frames):
            if isinstance(batch, Frame):
                yield self._counted(batch)
                continue
            resets = [self._is_cut(frame.image) or frame.after_gap for frame in batch]
            began = time.perf_counter()
            seconds = [floor(frame.time) for frame in batch]
            pending = self._segmenter.submit([frame.image for frame in batch], resets, seconds)
            self.seconds += time.perf_counter() - began
            if working:
                yield from self._finished(*working)
            working = batch, pending
            if pending.ready():
                yield from self._finished(*working)
                working = None
        if working:
            yield from self._finished(*working)

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame] | Frame]:
        """The frames for the network; one that is done and that the memory does not need comes alone."""
        batch: list[Frame] = []
        for frame in frames:
            self._note(frame)
            reach = self._done if self._reach is None else self._reach
            if not frame.warm_up and self._handed_on < self._done - reach:
                yield frame
                continue
            batch.append(frame)
            if len(batch) == self._segmenter.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _note(self, frame: Frame) -> None:
        """Learn how many frames a label may draw on, where that is a matter of time.

        Twice the most that any has had: when these frames come it is not yet known how dense those are that follow.
        """
        since = self._segmenter.memory.since
        if since:
            self._times.append(frame.time)
            whole = self._reach or 0
            while self._times[0] < since(frame.time):
                self._times.popleft()
                whole = max(whole, 2 * len(self._times))
            self._reach = whole or None

    def _finished(self, frames: list[Frame], pending: Pending) -> Iterator[Item]:
        began = time.perf_counter()
        labels, *others = map(pending.result, (LABELS, CONFIDENCE, ALONE, SMOOTH))
        self.seconds += time.perf_counter() - began
        for i, frame in enumerate(frames):
            if not frame.warm_up:
                parts = (None if part is None else part[i] for part in others)
                yield self._counted(Labelled(frame, labels[i], *parts))

    def _counted(self, item: Item) -> Item:
        """An item, or its frame alone where its labels are not wanted."""
        self._handed_on += 1
        return item.frame if isinstance(item, Labelled) and self._handed_on <= self._done else item


class _Stopped(Exception):  # noqa: N818 - not an error, a way out
    """Tells the sinks that what they hold is not the whole."""


class _Run:
    """The three stages of `segment_video` and the counts they share."""

    def __init__(
        self,
        reader: FrameSource,
        labelling: Labelling,
        sinks: Sequence[Sink],
        stop: threading.Event,
        observe: Callable[[Frame], None] | None,
    ) -> None:
        self._reader, self._labelling, self._sinks, self.stop = reader, labelling, sinks, stop
        self._observe = observe
        self._began = time.perf_counter()
        self._frames = 0
        self.cut_short = False

    def decode(self, decoded: Channel[Frame]) -> None:
        _step_back()
        for frame in self._reader:
            if self.stop.is_set():
                break
            if self._observe:
                self._observe(frame)
            decoded.put(frame)
        self.cut_short |= self.stop.is_set()
        decoded.close()

    def segment(self, decoded: Channel[Frame], labelled: Channel[Item]) -> None:
        for item in self._labelling(self._until_stopped(decoded)):
            labelled.put(item)
        labelled.close()

    def _until_stopped(self, decoded: Channel[Frame]) -> Iterator[Frame]:
        for frame in decoded:
            if self.stop.is_set():  # drop what is queued: only the frames in hand are finished
                self.cut_short = True
            else:
                yield frame

    def write(self, labelled: Channel[Item]) -> None:
        _step_back()  # its encoder's threads do too, as they are started by this one
        try:
            with ExitStack() as stack:
                for sink in self._sinks:
                    stack.enter_context(sink)
                for item in labelled:
                    for sink in self._sinks:
                        if isinstance(item, Labelled):
                            sink.write(item)
                        else:
                            sink.skip(item)
                    self._frames += 1
                if self.cut_short:
                    raise _Stopped
        except _Stopped:
            pass

    def progress(self, *, finished: bool = False) -> Progress:
        seconds = time.perf_counter() - self._began
        return Progress(self._frames, self._reader.frames, seconds, self._labelling.seconds, finished)


def _step_back() -> None:
    """Lower this thread's priority: each step of the network waits for the slowest of its threads."""
    if sys.platform == "linux":  # elsewhere threads have no priorities of their own
        own = threading.get_native_id()
        nice = max(BEHIND, os.getpriority(os.PRIO_PROCESS, own))  # a higher priority needs rights
        os.setpriority(os.PRIO_PROCESS, own, nice)
