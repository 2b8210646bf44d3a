"""The outputs of a job: the one place that makes its writers and sinks."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from lmaseg.coco import CocoFile
from lmaseg.comparison import ComparisonVideo
from lmaseg.datasets.cityscapes import written_ids
from lmaseg.errors import VideoError
from lmaseg.images import ImageReader
from lmaseg.job import PIPE, Job
from lmaseg.labels import LabelSet, for_screens
from lmaseg.maps import ConfidenceMapWriter, LabelMapWriter
from lmaseg.pictures import SUFFIXES
from lmaseg.render import VIEWS, View
from lmaseg.sinks import ClassShares, FrameLines, OverlayPicture, OverlayVideo, Sink
from lmaseg.stream import Segmenter
from lmaseg.unfinished import record_of
from lmaseg.video import LabelVideoWriter, VideoReader, VideoWriter
from lmaseg.video.labels import write_raw
from lmaseg.zones import Zones, read_zones

Reader = VideoReader | ImageReader
OUTLINE = 1.8  # how much more opaque than their regions the outlines are


def make_view(job: Job, label_set: LabelSet) -> View:
    """The view that the video of a job shows."""
    return VIEWS[job.view](
        shown(job, label_set),
        opacity=job.opacity,
        classes=drawn(job, label_set),
        outline=min(1, OUTLINE * job.opacity) if job.palette == "screen" else None,
        legend=job.legend,
    )


def shown(job: Job, label_set: LabelSet) -> LabelSet:
    """The label set in the colours of the video."""
    return for_screens(label_set) if job.palette == "screen" else label_set


def drawn(job: Job, label_set: LabelSet) -> list[int] | None:
    """The ids of the classes to draw; None for all. Raises ValueError: an unknown class, or none."""
    if job.classes is None:
        return None
    unknown = [name for name in job.classes if name not in label_set.names]
    if unknown or not job.classes:
        what = ", ".join(unknown) or "without a name"
        raise ValueError(f"the weights know no class {what}: choose of {', '.join(label_set.names)}")
    return [label_set.names.index(name) for name in job.classes]


def make_writer(
    job: Job, reader: Reader, size: tuple[int, int], *, overwrite: bool = False, keep: int = 0
) -> VideoWriter:
    """The writer of a job's video, of (width, height) pictures at the times of a reader's frames. `keep`: how many
    frames of an unfinished video to keep, as in `VideoWriter`."""
    assert job.video is not None
    repeatable = isinstance(reader, VideoReader) and reader.repeatable
    writer = VideoWriter(
        job.video,
        width=size[0],
        height=size[1],
        time_base=reader.time_base,
        rate=reader.rate,
        codec=job.codec,
        crf=job.crf,
        sample_aspect_ratio=reader.sample_aspect_ratio,
        copy_from=job.source if job.sound and repeatable else None,
        start=job.start,
        end=job.end,
        overwrite=overwrite,
        keep=keep,
    )
    if job.sound and isinstance(reader, VideoReader) and not repeatable:
        writer.skipped_streams += [f"{stream}: the source can be read only once" for stream in reader.other_streams]
    return writer


class Sinks:
    """The sinks that a job's frames go to: `all`, of which `shares` counts the pixels of each class.

    Args:
        job: with its outputs.
        reader, segmenter: open and loaded, of the job.
        overwrite: whether outputs that exist may be replaced.
        done: frames that the parts of all outputs hold already.
    """

    def __init__(self, job: Job, reader: Reader, segmenter: Segmenter, *, overwrite: bool, done: int = 0) -> None:
        self._job, self._reader, self._labels = job, reader, segmenter.net.labels
        self._overwrite, self._done = overwrite, done
        self._writers: list[VideoWriter | LabelMapWriter | ConfidenceMapWriter] = []
        self._zones = Zones(read_zones(job.zones), reader.width, reader.height) if job.zones else None
        self.shares = ClassShares(self._labels, record_of(job), keep=done, zones=self._zones)
        self.comparison: ComparisonVideo | None = None
        self.all = [*self._made(), self.shares]

    @property
    def warnings(self) -> list[str]:
        """What of the source is missing or changed in the outputs, a line for each kind."""
        return [line for writer in self._writers for line in writer.warnings]

    def _made(self) -> Iterator[Sink]:
        job = self._job
        if job.video:
            yield self._video()
        ids, shown_as = written_ids(self._labels, job.ids)
        options: dict[str, Any] = {
            "overwrite": self._overwrite,
            "keep": self._done > 0,
            "inputs": self._reader.paths if isinstance(self._reader, ImageReader) else [],
        }
        if job.maps:
            maps = LabelMapWriter(job.maps, shown_as, **options)
            self._writers.append(maps)
            yield Sink(maps, lambda seen: maps.write(ids[seen.labels], seen.frame.name))
        if job.confidence:
            confidence = ConfidenceMapWriter(job.confidence, **options)
            self._writers.append(confidence)
            yield Sink(confidence, lambda seen: confidence.write(np.asarray(seen.confidence), seen.frame.name))
        if job.pipe:
            yield self._pipe(ids)
        if job.lines:
            lines = sys.stdout if job.lines == PIPE else job.lines
            yield FrameLines(lines, self._labels, keep=self._done, zones=self._zones)
        if job.coco:
            files = {path.stem: path.name for path in options["inputs"]}
            yield CocoFile(job.coco, self._labels, keep=self._done, files=files)

    def _video(self) -> Sink:
        job, reader = self._job, self._reader
        assert job.video is not None
        view = make_view(job, self._labels)
        if job.video.suffix.lower() in SUFFIXES and not job.compare:
            if not isinstance(reader, ImageReader) or reader.frames != 1:
                raise VideoError(f"{job.video} takes one image, and {job.source} has more: write a video, or a folder")
            return OverlayPicture(job.video, view)
        size = (2 * reader.width, reader.height) if job.compare else view.size(reader.width, reader.height)
        writer = make_writer(job, reader, size, overwrite=self._overwrite, keep=self._done)
        self._writers.append(writer)
        if not job.compare:
            return OverlayVideo(writer, view)
        self.comparison = ComparisonVideo(writer, shown(job, self._labels), opacity=job.opacity, still=job.still)
        return self.comparison

    def _pipe(self, ids: np.ndarray) -> Sink:
        reader, stream = self._reader, sys.stdout.buffer
        if self._job.pipe == "gray":
            return Sink(take=lambda seen: write_raw(stream, ids[seen.labels]))
        video = LabelVideoWriter(stream, width=reader.width, height=reader.height, time_base=reader.time_base)
        return Sink(video, lambda seen: video.write(ids[seen.labels], seen.frame.pts))
