"""From a source to its segmented outputs in three overlapped stages: decode, segment, draw and write."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

import numpy as np

from lmaseg.images import ImageReader, LabelMapWriter
from lmaseg.labels import LabelSet
from lmaseg.render import overlay
from lmaseg.stages import Channel, Stages
from lmaseg.stream import CutDetector, Pending, Segmenter
from lmaseg.video import Frame, VideoReader, VideoWriter


@dataclass(frozen=True)
class Progress:
    """Where a run stands; the last one a run yields has `finished` or `stopped` set."""

    frames: int
    """Frames written."""
    total: int | None
    """Frames expected; None where the source does not tell."""
    seconds: float
    """Since the run began."""
    model_seconds: float
    """Of those, spent in the network with its pre- and postprocessing."""
    finished: bool = False
    stopped: bool = False
    """Ended early on request: the outputs keep their `.part` names."""


class Sink:
    """Takes labelled frames in order, into an output that is open while the sink is entered.

    Left on an exception, the output keeps what it has under a `.part` name.
    """

    def __init__(self, output: AbstractContextManager[object]) -> None:
        self._output = output

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._output.__exit__(kind, error, traceback)

    def write(self, frame: Frame, labels: np.ndarray) -> None:
        """Take a frame and its (H, W) uint8 class ids."""
        raise NotImplementedError


class OverlayVideo(Sink):
    """A video with the classes' colours over the picture."""

    def __init__(self, writer: VideoWriter, label_set: LabelSet, opacity: float = 0.5) -> None:
        super().__init__(writer)
        self._writer, self._label_set, self._opacity = writer, label_set, opacity

    def write(self, frame: Frame, labels: np.ndarray) -> None:
        self._writer.write(overlay(frame.image, labels, self._label_set, self._opacity), frame.pts)


class LabelMaps(Sink):
    """A folder of indexed PNG label maps; `ids` (256,) uint8 leads from class id to the id to write."""

    def __init__(self, writer: LabelMapWriter, ids: np.ndarray) -> None:
        super().__init__(writer)
        self._writer, self._ids = writer, ids

    def write(self, frame: Frame, labels: np.ndarray) -> None:
        self._writer.write(self._ids[labels], frame.name)


class ClassShares(Sink):
    """Each class's share of the pixels, summed second by second of the source's time."""

    def __init__(self, classes: int) -> None:
        super().__init__(nullcontext())
        self._classes = classes
        self._pixels: dict[int, np.ndarray] = {}

    def write(self, frame: Frame, labels: np.ndarray) -> None:
        pixels = np.bincount(labels.ravel(), minlength=self._classes)[: self._classes]
        second = int(frame.pts * frame.time_base // 1)
        self._pixels[second] = self._pixels.get(second, 0) + pixels

    def total(self) -> np.ndarray:
        """(classes,) float64 shares over the whole run."""
        return _shares(sum(self._pixels.values(), np.zeros(self._classes, np.int64)))

    def over_time(self) -> list[tuple[int, np.ndarray]]:
        """(second, (classes,) float64 shares) in the order of time."""
        return [(second, _shares(self._pixels[second])) for second in sorted(self._pixels)]


def _shares(pixels: np.ndarray) -> np.ndarray:
    return pixels / max(1, int(pixels.sum()))


def segment_video(
    reader: VideoReader | ImageReader,
    segmenter: Segmenter,
    sinks: Sequence[Sink],
    *,
    reset_at_cuts: bool = True,
    stop: threading.Event | None = None,
) -> Iterator[Progress]:
    """Segment every frame of an open source into every sink, yielding progress about ten times a second.

    Decoding, the network, and drawing and writing run on a thread each. Frames marked `warm_up` fill the memory and
    go no further; a gap in the source, and a cut unless `reset_at_cuts` is off, empties the memory.

    Args:
        stop: when set, the run ends after the frame in hand; the sinks close what they have under `.part` names.

    Raises:
        Whatever the first stage to fail raised, after all stages have ended.
    """
    run = _Run(reader, segmenter, sinks, stop or threading.Event(), reset_at_cuts)
    stages = Stages()
    decoded: Channel[Frame] = stages.channel()
    labelled: Channel[tuple[Frame, np.ndarray]] = stages.channel()
    stages.start(lambda: run.decode(decoded))
    stages.start(lambda: run.segment(decoded, labelled))
    stages.start(lambda: run.write(labelled))
    for _ in stages.join():
        yield run.progress()
    yield run.progress(finished=not run.cut_short, stopped=run.cut_short)


class _Stopped(Exception):  # noqa: N818 - not an error, a way out
    """Tells the sinks that what they hold is not the whole."""


class _Run:
    """The three stages of `segment_video` and the counts they share."""

    def __init__(
        self,
        reader: VideoReader | ImageReader,
        segmenter: Segmenter,
        sinks: Sequence[Sink],
        stop: threading.Event,
        reset_at_cuts: bool,
    ) -> None:
        self._reader, self._segmenter, self._sinks, self._stop = reader, segmenter, sinks, stop
        self._is_cut = CutDetector() if reset_at_cuts else _never
        self._began = time.perf_counter()
        self._frames = 0
        self._model_seconds = 0.0
        self.cut_short = False

    def decode(self, decoded: Channel[Frame]) -> None:
        for frame in self._reader:
            if self._stop.is_set():
                self.cut_short = True
                break
            decoded.put(frame)
        decoded.close()

    def segment(self, decoded: Channel[Frame], labelled: Channel[tuple[Frame, np.ndarray]]) -> None:
        """Hand frames to the network a batch at a time; while a GPU works on one, the labels before it go on."""
        working: tuple[list[Frame], Pending] | None = None
        source = self._until_stopped(decoded)
        while frames := list(islice(source, self._segmenter.batch)):
            resets = [self._is_cut(frame.image) or frame.after_gap for frame in frames]
            began = time.perf_counter()
            pending = self._segmenter.submit([frame.image for frame in frames], resets)
            self._model_seconds += time.perf_counter() - began
            if working:
                self._hand_on(*working, labelled)
            working = frames, pending
            if pending.ready():
                self._hand_on(*working, labelled)
                working = None
        if working:
            self._hand_on(*working, labelled)
        labelled.close()

    def _until_stopped(self, decoded: Channel[Frame]) -> Iterator[Frame]:
        for frame in decoded:
            if self._stop.is_set():  # drop what is queued: only the frames in hand are finished
                self.cut_short = True
            else:
                yield frame

    def _hand_on(self, frames: list[Frame], pending: Pending, labelled: Channel[tuple[Frame, np.ndarray]]) -> None:
        began = time.perf_counter()
        labels = pending.result()
        self._model_seconds += time.perf_counter() - began
        for frame, own in zip(frames, labels, strict=True):
            if not frame.warm_up:
                labelled.put((frame, own))

    def write(self, labelled: Channel[tuple[Frame, np.ndarray]]) -> None:
        try:
            with ExitStack() as stack:
                for sink in self._sinks:
                    stack.enter_context(sink)
                for frame, labels in labelled:
                    for sink in self._sinks:
                        sink.write(frame, labels)
                    self._frames += 1
                if self.cut_short:
                    raise _Stopped
        except _Stopped:
            pass

    def progress(self, *, finished: bool = False, stopped: bool = False) -> Progress:
        seconds = time.perf_counter() - self._began
        return Progress(self._frames, self._reader.frames, seconds, self._model_seconds, finished, stopped)


def _never(frame: np.ndarray) -> bool:
    return False
