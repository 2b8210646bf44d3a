"""How fast a network is, alone and from video to video, with the memory off and on."""

from collections.abc import Callable
from pathlib import Path

import torch

from lmaseg.bench.full import parts, straightforward_network, variants
from lmaseg.bench.report import Benchmark, Settings
from lmaseg.bench.timing import Stopwatch
from lmaseg.bench.ways import time_ways
from lmaseg.bench.workload import Workload, first_frames
from lmaseg.environment import environment
from lmaseg.models import LocalMemoryNet, adapted_network
from lmaseg.models.precision import dtype_name
from lmaseg.stream import Segmenter

__all__ = ["Benchmark", "bench"]

GROUPS = {"network": 0.5, "video to video": 0.5}  # share of the time that each gets
ALL_GROUPS = {"network": 0.2, "video to video": 0.25, "straightforward": 0.15, "parts": 0.15, "variants": 0.25}


@torch.inference_mode()
def bench(
    net: LocalMemoryNet,
    *,
    size: int | tuple[int, int] | None = None,
    memory: int | None = None,
    window: int | None = None,
    batch: int = 1,
    dtype: torch.dtype | None = None,
    video: Path | None = None,
    full: bool = False,
    seconds: float | None = None,
    on_progress: Callable[[str, float], None] = lambda group, share: None,
) -> Benchmark:
    """Time a network and everything around it, on moving pictures.

    Contenders of a group run in turn, so that a busy machine slows all of them alike; a ratio is the median of the
    ratios within each turn. On CUDA the parts are replayed from graphs.

    Args:
        net: in evaluation mode and float32, on its device.
        size, memory, dtype, batch: as in `Segmenter`.
        window: side of the attention's window in place of the network's own.
        video: its first frames are used; None draws a moving pattern of the working size.
        full: whether to time the parts, other memories and sizes, and the authors' way written plainly, too.
        seconds: to spend in all, about: at least three repeats are made; None takes 20, or 60 for a full benchmark.
        on_progress: as in `Stopwatch`.

    Raises:
        ValueError, VideoError: what `Segmenter` and `VideoReader` raise, or an even window.
    """
    seconds = (60.0 if full else 20.0) if seconds is None else seconds
    segmenter = Segmenter(net, size, memory, dtype, batch)
    net = segmenter.net  # has a memory now if one was asked for
    if window is not None and net.spec.has_memory:
        net = adapted_network(net, window=window)
    frames = first_frames(video, *segmenter.working_size(*net.preprocess.size))
    source_size = frames[0].shape[:2]
    size = segmenter.working_size(*source_size)
    workload = Workload(net, frames, size, segmenter.memory.frames, segmenter.dtype, batch)
    plan = {name: seconds * share for name, share in (ALL_GROUPS if full else GROUPS).items()}
    watch = Stopwatch(segmenter.device, plan, on_progress)
    ways, memory_cost = time_ways(workload, video, watch)
    plain, agreement = straightforward_network(workload, watch) if full else ([], None)
    details = [*plain, *parts(workload, watch), *variants(workload, watch)] if full else []
    settings = Settings(
        device=torch.cuda.get_device_name(segmenter.device) if segmenter.device.type == "cuda" else "cpu",
        backbone=net.spec.backbone,
        classes=net.spec.classes,
        source_size=source_size,
        working_size=size,
        memory=workload.memory,
        window=net.spec.window,
        batch=batch,
        dtype=dtype_name(workload.dtype),
        seconds=seconds,
    )
    return Benchmark(environment(), settings, ways, memory_cost, tuple(details), agreement)
