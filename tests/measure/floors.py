"""What an operation must cost: its arithmetic and its traffic over rates measured in the same race."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmaseg.bench.timing import Call, Contender, Times, spread

PRODUCT, COPY = "matrix product", "copy"


class Rates(NamedTuple):
    """What the device reaches in its better moments (10 % quantile)."""

    flops: float
    """Per second, in a large matrix product of the type computed in."""
    bytes: float
    """Per second read and written, in a large copy."""


class Floor(NamedTuple):
    """The least time a frame's arithmetic and transfers could take at the measured rates."""

    flops: int
    bytes: int
    """Every operand read once, the result written once."""
    seconds: float


class Yardsticks:
    """A large square matrix product and a large copy, to be raced beside what is measured."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        side, size = (8192, 2**29) if device.type == "cuda" else (1024, 2**26)  # well past caches and launches
        left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        source = torch.zeros(size, dtype=torch.uint8, device=device)
        target = torch.zeros_like(source)
        self._flops, self._bytes = 2 * side**3, 2 * size
        self.contenders = [
            Contender(PRODUCT, lambda: left @ right),
            Contender(COPY, lambda: target.copy_(source)),
        ]

    def rates(self, times: Times) -> Rates:
        """What the device reaches at best, by a race with the yardsticks in it."""
        return Rates(self._flops / spread(times[PRODUCT]).low, self._bytes / spread(times[COPY]).low)


def attention_flops(query: Tensor, keys: Tensor, values: Tensor, window: int) -> int:
    """Of a query (B, C, H, W): two for each channel of key and value, of every neighbour of every cell."""
    return 2 * keys.shape[1] * window**2 * (keys.shape[2] + values.shape[2]) * (query.numel() // query.shape[1])


def attention_floor(query: Tensor, keys: Tensor, values: Tensor, window: int, rates: Rates) -> Floor:
    """Per frame of a batch whose memories overlap, as those of successive frames do: each past frame is read once."""
    batch, frames = keys.shape[:2]
    past = batch + frames - 1  # distinct frames
    one_frame = sum(x[0, 0].numel() for x in (keys, values))
    answer = query[:, :1].numel() * values.shape[2]
    moved = (query.numel() + past * one_frame + answer) * query.element_size() // batch
    flops = attention_flops(query, keys, values, window) // batch
    return Floor(flops, moved, max(flops / rates.flops, moved / rates.bytes))


def counted_flops(call: Call) -> int:
    """Of the convolutions and matrix products in a call, by running it."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops()
