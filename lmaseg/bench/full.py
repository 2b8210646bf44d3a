"""What a full benchmark adds: the parts of the work, other memories and sizes, and the authors' way written plainly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from lmaseg.attention import local_attention
from lmaseg.bench.report import Detail
from lmaseg.bench.timing import Call, Contender, Stopwatch, recorded, spread
from lmaseg.bench.workload import PlainNetwork, Workload, full_memory, look_back, write_video
from lmaseg.decision import labels_at
from lmaseg.models import Encoded, inference_network
from lmaseg.models.memory import PERIOD
from lmaseg.render import View
from lmaseg.stream import SMALLEST, preprocess
from lmaseg.video import VideoReader

MEMORIES = (0, 1, 2, 4, 8)
SCALES = (0.5, 0.75, 1.0, 1.5)  # of each side


def straightforward_network(workload: Workload, watch: Stopwatch) -> tuple[list[Detail], float]:
    """The network as its authors wrote it, and the share of pixels that it labels as the network does that is run."""
    plain, fast = PlainNetwork(workload.net, workload.size, workload.memory), workload.segmenter(batch=1)
    for frame in islice(cycle(workload.frames), workload.memory + 1):  # fills both memories
        equal = plain(frame) == fast(frame)
    frames = cycle(workload.frames)
    contenders = {"straightforward": [Contender("as published", lambda: plain(next(frames)))]}
    return _race("straightforward", contenders, workload, watch), float(equal.mean())


def parts(workload: Workload, watch: Stopwatch) -> list[Detail]:
    """Every part of the work on a frame alone, from its bytes to an encoded picture."""
    inside = []
    for name, call in network_parts(workload).items():
        replayed, times_over = recorded(call, workload.device)
        inside.append(Contender(name, replayed, times_over * workload.batch))
    with TemporaryDirectory(prefix="lmaseg-bench-") as folder:
        around = _parts_around(workload, Path(folder))
        return _race("parts", {"part of the network": inside, "part around it": around}, workload, watch)


def variants(workload: Workload, watch: Stopwatch) -> list[Detail]:
    """Other memories and sizes, one setting changed at a time."""
    memories = [replace(workload, memory=frames) for frames in MEMORIES] if workload.memory else []
    sizes = [_scaled(workload, scale) for scale in SCALES]
    contenders = {
        "past frames": [_network(str(variant.memory), variant) for variant in memories],
        "working size": [_network("x".join(map(str, variant.size)), variant) for variant in sizes],
    }
    return _race("variants", contenders, workload, watch)


def _race(
    group: str, contenders: Mapping[str, Sequence[Contender]], workload: Workload, watch: Stopwatch
) -> list[Detail]:
    """All of them beside the network as it is."""
    network = _network("network", workload)
    times = watch.race(group, [network, *(one for group in contenders.values() for one in group)])
    return [
        Detail(kind, one.name, spread(times[one.name]), spread(times[one.name] / times[network.name]))
        for kind, of_kind in contenders.items()
        for one in of_kind
    ]


def _network(name: str, workload: Workload) -> Contender:
    return Contender(name, workload.step(workload.segmenter(), PERIOD), PERIOD * workload.batch)


def _scaled(workload: Workload, scale: float) -> Workload:
    """The same at another working size, on frames of that size."""
    height, width = (max(SMALLEST, round(side * scale)) for side in workload.size)
    size = workload.segmenter(size=(height, width)).working_size(height, width)
    frames = (Image.fromarray(frame).resize(size[::-1]) for frame in workload.frames)
    return replace(workload, size=size, frames=tuple(np.array(frame) for frame in frames))


def network_parts(workload: Workload) -> Mapping[str, Call]:
    """What `Segmenter` does with a batch, one call per part, in order."""
    wide = workload.segmenter().wide_dtype
    net = inference_network(workload.net, workload.dtype, wide)
    pixels = torch.from_numpy(np.stack(list(islice(cycle(workload.frames), workload.batch)))).to(workload.device)
    calls: dict[str, Callable[[], Any]] = {}

    def part(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        calls[name] = partial(work, *arguments)
        return calls[name]()

    prepared = part("preprocess", preprocess, pixels, net.preprocess, workload.size, wide)
    features = part("encode", net.features_of, prepared)
    if workload.memory:
        encoded: Encoded = part("project", net.projections, features)
        memory = full_memory(encoded, workload.memory)
        part("remember", memory.follow, encoded.key, encoded.value)
        keys, values = look_back(memory, encoded)
        if net.recurrent:
            keys, values = part("compensate motion", net.past_of, encoded, keys, values)
        attended = part("attend", local_attention, encoded.query, keys, values, net.spec.window)
        features = part("fuse", net.fusion, encoded.query_value, attended)
    logits = part("decode", net.decoder, features)
    part("upsample + argmax", labels_at, logits[..., : workload.size[0], : workload.size[1]], *pixels.shape[1:3])
    return calls


def _parts_around(workload: Workload, folder: Path) -> list[Contender]:
    """Drawing the labels, and encoding and decoding what is drawn, through files in a folder."""
    view, label = View(workload.net.labels), workload.segmenter(batch=1)
    pairs = [(frame, label(frame)) for frame in workload.frames]
    drawn = [view(*pair) for pair in pairs]
    (height, width), path = drawn[0].shape[:2], folder / "drawn.mp4"
    endless = cycle(pairs)

    def decode() -> None:
        with VideoReader(path) as reader:
            for _ in reader:
                pass

    return [
        Contender("draw", lambda: view(*next(endless))),
        Contender("encode video", lambda: write_video(path, drawn, height, width), len(drawn)),
        Contender("decode video", decode, len(drawn)),
    ]
