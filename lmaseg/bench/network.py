"""The whole network in three ways, and the stages of the best one alone."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmaseg.attention import local_attention
from lmaseg.bench.floor import Yardsticks, attention_flops, counted_flops
from lmaseg.bench.footage import Footage
from lmaseg.bench.report import NetworkFigures, Stage, StageFigures, Variant
from lmaseg.bench.timing import Call, Contender, Stopwatch, peak_memory, recorded
from lmaseg.bench.workload import Straightforward, Workload, full_memory, look_back
from lmaseg.models import Encoded, LocalMemoryNet, fold
from lmaseg.models.projections import NoProjections
from lmaseg.render import View
from lmaseg.stream import labels_at, preprocess

WRITTEN, SINGLE, MEMORY = "straightforward", "single frame", "with memory"
NETWORK = "network"


def time_network(workload: Workload, watch: Stopwatch) -> NetworkFigures:
    """The network as written, optimised frame by frame, and optimised with memory, frame by frame in turn."""
    written = Straightforward(workload.net, workload.size, workload.memory)
    frames = cycle(workload.frames)

    def step() -> list[np.ndarray]:
        return [written(frame) for frame in islice(frames, workload.batch)]

    calls: dict[str, Call] = {
        SINGLE: workload.stream(workload.segmenter(memory=0)),
        MEMORY: workload.stream(workload.segmenter()),
        WRITTEN: step,
    }
    agreement = _agreement(workload, written)
    peaks = {name: peak_memory(call, workload.device) for name, call in calls.items()}
    times = watch.race([Contender(name, call, workload.batch) for name, call in calls.items()])
    variants = {name: Variant(name, times.of(name), *peaks[name]) for name in calls}
    return NetworkFigures(
        straightforward=variants[WRITTEN],
        single_frame=variants[SINGLE],
        with_memory=variants[MEMORY],
        speedup=times.ratio(WRITTEN, MEMORY),
        memory_cost=times.ratio(MEMORY, SINGLE),
        agreement=agreement,
    )


def _agreement(workload: Workload, written: Straightforward) -> float:
    """Share of equal labels once both memories are full; leaves that of `written` so."""
    fast = workload.segmenter(batch=1)
    for frame in islice(cycle(workload.frames), workload.memory + 1):
        equal = written(frame) == fast(frame)
    return float(equal.mean())


def time_stages(workload: Workload, footage: Footage, watch: Stopwatch) -> StageFigures:
    """Every stage from a frame's bytes to an encoded picture alone, beside the network as a whole."""
    yardsticks = Yardsticks(workload.device, workload.dtype)
    inside, flops = network_stages(workload)
    outside = _stages_around(workload, footage)
    network = Contender(NETWORK, workload.stream(workload.segmenter()), workload.batch)
    times = watch.race([network, *inside, *outside, *yardsticks.contenders])
    rates = yardsticks.rates(times)
    stages = []
    for stage in (*inside, *outside):
        seconds, work = times.of(stage.name), flops.get(stage.name, 0)
        rate_share = work / seconds.median / rates.flops
        stages.append(Stage(stage.name, seconds, times.ratio(stage.name, NETWORK), stage in inside, work, rate_share))
    return StageFigures(times.of(NETWORK), tuple(stages), rates)


def network_stages(workload: Workload) -> tuple[list[Contender], dict[str, int]]:
    """What `Segmenter` does with a batch, stage by stage on fixed tensors; and the FLOPs per frame of some stages."""
    net = fold(workload.net).to(dtype=workload.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.from_numpy(np.stack(list(islice(cycle(workload.frames), workload.batch)))).to(workload.device)
    height, width = pixels.shape[1:3]
    calls: dict[str, Callable[[], Any]] = {}

    def stage(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        calls[name] = partial(work, *arguments)
        return calls[name]()

    prepared = stage("preprocess", preprocess, pixels, net.preprocess, workload.size, workload.dtype)
    features = stage("encode", _encoder_alone(net), prepared)
    encoded: Encoded = stage("project", net.projections, features)
    memory = full_memory(encoded, workload.memory)
    stage("remember", memory.follow, encoded.key, encoded.value)
    keys, values = look_back(memory, encoded)
    attended = stage("attend", local_attention, encoded.query, keys, values, net.spec.window)
    fused = stage("fuse", net.fusion, encoded.query_value, attended)
    logits = stage("decode", net.decoder, fused)
    stage("upsample + argmax", labels_at, logits[..., : workload.size[0], : workload.size[1]], height, width)

    flops = {name: counted_flops(calls[name]) // workload.batch for name in ("encode", "project", "fuse", "decode")}
    flops["attend"] = attention_flops(encoded.query, keys, values, net.spec.window) // workload.batch
    contenders = [Contender(name, recorded(call, workload.device), workload.batch) for name, call in calls.items()]
    return contenders, flops


def _encoder_alone(net: LocalMemoryNet) -> Callable[[Tensor], Tensor]:
    """The encoder with the padding that it needs, without projections."""
    net = copy.deepcopy(net)
    net.projections = NoProjections()
    return lambda prepared: net.encode(prepared).features


def _stages_around(workload: Workload, footage: Footage) -> list[Contender]:
    frames, view = footage.frames, View(workload.net.labels)
    label = workload.segmenter(batch=1)
    pairs = cycle([(frame, label(frame)) for frame in frames])
    drawn = [view(*next(pairs)) for _ in frames]

    def draw() -> None:
        view(*next(pairs))

    def read() -> None:
        with footage.read() as reader:
            for _ in reader:
                pass

    def write() -> None:
        with footage.write() as writer:
            for index, image in enumerate(drawn):
                writer.write(image, index)

    return [
        Contender("draw", draw, waits=True),
        Contender("decode video", read, len(frames), waits=True),
        Contender("encode video", write, len(frames), waits=True),
    ]
