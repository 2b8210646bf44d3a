"""The one run: a job's segmenter, its reader, its sinks, and what it reports in the end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lmaseg.checkpoint import load
from lmaseg.comparison import ComparingSegmenter
from lmaseg.images import ImageReader, open_source
from lmaseg.job import Job
from lmaseg.labels import LabelSet
from lmaseg.models.memory import FeatureMemory, RecurrentMemory
from lmaseg.models.precision import named_dtype
from lmaseg.outputs import Reader, Sinks, drawn, make_view
from lmaseg.paths import check_apart, check_places
from lmaseg.pipeline import Labelling, Progress, segment_video
from lmaseg.report import Report
from lmaseg.sinks import WHOLE, Labelled, Shares, Sink, pixels_of, shares_by_name
from lmaseg.stream import Segmenter
from lmaseg.unfinished import Unfinished, is_unfinished
from lmaseg.video import Frame


@dataclass(frozen=True)
class Result:
    """A labelled frame."""

    labels: np.ndarray
    """(H, W) uint8 class ids."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    time: Fraction
    """Seconds, as the source counts."""
    name: str
    """Six digits that count the frames of a video; an image file's stem."""
    label_set: LabelSet
    """The classes of the ids."""
    job: Job

    def overlay(self) -> np.ndarray:
        """The classes' colours over the picture, (H, W, 3) uint8 RGB."""
        return make_view(replace(self.job, view="overlay"), self.label_set)(self.image, self.labels)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Each class's share of the pixels, by name."""
        return shares_by_name(pixels_of(self.labels, len(self.label_set)), self.label_set)


def segment(source: str | Path, *, segmenter: Segmenter | None = None, **settings: Any) -> Iterator[Result]:
    """Label the frames of a source one after the other; nothing is written, and no more than a few frames are held.

    Args:
        source: a video, a folder or a glob pattern of images, an address, camera:0, or - for standard input.
        segmenter: what labels the frames, for a network of your own; None makes one as the settings say.
        settings: further fields of a `Job`, such as start, end, stride, weights, size and memory.

    Raises:
        VideoError, CheckpointError, BackendError: as the frames are asked for.
        TypeError, ValueError: unknown settings, or values that the network cannot work with.

    For example:

        for result in lmaseg.segment("drive.mp4", start=60):
            print(float(result.time), result.shares["road"])
    """
    return _results(Job(str(source), **settings), segmenter)


def _results(job: Job, segmenter: Segmenter | None) -> Iterator[Result]:
    segmenter = segmenter or make_segmenter(job)
    segmenter.reset()
    label_set = segmenter.net.labels
    labelling = Labelling(segmenter, reset_at_cuts=job.reset_at_cuts)
    with open_reader(job, segmenter.memory) as reader:
        for seen in labelling(reader):
            assert isinstance(seen, Labelled)
            yield Result(seen.labels, seen.frame.image, seen.frame.time, seen.frame.name, label_set, job)


def run(
    source: str | Path,
    *,
    segmenter: Segmenter | None = None,
    overwrite: bool = False,
    resume: bool = False,
    **settings: Any,
) -> Report:
    """Segment a source into files, as `lmaseg run` does.

    Args:
        source, segmenter: as in `segment`; give one segmenter to several runs to load the network once.
        overwrite: whether outputs that exist may be replaced.
        resume: whether to continue what an interrupted run with the same settings left.
        settings: further fields of a `Job`: at least one of the outputs (video, maps, confidence, lines, report, plot).

    Raises:
        VideoError, CheckpointError, BackendError: the source cannot be read, or an output cannot be written.
        TypeError, ValueError: unknown settings, or values that the network cannot work with.

    For example:

        report = lmaseg.run("drive.mp4", video="out.mp4", maps="masks")
        print(report.frames, report.shares["road"])
    """
    return run_job(Job(str(source), **settings), segmenter=segmenter, overwrite=overwrite, resume=resume)


