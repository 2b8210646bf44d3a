"""Timing contenders in turn, so that whatever slows the machine down slows all of them alike."""

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lmaseg.bench.report import Spread

LEAST_REPEATS = 3
LONG = 0.1  # seconds: for longer calls it does not matter what the caches hold at their start
REPLAYS = 20  # of a graph in one call: waiting for a GPU takes longer than some of the work

Call = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """Something to time."""

    name: str
    call: Call
    frames: int = 1
    """How many frames one call is for: times are per frame."""


Times = dict[str, np.ndarray]
"""Seconds per frame of each contender, repeat by repeat."""


def spread(samples: np.ndarray) -> Spread:
    """Of times, or of the ratios of two contenders' times within each repeat."""
    low, median, high = (float(value) for value in np.quantile(samples, (0.1, 0.5, 0.9)))
    return Spread(median, low, high, len(samples))


class Stopwatch:
    """Times groups of contenders on one device; `plan` has the seconds to spend on each group, in order.

    `on_progress` takes the name of a group and the share of the whole plan that is done, again and again.
    """

    def __init__(
        self,
        device: torch.device,
        plan: Mapping[str, float],
        on_progress: Callable[[str, float], None] = lambda group, share: None,
    ) -> None:
        self.device, self.plan = device, plan
        self._on_progress = on_progress

    def race(
        self, group: str, contenders: Sequence[Contender], *, warm_up: bool = True, least: int = LEAST_REPEATS
    ) -> Times:
        """Run every contender in turn, repeat by repeat, until the group's time is up but `least` times at any rate.

        Short ones run twice in their turn and the second run counts, so that they find in the caches what they left
        there themselves and not what another contender did.
        """
        self._tell(group, 0)
        first = {contender.name: self._wall(contender.call) if warm_up else LONG for contender in contenders}
        samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        began, repeats, seconds = time.perf_counter(), 0, self.plan[group]
        while repeats < least or time.perf_counter() - began < seconds:
            for number, contender in enumerate(contenders, 1):
                if first[contender.name] < LONG:
                    contender.call()
                samples[contender.name].append(self._wall(contender.call) / contender.frames)
                spent = (time.perf_counter() - began) / seconds if seconds else 1
                self._tell(group, min(1, spent, (repeats + number / len(contenders)) / least))
            repeats += 1
        return {name: np.asarray(seconds) for name, seconds in samples.items()}

    def _tell(self, group: str, share: float) -> None:
        groups = list(self.plan)
        self._on_progress(group, (groups.index(group) + share) / len(groups))

    def _wall(self, call: Call) -> float:
        began = time.perf_counter()
        call()
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter() - began


def recorded(call: Call, device: torch.device) -> tuple[Call, int]:
    """The same work replayed from a CUDA graph, without the cost of launching it, and how often; elsewhere as it is.

    `call` works on tensors that stay where they are and waits for nothing.
    """
    if device.type != "cuda":
        return call, 1
    aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):  # tune and allocate before recording, as torch asks for
        for _ in range(3):
            call()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    def replay() -> None:
        for _ in range(REPLAYS):
            graph.replay()

    return replay, REPLAYS


def peak_memory(call: Call, device: torch.device) -> int | None:
    """Most bytes held during a call: of tensors on a GPU, else of the process; None if the system does not say."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # give freed memory back first
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak of the resident set starts anew
        call()
        lines = Path("/proc/self/status").read_text().splitlines()
    except (OSError, AttributeError, TypeError):
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
