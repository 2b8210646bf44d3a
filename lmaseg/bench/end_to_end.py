"""A video through the whole pipeline, and the network alone on the same frames."""

from lmaseg.bench.footage import Footage
from lmaseg.bench.report import EndToEnd
from lmaseg.bench.timing import Contender, Stopwatch
from lmaseg.bench.workload import Workload
from lmaseg.pipeline import segment_video
from lmaseg.render import View
from lmaseg.sinks import OverlayVideo

ALONE, PIPELINE = "network alone", "end to end"


def time_end_to_end(workload: Workload, footage: Footage, watch: Stopwatch) -> EndToEnd:
    """Both from an empty memory over all frames, in turn."""
    frames, batch = footage.frames, workload.batch
    alone, piped = workload.segmenter(), workload.segmenter()
    view = View(workload.net.labels)

    def label() -> None:
        alone.reset()
        for start in range(0, len(frames), batch):
            alone.submit(frames[start : start + batch]).result()

    def convert() -> None:
        piped.reset()
        with footage.read() as reader:
            for _ in segment_video(reader, piped, [OverlayVideo(footage.write(), view)]):
                pass

    times = watch.race(
        [Contender(ALONE, label, len(frames), waits=True), Contender(PIPELINE, convert, len(frames), waits=True)]
    )
    network, pipeline = times.of(ALONE), times.of(PIPELINE)
    return EndToEnd(
        frames=len(frames),
        network=network,
        pipeline=pipeline,
        ratio=times.ratio(PIPELINE, ALONE),
        model_frames_per_second=1 / network.median,
        frames_per_second=1 / pipeline.median,
    )
