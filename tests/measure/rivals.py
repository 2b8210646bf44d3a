"""Single operations as lmaseg does them, against other ways to compute the same and against their floors.

    python tests/measure/rivals.py --size 512x1024 --window 21 --device cuda --dtype bfloat16 --json rivals.json

Prints local attention by every backend and by torch's compiled flex_attention, upsampling and argmax by torch, and how
much of the matrix product's rate the network's convolutions reach. A rival that cannot run here, or gives other
results, is named with the reason and not timed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flex import tiled_flex
from floors import Yardsticks, attention_floor, attention_flops, counted_flops
from torch import Tensor
from torch.nn import functional as F

from lmaseg import load
from lmaseg.attention import BACKENDS, local_attention
from lmaseg.bench.full import network_parts
from lmaseg.bench.timing import Contender, Stopwatch, recorded, spread
from lmaseg.bench.workload import Workload, first_frames, full_memory, look_back
from lmaseg.cli.options import parse_size
from lmaseg.decision import labels_at
from lmaseg.models import Encoded, adapted_network
from lmaseg.models.precision import fastest_dtype
from lmaseg.stream import Segmenter, preprocess

OURS, FLEX, GROUP = "lmaseg", "flex_attention", "rivals"
MOST_ERROR = 0.05  # bfloat16 stays under it even where logits are rounded to it, a wrong result does not


@dataclass(frozen=True)
class Rival:
    """One way to compute the same; ours is one, too."""

    name: str
    dtype: torch.dtype
    call: Callable[[], Tensor]

    @property
    def label(self) -> str:
        return f"{self.name} in {str(self.dtype).removeprefix('torch.')}"


def compare_attention(workload: Workload, watch: Stopwatch) -> dict[str, Any]:
    """Local attention by every backend and by compiled flex_attention, on a frame's own keys and values."""
    encoded, window = _encode(workload), workload.net.spec.window
    operands = {dtype: _operands(encoded, workload.memory, dtype) for dtype in (workload.dtype, torch.float32)}
    truth = local_attention(*operands[torch.float32], window, backend="reference")
    rivals = [Rival(OURS, workload.dtype, partial(local_attention, *operands[workload.dtype], window))]
    rivals += [
        Rival(name, dtype, partial(local_attention, *parts, window, backend=name))
        for name in BACKENDS
        for dtype, parts in operands.items()
    ]
    height, width = truth.shape[-2:]
    flex = tiled_flex(height, width, workload.memory, window, workload.device)
    rivals += [Rival(FLEX, dtype, partial(flex, *parts)) for dtype, parts in operands.items()]
    yardsticks = Yardsticks(workload.device, workload.dtype)

    def error(result: Tensor) -> float:
        return float((result.float() - truth).norm() / truth.norm())

    found, times = _race(rivals, error, workload, watch, yardsticks.contenders)
    floor = attention_floor(*operands[workload.dtype], window, yardsticks.rates(times))
    return found | {"floor": floor._asdict()}


def compare_labelling(workload: Workload, watch: Stopwatch) -> dict[str, Any]:
    """From logits to labels of twice their size, against interpolation and argmax in torch."""
    logits = workload.net.decoder(_encode(workload).features)
    height, width = (2 * side for side in logits.shape[-2:])
    operands = {dtype: logits.to(dtype) for dtype in (workload.dtype, torch.float32)}
    truth = labels_at(operands[torch.float32], height, width)
    ours_on = operands[workload.dtype].contiguous(memory_format=torch.channels_last)
    rivals = [Rival(OURS, workload.dtype, partial(labels_at, ours_on, height, width))]
    for dtype, of_type in operands.items():
        for name, layout in (("torch", torch.contiguous_format), ("torch channels last", torch.channels_last)):
            rivals.append(Rival(name, dtype, partial(_decide, of_type.contiguous(memory_format=layout), height, width)))

    def error(result: Tensor) -> float:
        return float((result != truth).float().mean())

    return _race(rivals, error, workload, watch)[0]


