"""The network with the memory off and on: alone, and from a video file to an overlaid one."""

from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from lmaseg.bench.report import Spread, Way
from lmaseg.bench.timing import Contender, Stopwatch, Times, peak_memory, spread
from lmaseg.bench.workload import Workload, drawn_frames, write_video
from lmaseg.job import Job
from lmaseg.models.memory import PERIOD
from lmaseg.segmentation import run_job
from lmaseg.stream import Segmenter
from lmaseg.video import VideoReader

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
    on_gpu = workload.device.type == "cuda"
    batches = BATCHES if on_gpu else PERIOD
    calls = {name: workload.step(segmenter, batches) for name, segmenter in segmenters.items()}
    contenders = [Contender(name, call, batches * workload.batch) for name, call in calls.items()]
    if on_gpu:
        contenders += [Contender(_latency(name), workload.step(segmenters[name])) for name in memories]
    times = watch.race("network", contenders)
    model = {name: spread(times[name]) for name in memories}
    slowest = max(each.median for each in model.values())
    timed = _time_video_to_video(workload, segmenters, video, watch, slowest)
    whole = {name: spread(timed[name]) for name in memories}
    ways = tuple(
        Way(
            name,
            memory,
            model[name],
            spread(times[_latency(name)]) if on_gpu else _times(model[name], workload.batch),
            whole[name],
            1 / model[name].median,
            1 / whole[name].median,
            peaks[name],
        )
        for name, memory in memories.items()
    )
    return ways, spread(times[ON] / times[OFF]) if workload.memory else None


def _latency(name: str) -> str:
    return f"{name}, one batch"


def _times(spread: Spread, factor: int) -> Spread:
    return Spread(factor * spread.median, factor * spread.low, factor * spread.high, spread.repeats)


def _time_video_to_video(
    workload: Workload, segmenters: dict[str, Segmenter], video: Path | None, watch: Stopwatch, per_frame: float
) -> Times:
    """What `lmaseg run` does, on as many frames as two repeats have time for; `per_frame` seconds are the network's."""
    wanted = int(watch.plan["video to video"] / 2 / len(segmenters) / per_frame)
    frames = min(LONGEST, max(SHORTEST, wanted))
    with TemporaryDirectory(prefix="lmaseg-bench-") as name:
        folder = Path(name)
        if video is None:
            video, (height, width) = folder / "in.mp4", workload.frames[0].shape[:2]
            write_video(video, islice(drawn_frames(height, width), frames), height, width)
        with VideoReader(video) as reader:
            taken = [float(frame.time - reader.start_time) for frame in islice(reader, frames + 1)]
        end = taken[frames] if len(taken) > frames else None
        job = Job(str(video), video=folder / "out.mp4", sound=False, end=end)
        contenders = [
            Contender(name, partial(run_job, job, segmenter=segmenter, overwrite=True), min(frames, len(taken)))
            for name, segmenter in segmenters.items()
        ]
        return watch.race("video to video", contenders, warm_up=False, least=1)
