"""Streaming: one frame in, one label map out, with constant memory."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lmaseg.decision import LABELS, SMOOTH, Decided, decide, smoothed
from lmaseg.models import (
    Encoded,
    FeatureMemory,
    LocalMemoryNet,
    Preprocess,
    adapted_network,
    inference_network,
    without_memory,
)
from lmaseg.models.halves import Features
from lmaseg.models.memory import SECOND, RecurrentMemory, memory_for
from lmaseg.models.precision import choose_dtype, fastest_dtype

SMALLEST = 32  # pixels: below four cells a side the encoder's dilations see nothing but padding
LONGEST = 8192  # pixels: keeps the working size of a very narrow source bounded


class Segmenter:
    """Labels the frames of one video, in order; owns the memory of past features.

    Args:
        net: a network in evaluation mode, on its device.
        size: working height, or (height, width), in pixels; rounded to what the network takes. None scales the
            source's shorter side to the height the weights were trained at. The aspect ratio is kept unless both
            are given.
        memory: past frames to attend to; None takes what the weights were made for, 0 segments every frame alone.
            A network without a memory gets an untrained one, which averages features along their likeness.
        dtype: type of the network's computation, a floating point one or int8; None leaves it to `choose_dtype`.
        batch: frames that `submit` takes at most. More of them keep a GPU busier; the labels stay the same but for
            rounding.
        confidence: whether to tell the probability of each pixel's class, too.
        smooth: whether to tell labels with smooth edges, too, which are nicer to look at.
        min_confidence: probability below which a pixel is left unlabelled: its class id is `UNSURE`.

    Raises:
        ValueError: a size under 32 or over 8192 pixels, a negative memory, a batch under 1, or a min_confidence that
            is no probability; int8 where `inference_network` refuses it.
    """

    def __init__(
        self,
        net: LocalMemoryNet,
        size: int | tuple[int, int] | None = None,
        memory: int | None = None,
        dtype: torch.dtype | None = None,
        batch: int = 1,
        confidence: bool = False,
        smooth: bool = False,
        min_confidence: float = 0.0,
    ) -> None:
        for side in (size,) if isinstance(size, int) else size or ():
            if not SMALLEST <= side <= LONGEST:
                raise ValueError(f"a working size of {side} pixels is not between {SMALLEST} and {LONGEST}")
        if memory and not net.spec.has_memory:
            net = adapted_network(net, memory_frames=memory)
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"a least confidence of {min_confidence:g} is not between 0 and 1: give a probability")
        weight = next(net.parameters())
        self.device, self.dtype = weight.device, dtype or choose_dtype(net)
        self.net, self.batch = net, batch
        self.wide_dtype = fastest_dtype(weight) if self.dtype == torch.int8 else self.dtype
        frames = net.spec.memory_frames if memory is None else memory
        self._network = inference_network(net if frames else without_memory(net), self.dtype, self.wide_dtype)
        # A CUDA graph wants every full batch to end at the same slot; elsewhere room saves moving frames each time.
        room = batch if self.device.type == "cuda" else max(batch, 2 * frames)
        self.memory = memory_for(net, frames, room)
        self._seen = 0  # frames since the last `reset`
        self._size = size
        self._confidence, self._smooth, self._min_confidence = confidence, smooth, min_confidence
        self._graphs: dict[int, _Graph] = {}  # one for each number of memories that work
        self._last_size: tuple[int, ...] | None = None  # (height, width) of the newest frames

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) a source of that size is segmented at."""
        return working_size(self.net, height, width, self._size)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Class ids (H, W) uint8 of a frame (H, W, 3) uint8 RGB; ValueError for anything else."""
        return self.submit([frame]).result()[0]

    @torch.inference_mode()
    def submit(
        self, frames: Sequence[np.ndarray], resets: Sequence[bool] = (), seconds: Sequence[int] = ()
    ) -> "Pending":
        """Start on successive frames of one size, all at once; on a GPU this does not wait for it.

        Args:
            frames: 1 to `batch` times (H, W, 3) uint8 RGB.
            resets: for each frame, whether it opens a new shot and the memory is emptied before it; none by default.
            seconds: the whole second that each frame lies in, for a `RecurrentMemory`; by default every 16 frames since
                the last `reset` count as one.

        Returns:
            Their labels to come.

        Raises:
            ValueError: no frames, more than `batch`, other pictures than these, or not as many resets or seconds.
        """
        resets = resets or [False] * len(frames)
        seconds = seconds or [(self._seen + index) // SECOND for index in range(len(frames))]
        _check_frames(frames, resets, seconds, self.batch)
        self._seen += len(frames)
        pixels = _stack(frames, pinned=self.device.type == "cuda")
        size, self._last_size = self._last_size, pixels.shape[1:3]
        if size != self._last_size or not all(graph.belongs_to(self.memory) for graph in self._graphs.values()):
            self._graphs = {}  # the memory moves for pictures of another size, and is empty then
        elif memories := self._replayable(pixels, resets, seconds):
            if memories not in self._graphs:
                label = partial(self._label, seconds=seconds)
                self._graphs[memories] = _Graph(pixels.to(self.device), label, self.memory)
            return Pending(self._graphs[memories].replay(pixels))
        return Pending(self._label(pixels.to(self.device, non_blocking=True), resets, seconds))

    @cached_property
    def digest(self) -> str:
        """What tells the network's weights from others, and in int8 the ranges of its activations."""
        told = hashlib.sha256()
        for name, tensor in sorted(self.net.state_dict().items()):
            told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            told.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        if self.dtype == torch.int8:
            told.update(json.dumps(self.net.ranges, sort_keys=True).encode())
        return told.hexdigest()

    def reset(self) -> None:
        """Forget the past: the next frame opens a new shot."""
        self.memory.clear()
        self._seen = 0

    def _replayable(self, pixels: Tensor, resets: Sequence[bool], seconds: Sequence[int]) -> int:
        """How many memories work on a batch that is like those to come or a recorded one: full, with full memories that
        end where they will; 0 for others."""
        full = self.device.type == "cuda" and len(pixels) == self.batch
        return self.memory.settled(seconds) if full and not any(resets) else 0

    def _label(self, pixels: Tensor, resets: Sequence[bool], seconds: Sequence[int]) -> Decided:
        """(N, H, W, 3) uint8 -> what is decided of their logits."""
        height, width = pixels.shape[1:3]
        prepared = preprocess(pixels, self.net.preprocess, self.working_size(height, width), self.wide_dtype)
        encoded = self._network.encode(prepared)
        decided = []
        starts = [i for i, reset in enumerate(resets) if reset or i == 0]
        for start, end in zip(starts, [*starts[1:], len(resets)], strict=True):
            if resets[start]:
                self.memory.clear()
            for group, features in self.memory.recall(self._network, encoded.part(start, end), seconds[start:end]):
                decided.append(self._read(group, features, prepared.shape[-2:], (height, width)))
        return {name: torch.cat([part[name] for part in decided]) for name in decided[0]}

    def _read(self, group: Encoded, features: Features, working: Sequence[int], size: tuple[int, int]) -> Decided:
        """What is decided, at their own size, of encoded frames whose features the memory made what they are."""
        rows, columns = (-(-side // self.net.logit_stride) for side in working)
        logits = self._network.decoder(features)[..., :rows, :columns]
        decided = decide(logits, *size, confidence=self._confidence, min_confidence=self._min_confidence)
        if self._smooth:
            combed = self.net.logit_stride == 1  # coarser logits are smooth when they are interpolated
            own = decide(smoothed(logits), *size, min_confidence=self._min_confidence) if combed else decided
            decided[SMOOTH] = own[LABELS]
        return decided


class Pending:
    """Labels that a GPU may still be working on."""

    def __init__(self, decided: Decided) -> None:
        self._decided = decided
        self._ready: torch.cuda.Event | None = None
        if decided[LABELS].device.type == "cuda":
            pinned = {
                name: torch.empty(part.shape, dtype=part.dtype, pin_memory=True) for name, part in decided.items()
            }
            self._decided = {name: room.copy_(decided[name], non_blocking=True) for name, room in pinned.items()}
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record()

    def ready(self) -> bool:
        """Whether `result` would not wait."""
        return self._ready is None or bool(self._ready.query())  # type: ignore[no-untyped-call]

    def result(self, name: str = LABELS) -> Any:
        """Class ids (N, H, W) uint8, when they are there, or another part of `Decided`; None if the segmenter does not
        tell that."""
        if self._ready:
            self._ready.synchronize()
        return self._decided[name].cpu().numpy() if name in self._decided else None


class _Graph:
    """One batch's work, recorded with the memory's addresses in it and replayed by a single launch: CUDA only.

    Args:
        pixels: (N, H, W, 3) uint8 on the device; later batches are copied into it.
        label: the work; run before on such a batch, so that all tuning is done.
        memory: whose storage the work reads and writes.
    """

    def __init__(
        self,
        pixels: Tensor,
        label: Callable[[Tensor, Sequence[bool]], Decided],
        memory: FeatureMemory | RecurrentMemory,
    ) -> None:
        self._pixels, self._storage = pixels, memory.storage
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._decided = label(pixels, [False] * len(pixels))

    def belongs_to(self, memory: FeatureMemory | RecurrentMemory) -> bool:
        """Whether the addresses in it are still the memory's."""
        return all(now is then for now, then in zip(memory.storage, self._storage, strict=True))

    def replay(self, pixels: Tensor) -> Decided:
        """What the work makes of a batch, overwritten by the next replay."""
        self._pixels.copy_(pixels, non_blocking=True)
        self._graph.replay()
        return self._decided


def working_size(
    net: LocalMemoryNet, height: int, width: int, size: int | tuple[int, int] | None = None
) -> tuple[int, int]:
    """The (height, width) at which a network segments a source of that size; `size` is as in `Segmenter`."""
    if isinstance(size, tuple):
        wanted: tuple[float, float] = size
    else:
        scale = size / height if size else net.preprocess.size[0] / min(height, width)
        wanted = (height * scale, width * scale)
    rows, columns = (max(net.multiple, round(min(side, LONGEST) / net.multiple) * net.multiple) for side in wanted)
    return rows, columns


def _check_frames(frames: Sequence[np.ndarray], resets: Sequence[bool], seconds: Sequence[int], batch: int) -> None:
    """Refuse what a network would take for something else, or not at all."""
    if not 1 <= len(frames) <= batch or not len(resets) == len(seconds) == len(frames):
        given = f"{len(frames)} frames with {len(resets)} resets and {len(seconds)} seconds"
        raise ValueError(f"{given} were handed over at once: give 1 to {batch} frames, and as many of these or none")
    for frame in frames:
        if not isinstance(frame, np.ndarray):
            kind = type(frame).__name__
            raise ValueError(f"a frame is an array, not a {kind}: lmaseg.segment reads videos and images by name")
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            found = f"{frame.shape} {frame.dtype}"
            raise ValueError(f"a frame is (height, width, 3) uint8 RGB, not {found}: convert it first")
        if frame.shape != frames[0].shape:
            raise ValueError(f"frames of {frames[0].shape} and {frame.shape} cannot be labelled at once: give one size")


def _stack(frames: Sequence[np.ndarray], *, pinned: bool) -> Tensor:
    """(N, H, W, 3) uint8 in main memory, from where a GPU can fetch it by itself if pinned."""
    if len(frames) == 1 and not pinned:
        return torch.from_numpy(np.require(frames[0], requirements=("C", "W"))).unsqueeze(0)
    stacked = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=pinned)
    np.stack(frames, out=stacked.numpy())
    return stacked


def preprocess(pixels: Tensor, settings: Preprocess, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, *size), resized with antialiasing and normalised, channels last."""
    if pixels.shape[1:3] != size:
        pixels = resized(pixels, settings, size)
    mean, std = (_per_channel(values, dtype, pixels.device).repeat(size[1]) for values in (settings.mean, settings.std))
    rows = pixels.flatten(2).to(dtype)  # whole rows of numbers take a quarter of the time of three channels each
    rows = rows.mul_(settings.scale).sub_(mean).div_(std)
    return rows.view(pixels.shape).permute(0, 3, 1, 2)  # channels last in memory


def normalised(image: Tensor, settings: Preprocess, *, white: float = 255) -> Tensor:
    """(..., 3, H, W) RGB from 0 to `white` -> what the encoder reads, float32."""
    values = (settings.mean, settings.std)
    mean, std = (_per_channel(value, torch.float32, image.device).view(3, 1, 1) for value in values)
    return (image.float() * (settings.scale * (255 / white)) - mean) / std


def resized(pixels: Tensor, settings: Preprocess, size: tuple[int, int]) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, *size, 3) with antialiasing: uint8 on a CPU, float32 in [0, 255] on other devices."""
    on_cpu = pixels.device.type == "cpu"
    if settings.as_pillow and on_cpu:
        resample = Image.Resampling[settings.resample.upper()]
        pictures = (Image.fromarray(frame.numpy()).resize(size[::-1], resample) for frame in pixels)
        return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    image = pixels.permute(0, 3, 1, 2)
    if not on_cpu:
        image = image.float()  # only CPUs resize bytes
    image = F.interpolate(image, size, mode=settings.resample, align_corners=False, antialias=True)
    return image.clamp(0, 255).permute(0, 2, 3, 1)


@cache
def _per_channel(values: tuple[float, float, float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(3,), made once: a CUDA graph cannot record a transfer from ordinary memory, and it would be waited for."""
    return torch.tensor(values, dtype=dtype, device=device)