def compare_arithmetic(workload: Workload, watch: Stopwatch) -> dict[str, Any]:
    """GFLOP per frame of each part of the network that has any, and its share of the matrix product's rate."""
    calls = network_parts(workload)
    flops = {name: counted_flops(call) for name, call in calls.items()}
    operands = _operands(_encode(workload), workload.memory, workload.dtype)
    flops["attend"] = attention_flops(*operands, workload.net.spec.window)
    yardsticks = Yardsticks(workload.device, workload.dtype)
    contenders = []
    for name, call in calls.items():
        replayed, times_over = recorded(call, workload.device)
        contenders.append(Contender(name, replayed, times_over * workload.batch))
    times = watch.race(GROUP, [*contenders, *yardsticks.contenders])
    rates = yardsticks.rates(times)
    return {
        name: {
            "milliseconds": 1e3 * spread(times[name]).median,
            "gflop": work / workload.batch / 1e9,
            "share_of_matrix_product": work / workload.batch / spread(times[name]).median / rates.flops,
        }
        for name, work in flops.items()
        if work
    } | {"rates": rates._asdict()}


def _encode(workload: Workload) -> Encoded:
    """A batch of frames, encoded in float32."""
    frames = np.stack(list(islice(cycle(workload.frames), workload.batch)))
    pixels = torch.from_numpy(frames).to(workload.device)
    return workload.net.encode(preprocess(pixels, workload.net.preprocess, workload.size, torch.float32))


def _operands(encoded: Encoded, frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Query, keys and values as a `Segmenter` of that type lays them out."""
    encoded = Encoded(*(part.to(dtype) for part in encoded))
    return encoded.query, *look_back(full_memory(encoded, frames), encoded)


def _decide(logits: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return resized.argmax(1).to(torch.uint8)


def _race(
    rivals: Sequence[Rival],
    error: Callable[[Tensor], float],
    workload: Workload,
    watch: Stopwatch,
    beside: Sequence[Contender] = (),
) -> tuple[dict[str, Any], Any]:
    """Time those that run and give the right result, the first of which is ours."""
    errors: dict[str, float] = {}
    skipped, contenders = [], []
    for number, rival in enumerate(rivals):
        key = f"{number} {rival.label}"
        try:
            errors[key] = error(rival.call())
            replayed, times_over = recorded(rival.call, workload.device)
        except Exception as failure:  # a rival's compiler may fail in any way, and the rest is still worth timing
            if rival.name == OURS:
                raise
            why = (str(failure).strip() or repr(failure)).splitlines()[0]
            skipped.append(f"{rival.label} does not run here: {why}")
            continue
        if errors[key] > MOST_ERROR:
            skipped.append(f"{rival.label} gives other results, {errors[key]:.3g} away")
            continue
        contenders.append(Contender(key, replayed, times_over * workload.batch))
    times = watch.race(GROUP, [*contenders, *beside])
    ours = contenders[0].name
    ran = {
        contender.name.split(" ", 1)[1]: {
            "milliseconds": 1e3 * spread(times[contender.name]).median,
            "times_ours": spread(times[contender.name] / times[ours]).median,
            "error": errors[contender.name],
        }
        for contender in contenders
    }
    return {"ran": ran, "skipped": skipped}, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=parse_size)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--window", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--seconds", type=float, default=20, help="for each of the three races")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    net = load(given.weights, given.device)
    if given.window:
        net = adapted_network(net, window=given.window)
    dtype = getattr(torch, given.dtype) if given.dtype else fastest_dtype(next(net.parameters()))
    segmenter = Segmenter(net, given.size, given.memory, dtype, given.batch)
    size = segmenter.working_size(*net.preprocess.size)
    frames = first_frames(None, *size)
    workload = Workload(net, frames, size, segmenter.memory.frames, segmenter.dtype, given.batch)
    watch = Stopwatch(segmenter.device, {GROUP: given.seconds})
    with torch.inference_mode():
        found = {
            "local attention": compare_attention(workload, watch),
            "upsampling 2x and argmax": compare_labelling(workload, watch),
            "arithmetic": compare_arithmetic(workload, watch),
        }
    text = json.dumps(found, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