def run_job(
    job: Job,
    *,
    segmenter: Segmenter | None = None,
    reader: Reader | None = None,
    overwrite: bool = False,
    resume: bool = False,
    stop: threading.Event | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    observe: Callable[[Frame], None] | None = None,
    more: Sequence[Sink] = (),
) -> Report:
    """Segment a source as a job says.

    Args:
        segmenter, reader: what labels the frames, and the job's source, open, to be closed in the end; None makes them.
        overwrite, resume: as in `run`.
        stop: when set, the run ends after the frame in hand and keeps what there is under `.part` names.
        watch: called about ten times a second with the progress.
        observe: called with every frame that is read, also those that only warm up the memory, on another thread.
        more: sinks beside those of the job.

    Raises:
        VideoError, CheckpointError, BackendError, ValueError: as in `run`.
    """
    if not (job.outputs or job.pipe or job.lines or more):
        raise ValueError("the run would write nothing: name a video, maps or another output")
    check_apart(job.outputs, [job.source])
    overwrite |= resume and is_unfinished(job)
    check_places(job.outputs, overwrite=overwrite, folders=job.folders)
    segmenter = segmenter or make_segmenter(job)
    segmenter.reset()
    with reader or open_reader(job, segmenter.memory) as source:
        check_apart(job.outputs, source.paths if isinstance(source, ImageReader) else [])
        with Unfinished(job, segmenter.digest) as unfinished:
            done = unfinished.begin(resume=resume)
            sinks = Sinks(job, source, segmenter, overwrite=overwrite, done=done)
            for progress in segment_video(
                source,
                segmenter,
                [*sinks.all, *more],
                reset_at_cuts=job.reset_at_cuts,
                stop=stop,
                done=done,
                observe=observe,
            ):
                unfinished.beat()
                watch(progress)
            report = _report(job, source, segmenter.net.labels, sinks, progress, done)
            if report.complete:
                report.publish()
    return report


def _report(job: Job, reader: Reader, label_set: LabelSet, sinks: Sinks, progress: Progress, done: int) -> Report:
    counts = {
        "damaged packets or frames in the source, decoding went on after each": reader.damaged,
        "frames dropped to keep up with the source": reader.dropped,
        "frames whose time was not after the one before, moved just past it": reader.repaired,
    }
    zones = sinks.shares.by_part()
    whole = zones.pop(WHOLE, Shares(None, ()))
    return Report(
        job=job,
        label_set=label_set,
        frames=progress.frames,
        resumed_after=min(done, progress.frames),
        width=reader.width,
        height=reader.height,
        seconds=progress.seconds,
        model_seconds=progress.model_seconds,
        complete=progress.finished,
        warnings=(*reader.warnings, *sinks.warnings, *(f"{what}: {count}" for what, count in counts.items() if count)),
        damaged=reader.damaged,
        repaired=reader.repaired,
        dropped=reader.dropped,
        whole=whole,
        zones=zones,
        flicker=sinks.comparison.shares if sinks.comparison else None,
    )


def make_segmenter(job: Job) -> Segmenter:
    """The network of a job, loaded, ready to stream.

    Raises:
        CheckpointError, BackendError: as in `load`.
        ValueError: a size, a memory or a type that it cannot work with, or classes it does not know.
    """
    net = load(job.weights, job.device, job.net)
    drawn(job, net.labels)
    segmenter = (ComparingSegmenter if job.compare else Segmenter)(
        net,
        size=job.size,
        memory=job.memory,
        batch=job.batch,
        dtype=named_dtype(job.dtype),
        confidence=job.confidence is not None,
        smooth=job.video is not None and not job.compare,
        min_confidence=job.min_confidence,
    )
    if job.compare and not segmenter.memory.frames:
        raise ValueError("these weights have no memory to compare with: memory=1 gives them an untrained one")
    return segmenter


def open_reader(job: Job, memory: FeatureMemory | RecurrentMemory | None = None, *, warm_up: int = 0) -> Reader:
    """The source of a job, open, with the frames before its start that a memory needs, and at least `warm_up`;
    VideoError if it cannot be read."""
    return open_source(
        job.source,
        start=job.start,
        end=job.end,
        stride=job.stride,
        deinterlace=job.deinterlace,
        strict=job.strict,
        live=job.live,
        warm_up=max(warm_up, memory.frames if memory else 0),
        warm_up_since=memory.since if memory else None,
    )
