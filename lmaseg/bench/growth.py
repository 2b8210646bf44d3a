"""How the time of the network with memory grows with the memory, the window and the size."""

from dataclasses import replace

import numpy as np
from PIL import Image

from lmaseg.bench.report import Point
from lmaseg.bench.timing import Contender, Stopwatch
from lmaseg.bench.workload import Workload, with_window
from lmaseg.stream import SMALLEST

MEMORIES = (0, 1, 2, 4, 6)
WINDOWS = (7, 11, 15, 21)
SCALES = (0.5, 0.75, 1.0, 1.5)  # of each side
BASE = "base"


def time_growth(workload: Workload, watch: Stopwatch) -> tuple[Point, ...]:
    """One setting changed at a time, all raced together with the workload as it is."""
    changed = {("memory", str(frames)): replace(workload, memory=frames) for frames in MEMORIES}
    changed |= {("window", str(window)): replace(workload, net=with_window(workload.net, window)) for window in WINDOWS}
    for scale in SCALES:
        scaled = _scaled(workload, scale)
        changed["size", "x".join(map(str, scaled.size))] = scaled
    contenders = [_contender(BASE, workload)]
    contenders += [_contender(" ".join(key), variant) for key, variant in changed.items()]
    times = watch.race(contenders)
    return tuple(
        Point(setting, value, times.of(f"{setting} {value}"), times.ratio(f"{setting} {value}", BASE))
        for setting, value in changed
    )


def _contender(name: str, workload: Workload) -> Contender:
    return Contender(name, workload.stream(workload.segmenter()), workload.batch)


def _scaled(workload: Workload, scale: float) -> Workload:
    """The same at another working size, on frames of that size."""
    height, width = (max(SMALLEST, round(side * scale)) for side in workload.size)
    size = workload.segmenter(size=(height, width)).working_size(height, width)
    frames = (Image.fromarray(frame).resize(size[::-1]) for frame in workload.frames)
    return replace(workload, size=size, frames=tuple(np.array(frame) for frame in frames))
