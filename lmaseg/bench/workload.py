"""A network, the frames it is timed on, and the ways to run it."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lmaseg.attention import local_attention
from lmaseg.bench.timing import Call
from lmaseg.models import Encoded, FeatureMemory, LocalMemoryNet
from lmaseg.models.memory import PERIOD
from lmaseg.stream import Pending, Segmenter, preprocess
from lmaseg.video import VideoReader, VideoWriter

FRAMES = 16  # that the network is timed on, over and over
TILE = 24  # pixels between the drawn pattern's colours
SPEED = 3  # pixels that the pattern moves a frame


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

    def step(self, segmenter: Segmenter, batches: int = 1) -> Call:
        """Labels the next batches at every call, each handed over before the labels of the one before it are fetched.

        The memory is full already. Of successive batches one in `PERIOD` lies in a second in which two averages run, as
        in a video.
        """
        frames, seconds = cycle(self.frames), cycle(range(PERIOD))

        def submit(second: int) -> Pending:
            return segmenter.submit(list(islice(frames, segmenter.batch)), seconds=[second] * segmenter.batch)

        def label() -> None:
            before: Pending | None = None
            for _ in range(batches):
                pending = submit(next(seconds))
                if before:
                    before.result()
                before = pending
            if before:
                before.result()

        for _ in range(-(-segmenter.memory.frames // segmenter.batch) + 1):
            submit(PERIOD - 1).result()
        return label


def first_frames(video: Path | None, height: int, width: int) -> tuple[np.ndarray, ...]:
    """The frames that the network is timed on: the first of a video, or drawn ones of that size. Raises VideoError:
    what `VideoReader` raises."""
    if video is None:
        return tuple(islice(drawn_frames(height, width), FRAMES))
    with VideoReader(video) as reader:
        return tuple(frame.image for frame in islice(reader, FRAMES))


def drawn_frames(height: int, width: int) -> Iterator[np.ndarray]:
    """Endless frames (height, width, 3) uint8 RGB of a colourful pattern that moves sideways and back."""
    rows, columns = height // TILE + 2, 2 * width // TILE + 2
    colours = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    pattern = np.asarray(Image.fromarray(colours).resize((columns * TILE, rows * TILE), Image.Resampling.BICUBIC))
    there = range(0, width, SPEED)
    for left in cycle([*there, *reversed(there)]):
        yield np.ascontiguousarray(pattern[:height, left : left + width])


def write_video(path: Path, images: Iterable[np.ndarray], height: int, width: int) -> None:
    """Frames (height, width, 3) uint8 RGB as a video at 30 frames per second."""
    with VideoWriter(path, width=width, height=height, time_base=Fraction(1, 30), rate=30, overwrite=True) as writer:
        for index, image in enumerate(images):
            writer.write(image, index)


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


class PlainNetwork:
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
            past = net.past_of(encoded, keys, values)
            attended = local_attention(encoded.query, *past, net.spec.window, backend="reference")
            features = net.fusion(encoded.query_value, attended)
        self._past.append((encoded.key, net.value_of(encoded, features)))
        height, width = self._size
        logits = net.decoder(features)[..., :height, :width]
        resized = F.interpolate(logits, frame.shape[:2], mode="bilinear", align_corners=False)
        return resized.argmax(1).to(torch.uint8)[0].cpu().numpy()
