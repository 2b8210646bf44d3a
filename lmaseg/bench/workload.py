"""A network and the pictures it is timed on, and the ways to run it."""

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.attention import local_attention
from lmaseg.models import Encoded, FeatureMemory, LocalMemoryNet
from lmaseg.stream import Segmenter, preprocess


@dataclass(frozen=True)
class Workload:
    """Successive frames, `batch` at a time, through a network at one working size and type."""

    net: LocalMemoryNet
    frames: tuple[np.ndarray, ...]
    """(H, W, 3) uint8 RGB, all of one size."""
    size: tuple[int, int]
    """Working height and width."""
    memory: int
    dtype: torch.dtype
    batch: int

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def segmenter(self, **changes: Any) -> Segmenter:
        """One that runs this, or differs in some of its arguments."""
        arguments = {"size": self.size, "memory": self.memory, "dtype": self.dtype, "batch": self.batch}
        return Segmenter(**{"net": self.net, **arguments, **changes})

    def stream(self, segmenter: Segmenter) -> Callable[[], np.ndarray]:
        """Labels the next frames at every call, over and over; the memory is full already."""
        frames = cycle(self.frames)

        def step() -> np.ndarray:
            return segmenter.submit(list(islice(frames, segmenter.batch))).result()

        for _ in range(-(-segmenter.memory.frames // segmenter.batch) + 1):
            step()
        return step


def with_window(net: LocalMemoryNet, window: int) -> LocalMemoryNet:
    """The same network, with the same tensors, attending through another window."""
    other = copy.copy(net)
    other.spec = replace(net.spec, window=window)
    return other


def full_memory(encoded: Encoded, frames: int) -> FeatureMemory:
    """A memory that holds so many past frames: these, over and over."""
    memory = FeatureMemory(frames, room=max(len(encoded.key), frames))
    while len(memory) < frames:
        memory.follow(encoded.key, encoded.value)
    return memory


def look_back(memory: FeatureMemory, encoded: Encoded) -> tuple[Tensor, Tensor]:
    """Keys (N, T, C, h, w) and values (N, T, D, h, w) that N new frames look back on, given a full memory."""
    ((_, keys, values),) = memory.follow(encoded.key, encoded.value)
    assert keys is not None
    assert values is not None
    return keys, values


class Straightforward:
    """Labels frames the way the authors' code does, one by one: float32, no folding, attention by its definition."""

    def __init__(self, net: LocalMemoryNet, size: tuple[int, int], memory: int) -> None:
        self._net, self._size = net, size
        self._past: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (H, W) uint8 class ids."""
        net = self._net
        pixels = torch.from_numpy(frame).to(next(net.parameters()).device).unsqueeze(0)
        encoded = net.encode(preprocess(pixels, net.preprocess, self._size, torch.float32).contiguous())
        features = encoded.features
        if self._past:
            keys, values = (torch.stack(past, dim=1) for past in zip(*self._past, strict=True))
            attended = local_attention(encoded.query, keys, values, net.spec.window, backend="reference")
            features = net.fusion(encoded.query_value, attended)
        self._past.append((encoded.key, encoded.value))
        height, width = self._size
        logits = net.decoder(features)[..., :height, :width]
        return resize_and_decide(logits, *frame.shape[:2])[0].cpu().numpy()


def resize_and_decide(logits: Tensor, height: int, width: int) -> Tensor:
    """Labels (B, height, width) uint8 of logits (B, classes, h, w), by torch."""
    resized = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return resized.argmax(1).to(torch.uint8)
