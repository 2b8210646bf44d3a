"""Where the time goes: the network in several ways, its stages, its rivals, its growth, and a video end to end."""

import platform
from collections.abc import Callable
from pathlib import Path

import torch

from lmaseg import kernels
from lmaseg._version import __version__
from lmaseg.bench.end_to_end import time_end_to_end
from lmaseg.bench.footage import open_footage
from lmaseg.bench.growth import time_growth
from lmaseg.bench.network import time_network, time_stages
from lmaseg.bench.report import Machine, Report, Settings
from lmaseg.bench.rivals import compare_attention, compare_labelling
from lmaseg.bench.timing import Stopwatch
from lmaseg.bench.workload import Workload, with_window
from lmaseg.environment import processor
from lmaseg.models import LocalMemoryNet
from lmaseg.stream import Segmenter

__all__ = ["Report", "bench"]


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
    seconds: float = 20.0,
    on_group: Callable[[str], None] = lambda name: None,
) -> Report:
    """Time a network and everything around it, on moving pictures.

    Contenders of a group run in turn, frame by frame, so that a busy machine slows all of them alike; a ratio is the
    median of the ratios within each turn. CUDA times are those of events, and of graphs where graphs can be recorded.

    Args:
        net: in evaluation mode and float32, on its device.
        size, memory, dtype, batch: as in `Segmenter`; at least one past frame.
        window: side of the attention's window in place of the network's own.
        video: its first frames are used; None draws a moving view of the working size.
        seconds: to spend on each group; five repeats are made however long they take.
        on_group: takes the name of each group before it is timed.

    Raises:
        ValueError: what `Segmenter` raises, an even window, no past frame, or a network without a memory.
        VideoError: a video that cannot be read.
    """
    if not net.spec.has_memory:
        raise ValueError("these weights segment every frame alone: give those of a network with a memory")
    net = with_window(net, net.spec.window if window is None else window)
    memory = net.spec.memory_frames if memory is None else memory
    if memory < 1:
        raise ValueError("a benchmark of the memory needs at least 1 past frame")
    segmenter = Segmenter(net, size, memory, dtype, batch)
    watch = Stopwatch(segmenter.device, seconds)
    on_group("moving pictures")
    with open_footage(video, segmenter.working_size(*net.preprocess.size)) as pictures:
        source_size = pictures.frames[0].shape[:2]
        workload = Workload(net, pictures.frames, segmenter.working_size(*source_size), memory, segmenter.dtype, batch)
        on_group("the network as written, optimised, and with memory")
        network = time_network(workload, watch)
        on_group("stages")
        stages = time_stages(workload, pictures, watch)
        on_group("local attention")
        attention = compare_attention(workload, watch)
        on_group("upsampling and argmax")
        labelling = compare_labelling(workload, watch)
        on_group("growth with memory, window and size")
        growth = time_growth(workload, watch)
        on_group("end to end")
        end_to_end = time_end_to_end(workload, pictures, watch)
    return Report(
        machine=_machine(segmenter.device),
        settings=Settings(
            backbone=net.spec.backbone,
            classes=net.spec.classes,
            source_size=source_size,
            working_size=workload.size,
            memory=memory,
            window=net.spec.window,
            batch=batch,
            dtype=str(segmenter.dtype).removeprefix("torch."),
            seconds=seconds,
        ),
        network=network,
        stages=stages,
        attention=attention,
        labelling=labelling,
        growth=growth,
        end_to_end=end_to_end,
    )


def _machine(device: torch.device) -> Machine:
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        processor=processor(),
        threads=torch.get_num_threads(),
        lmaseg=__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        system=platform.platform(),
        kernels=kernels.levels(),
        kernels_missing=kernels.why_missing(),
    )
