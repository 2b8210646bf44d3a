"""The network with the memory off and on: alone, and from a video file to an overlaid one."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from lmaseg.bench.report import Spread, Way
from lmaseg.bench.timing import Contender, Stopwatch, Times, peak_memory
from lmaseg.bench.workload import Workload, drawn_frames, write_video
from lmaseg.job import Job
from lmaseg.outputs import make_writer
from lmaseg.pipeline import segment_video
from lmaseg.render import View
from lmaseg.sinks import OverlayVideo
from lmaseg.stream import Segmenter
from lmaseg.video import Frame, VideoReader
from lmaseg.video.frame import FrameSource

OFF, ON = "memory off", "memory on"
BATCHES = 8  # labelled in one call on a GPU, which is busy with one while the next is handed over
SHORTEST, LONGEST = 12, 240  # frames from video to video


def time_ways(workload: Workload, video: Path | None, watch: Stopwatch) -> tuple[tuple[Way, ...], Spread | None]:
    """Each way, and what the memory costs: the network's time with it over that without."""
    memories = {OFF: 0} | ({ON: workload.memory} if workload.memory else {})
    peaks = {
        name: peak_memory(workload.step(workload.segmenter(memory=memory)), workload.device)
        for name, memory in memories.items()
    }
    segmenters = {name: workload.segmenter(memory=memory) for name, memory in memories.items()}
    batches = BATCHES if workload.device.type == "cuda" else 1
    calls = {name: workload.step(segmenter, batches) for name, segmenter in segmenters.items()}
    contenders = [Contender(name, call, batches * workload.batch) for name, call in calls.items()]
    if batches > 1:
        contenders += [Contender(_latency(name), workload.step(segmenters[name])) for name in memories]
    times = watch.race("network", contenders)
    model = {name: times.of(name) for name in memories}
    whole = _time_video_to_video(workload, segmenters, video, watch, max(each.median for each in model.values()))
    ways = tuple(
        Way(
            name,
            memory,
            model[name],
            times.of(_latency(name)) if batches > 1 else _times(model[name], workload.batch),
            whole.of(name),
            1 / model[name].median,
            1 / whole.of(name).median,
            peaks[name],
        )
        for name, memory in memories.items()
    )
    return ways, times.ratio(ON, OFF) if workload.memory else None


def _latency(name: str) -> str:
    return f"{name}, one batch"


def _times(spread: Spread, factor: int) -> Spread:
    return Spread(factor * spread.median, factor * spread.low, factor * spread.high, spread.repeats)


class _FirstFrames(FrameSource):
    """A reader that ends early."""

    def __init__(self, reader: VideoReader, frames: int) -> None:
        self._reader = reader
        self.frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return islice(self._reader, self.frames)


def _time_video_to_video(
    workload: Workload, segmenters: dict[str, Segmenter], video: Path | None, watch: Stopwatch, per_frame: float
) -> Times:
    """The whole way for as many frames as two repeats have time for; `per_frame` seconds are the network's."""
    wanted = int(watch.seconds("video to video") / 2 / len(segmenters) / per_frame)
    frames = min(LONGEST, max(SHORTEST, wanted))
    with TemporaryDirectory(prefix="lmaseg-bench-") as name:
        folder = Path(name)
        if video is None:
            video, (height, width) = folder / "in.mp4", workload.frames[0].shape[:2]
            write_video(video, islice(drawn_frames(height, width), frames), height, width)
        else:
            with VideoReader(video) as reader:
                frames = sum(1 for _ in islice(reader, frames))
        contenders = [
            Contender(name, _conversion(segmenter, video, frames, folder / "out.mp4"), frames)
            for name, segmenter in segmenters.items()
        ]
        return watch.race("video to video", contenders, warm_up=False, least=1)


def _conversion(segmenter: Segmenter, video: Path, frames: int, output: Path) -> Callable[[], None]:
    view = View(segmenter.net.labels)

    def convert() -> None:
        segmenter.reset()
        with VideoReader(video) as reader:
            size = reader.width, reader.height
            writer = make_writer(Job(str(video), video=output, sound=False), reader, size, overwrite=True)
            for _ in segment_video(_FirstFrames(reader, frames), segmenter, [OverlayVideo(writer, view)]):
                pass

    return convert
