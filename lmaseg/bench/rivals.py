"""Single operations as `lmaseg` does them, against other ways to compute the same."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from lmaseg.attention import BACKENDS, local_attention
from lmaseg.bench.flex import tiled_flex
from lmaseg.bench.floor import Yardsticks, attention_floor
from lmaseg.bench.report import Comparison, Rival
from lmaseg.bench.timing import Contender, Stopwatch, Times, recorded
from lmaseg.bench.workload import Workload, full_memory, look_back, resize_and_decide
from lmaseg.models import Encoded
from lmaseg.stream import labels_at, preprocess

OURS = "lmaseg"
FLEX = "flex_attention"
MOST_ERROR = 0.05  # bfloat16 stays under it even where logits are rounded to it, a wrong result does not


@dataclass(frozen=True)
class _Candidate:
    name: str
    dtype: torch.dtype
    call: Callable[[], Tensor]

    @property
    def key(self) -> str:
        return f"{self.name} {self.dtype}"


def compare_attention(workload: Workload, watch: Stopwatch) -> Comparison:
    """Local attention by every backend and by compiled flex_attention, on a frame's own keys and values."""
    encoded, window = _encode(workload), workload.net.spec.window
    operands = {dtype: _operands(encoded, workload.memory, dtype) for dtype in (workload.dtype, torch.float32)}
    truth = local_attention(*operands[torch.float32], window, backend="reference")
    ours = _Candidate(OURS, workload.dtype, partial(local_attention, *operands[workload.dtype], window))
    rivals = [
        _Candidate(name, dtype, partial(local_attention, *parts, window, backend=name))
        for name in BACKENDS
        for dtype, parts in operands.items()
    ]
    height, width = truth.shape[-2:]
    flex = tiled_flex(height, width, workload.memory, window, workload.device)
    rivals += [_Candidate(FLEX, dtype, partial(flex, *parts)) for dtype, parts in operands.items()]

    def error(result: Tensor) -> float:
        return float((result.float() - truth).norm() / truth.norm())

    yardsticks = Yardsticks(workload.device, workload.dtype)
    comparison, times = _race("local attention", ours, rivals, error, workload, watch, yardsticks.contenders)
    floor = attention_floor(*operands[workload.dtype], window, yardsticks.rates(times))
    return Comparison(comparison.name, comparison.ours, comparison.rivals, comparison.skipped, floor)


def compare_labelling(workload: Workload, watch: Stopwatch) -> Comparison:
    """From logits to labels of twice their size, against interpolation and argmax in torch."""
    with torch.inference_mode():
        logits = workload.net.decoder(_encode(workload).features)
    height, width = (2 * side for side in logits.shape[-2:])
    operands = {dtype: logits.to(dtype) for dtype in (workload.dtype, torch.float32)}
    truth = labels_at(operands[torch.float32], height, width)
    channels_last = torch.channels_last
    ours_on = operands[workload.dtype].contiguous(memory_format=channels_last)
    ours = _Candidate(OURS, workload.dtype, partial(labels_at, ours_on, height, width))
    rivals = []
    for dtype, of_type in operands.items():
        for name, layout in (("torch", torch.contiguous_format), ("torch channels last", channels_last)):
            laid_out = of_type.contiguous(memory_format=layout)
            rivals.append(_Candidate(name, dtype, partial(resize_and_decide, laid_out, height, width)))

    def error(result: Tensor) -> float:
        return float((result != truth).float().mean())

    return _race("upsampling 2x and argmax", ours, rivals, error, workload, watch)[0]


@torch.inference_mode()
def _encode(workload: Workload) -> Encoded:
    """A batch of frames, encoded in float32."""
    frames = np.stack(list(islice(cycle(workload.frames), workload.batch)))
    pixels = torch.from_numpy(frames).to(workload.device)
    return workload.net.encode(preprocess(pixels, workload.net.preprocess, workload.size, torch.float32))


def _operands(encoded: Encoded, frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Query, keys and values as a `Segmenter` of that type lays them out."""
    encoded = Encoded(*(part.to(dtype) for part in encoded))
    return encoded.query, *look_back(full_memory(encoded, frames), encoded)


def _race(
    name: str,
    ours: _Candidate,
    rivals: Iterable[_Candidate],
    error: Callable[[Tensor], float],
    workload: Workload,
    watch: Stopwatch,
    beside: Iterable[Contender] = (),
) -> tuple[Comparison, Times]:
    """Time those that run and give the right result."""
    errors: dict[str, float] = {}
    skipped, contenders = [], []
    for candidate in (ours, *rivals):
        label = f"{candidate.name} in {str(candidate.dtype).removeprefix('torch.')}"
        try:
            errors[candidate.key] = error(candidate.call())
            call = recorded(candidate.call, workload.device)
        except Exception as failure:  # a rival's compiler may fail in any way, and the rest is still worth timing
            if candidate is ours:
                raise
            skipped.append(f"{label} does not run here: {(str(failure).strip() or repr(failure)).splitlines()[0]}")
            continue
        if errors[candidate.key] > MOST_ERROR:
            skipped.append(f"{label} gives other results, {errors[candidate.key]:.3g} away")
            continue
        contenders.append(Contender(candidate.key, call, workload.batch))
    times = watch.race([*contenders, *beside])
    ran = {contender.name for contender in contenders}
    figures = tuple(
        Rival(
            rival.name,
            str(rival.dtype).removeprefix("torch."),
            times.of(rival.key),
            times.ratio(rival.key, ours.key),
            errors[rival.key],
        )
        for rival in rivals
        if rival.key in ran
    )
    return Comparison(name, times.of(ours.key), figures, tuple(skipped)), times
