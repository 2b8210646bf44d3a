"""Timing contenders in turn, so that whatever slows the machine down hits all of them alike."""

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lmaseg.bench.report import Spread

LEAST_REPEATS = 5
LONG = 0.3  # seconds from which what the caches hold at the start of a call no longer matters

Call = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """Something to time; it is called a few times more to warm up."""

    name: str
    call: Call
    frames: int = 1
    """How many frames one call is for: times are per frame."""
    waits: bool = False
    """Ends with all work done, on whatever device: timed by the wall clock."""


class Times:
    """Seconds per frame of each contender, repeat by repeat."""

    def __init__(self, samples: Mapping[str, Sequence[float]]) -> None:
        self._samples = {name: np.asarray(seconds) for name, seconds in samples.items()}

    def of(self, name: str) -> Spread:
        """The time of one contender."""
        return _spread(self._samples[name])

    def ratio(self, name: str, over: str) -> Spread:
        """The time of one over that of another, within each repeat."""
        return _spread(self._samples[name] / self._samples[over])


def _spread(samples: np.ndarray) -> Spread:
    low, median, high = (float(value) for value in np.quantile(samples, (0.1, 0.5, 0.9)))
    return Spread(median, low, high, len(samples))


class Stopwatch:
    """Times contenders on one device for about `seconds` a group."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device = device
        self.seconds = seconds

    def race(self, contenders: Sequence[Contender]) -> Times:
        """Run every contender in turn, repeat by repeat, until the time is up but at least `LEAST_REPEATS` times.

        All but the long ones and those that wait run twice in their turn and the second run counts: streaming finds its
        own data in the caches, not that of another contender.
        """
        samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        first = {contender.name: self._wall(contender.call) for contender in contenders}
        end, repeats = time.perf_counter() + self.seconds, 0
        while repeats < LEAST_REPEATS or time.perf_counter() < end:
            for contender in contenders:
                if first[contender.name] < LONG and not contender.waits:
                    contender.call()
                samples[contender.name].append(self._time(contender) / contender.frames)
            repeats += 1
        return Times(samples)

    def _time(self, contender: Contender) -> float:
        events = self.device.type == "cuda" and not contender.waits
        return self._events(contender.call) if events else self._wall(contender.call)

    def _events(self, call: Call) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def _wall(self, call: Call) -> float:
        began = time.perf_counter()
        call()
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter() - began


def recorded(call: Call, device: torch.device) -> Call:
    """The same work replayed from a CUDA graph, without the cost of launching it; elsewhere `call` itself.

    `call` works on tensors that stay where they are and waits for nothing.
    """
    if device.type != "cuda":
        return call
    aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):  # tune and allocate before recording, as torch asks for
        for _ in range(3):
            call()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def peak_memory(call: Call, device: torch.device) -> tuple[int, int]:
    """(most bytes held during a call, those on top of what was held before it).

    Tensors on a GPU, the process's resident set elsewhere; where the system does not let its peak be reset (all but
    Linux), the most since the process began.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        peak = torch.cuda.max_memory_allocated(device)
    else:
        _settle_memory()
        before = _resident("VmRSS")
        call()
        peak = _resident("VmHWM")
    return peak, max(0, peak - before)


def _settle_memory() -> None:
    """Give freed memory back to the system and let the peak start anew, where Linux and its C library can."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak of the resident set starts anew


def _resident(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return _peak_of_process()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _peak_of_process() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
