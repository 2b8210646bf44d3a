"""Streaming: one frame in, one label map out, with constant memory."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.kernels import upsample
from lmaseg.models import Encoded, FeatureMemory, LocalMemoryNet, Preprocess, adapted_network, fold
from lmaseg.models.memory import Past

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
        dtype: floating point type of the network's computation; None takes bfloat16 where the device has
            instructions for it, else that of the weights.
        batch: frames that `submit` takes at most. More of them keep a GPU busier; the labels stay the same but for
            rounding.
        confidence: whether to tell the probability of each pixel's class, too.

    Raises:
        ValueError: a size under 32 or over 8192 pixels, a negative memory, or a batch under 1.
    """

    def __init__(
        self,
        net: LocalMemoryNet,
        size: int | tuple[int, int] | None = None,
        memory: int | None = None,
        dtype: torch.dtype | None = None,
        batch: int = 1,
        confidence: bool = False,
    ) -> None:
        for side in (size,) if isinstance(size, int) else size or ():
            if not SMALLEST <= side <= LONGEST:
                raise ValueError(
                    f"a working size of {side} pixels is not between {SMALLEST} and {LONGEST}: give another"
                )
        if memory and not net.spec.has_memory:
            net = adapted_network(net, memory_frames=memory)
        weight = next(net.parameters())
        self.device, self.dtype = weight.device, dtype or fastest_dtype(weight)
        self.net, self.batch = net, batch
        self._folded = fold(net).to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        frames = net.spec.memory_frames if memory is None else memory
        # A CUDA graph wants every full batch to end at the same slot; elsewhere room saves moving frames each time.
        self.memory = FeatureMemory(frames, batch if self.device.type == "cuda" else max(batch, frames))
        self._size = size
        self._decide: Callable[[Tensor, int, int], Decided] = (
            labels_and_confidence_at if confidence else _labels_alone_at
        )
        self._graph: _Graph | None = None

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) a source of that size is segmented at."""
        multiple = self.net.multiple
        if isinstance(self._size, tuple):
            wanted: tuple[float, float] = self._size
        else:
            scale = self._size / height if self._size else self.net.preprocess.size[0] / min(height, width)
            wanted = (height * scale, width * scale)
        rounded = [max(multiple, round(min(side, LONGEST) / multiple) * multiple) for side in wanted]
        return rounded[0], rounded[1]

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Class ids (H, W) uint8 of a frame (H, W, 3) uint8 RGB."""
        return self.submit([frame]).result()[0]

    @torch.inference_mode()
    def submit(self, frames: Sequence[np.ndarray], resets: Sequence[bool] = ()) -> "Pending":
        """Start on successive frames of one size, all at once; on a GPU this does not wait for it.

        Args:
            frames: 1 to `batch` times (H, W, 3) uint8 RGB.
            resets: for each frame, whether it opens a new shot and the memory is emptied before it; none by default.

        Returns:
            Their labels to come.
        """
        resets = resets or [False] * len(frames)
        pixels = _stack(frames, pinned=self.device.type == "cuda")
        if self._graph and self._graph.fits(pixels, self.memory, resets):
            return Pending(self._graph.replay(pixels))
        if _Graph.worthwhile(pixels, self.memory, resets, self.batch, self.device):
            self._graph = _Graph(pixels.to(self.device), self._label)
            return Pending(self._graph.replay(pixels))
        return Pending(self._label(pixels.to(self.device, non_blocking=True), resets))

    def reset(self) -> None:
        """Forget the past: the next frame opens a new shot."""
        self.memory.clear()

    def _label(self, pixels: Tensor, resets: Sequence[bool]) -> "Decided":
        """(N, H, W, 3) uint8 -> what `_decide` makes of their logits."""
        height, width = pixels.shape[1:3]
        prepared = preprocess(pixels, self.net.preprocess, self.working_size(height, width), self.dtype)
        encoded = self._folded.encode(prepared)
        decided = []
        starts = [i for i, reset in enumerate(resets) if reset or i == 0]
        for start, end in zip(starts, [*starts[1:], len(resets)], strict=True):
            if resets[start]:
                self.memory.clear()
            done = start
            for past in self.memory.follow(encoded.key[start:end], encoded.value[start:end]):
                group = Encoded(*(part[done : done + past.frames] for part in encoded))
                decided.append(self._read(group, past, prepared.shape[-2:], (height, width)))
                done += past.frames
        return {name: torch.cat([part[name] for part in decided]) for name in decided[0]}

    def _read(self, group: Encoded, past: Past, working: Sequence[int], size: tuple[int, int]) -> "Decided":
        """What is decided of encoded frames, in the light of their past, at their own size."""
        rows, columns = (-(-side // self.net.logit_stride) for side in working)
        return self._decide(self._folded.decode(group, past.keys, past.values)[..., :rows, :columns], *size)


Decided = dict[str, Tensor]
"""LABELS (N, H, W) uint8; if wanted, CONFIDENCE (N, H, W) float32 in them, and ALONE, labels of frames without past."""
LABELS, CONFIDENCE, ALONE = "labels", "confidence", "alone"


class Pending:
    """Labels that a GPU may still be working on."""

    def __init__(self, decided: Decided) -> None:
        self._decided = decided
        self._ready: torch.cuda.Event | None = None
        if decided[LABELS].device.type == "cuda":
            self._decided = {name: _to_pinned(part) for name, part in decided.items()}
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record()

    def ready(self) -> bool:
        """Whether `result` would not wait."""
        return self._ready is None or bool(self._ready.query())  # type: ignore[no-untyped-call]

    def result(self) -> np.ndarray:
        """Class ids (N, H, W) uint8, when they are there."""
        return self._part(LABELS)

    def confidence(self) -> np.ndarray | None:
        """Probabilities (N, H, W) float32 of these classes, if the segmenter tells them."""
        return self._part(CONFIDENCE)

    def alone(self) -> np.ndarray | None:
        """Class ids (N, H, W) uint8 of each frame without its past, if the segmenter tells them."""
        return self._part(ALONE)

    def _part(self, name: str) -> Any:
        if self._ready:
            self._ready.synchronize()
        return self._decided[name].cpu().numpy() if name in self._decided else None


def _to_pinned(tensor: Tensor) -> Tensor:
    """A copy under way to main memory."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


class _Graph:
    """One batch's work, recorded with the memory's addresses in it and replayed by a single launch: CUDA only.

    Args:
        pixels: (N, H, W, 3) uint8 on the device; later batches are copied into it.
        label: the work; run before on such a batch, so that all tuning is done.
    """

    def __init__(self, pixels: Tensor, label: Callable[[Tensor, Sequence[bool]], Decided]) -> None:
        self._pixels = pixels
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._decided = label(pixels, [False] * len(pixels))

    @staticmethod
    def worthwhile(
        pixels: Tensor, memory: FeatureMemory, resets: Sequence[bool], batch: int, device: torch.device
    ) -> bool:
        """Whether the next batches will be like this one: full, with a full memory that ends where it will end."""
        return device.type == "cuda" and len(pixels) == batch and memory.settled and not any(resets)

    def fits(self, pixels: Tensor, memory: FeatureMemory, resets: Sequence[bool]) -> bool:
        """Whether a batch is like the recorded one."""
        return pixels.shape == self._pixels.shape and memory.settled and not any(resets)

    def replay(self, pixels: Tensor) -> Decided:
        """What the work makes of a batch, overwritten by the next replay."""
        self._pixels.copy_(pixels, non_blocking=True)
        self._graph.replay()
        return self._decided


def _stack(frames: Sequence[np.ndarray], *, pinned: bool) -> Tensor:
    """(N, H, W, 3) uint8 in main memory, from where a GPU can fetch it by itself if pinned."""
    if len(frames) == 1 and not pinned:
        return torch.from_numpy(np.require(frames[0], requirements=("C", "W"))).unsqueeze(0)
    stacked = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=pinned)
    np.stack(frames, out=stacked.numpy())
    return stacked


def fastest_dtype(weight: Tensor) -> torch.dtype:
    """bfloat16 where the device of a network's float32 weights has instructions for it, else that of the weights."""
    if weight.dtype != torch.float32:
        return weight.dtype
    if weight.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # torch says this of CPUs under private names only; without them float32 is right everywhere.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = weight.device.type == "cpu" and any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return torch.bfloat16 if fast else torch.float32


def preprocess(pixels: Tensor, settings: Preprocess, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, *size), resized with antialiasing and normalised, channels last."""
    image = pixels.permute(0, 3, 1, 2)  # a view: channels last in memory
    if image.shape[-2:] != size:
        if image.device.type != "cpu":
            image = image.float()  # only CPUs resize bytes
        image = F.interpolate(image, size, mode=settings.resample, align_corners=False, antialias=True).clamp(0, 255)
    mean, std = (_per_channel(v, dtype, image.device) for v in (settings.mean, settings.std))
    return (image.to(dtype) * settings.scale - mean) / std


@cache
def _per_channel(values: tuple[float, float, float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 3, 1, 1), made once: a CUDA graph cannot record a transfer from ordinary memory."""
    return torch.tensor(values, dtype=dtype, device=device).view(1, 3, 1, 1)


def labels_at(logits: Tensor, height: int, width: int) -> Tensor:
    """(B, classes, h, w) logits -> (B, height, width) uint8 class ids: interpolated first, then decided."""
    if upsample.fits(logits):
        return upsample.upsample_argmax(logits, height, width)
    if logits.shape[-2:] != (height, width):
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return logits.argmax(1).to(torch.uint8)


def labels_and_confidence_at(logits: Tensor, height: int, width: int) -> Decided:
    """As `labels_at`, with the (B, height, width) float32 probabilities of the classes decided for."""
    if logits.shape[-2:] != (height, width):
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    confidence, labels = logits.float().softmax(1).max(1)
    return {LABELS: labels.to(torch.uint8), CONFIDENCE: confidence}


def _labels_alone_at(logits: Tensor, height: int, width: int) -> Decided:
    return {LABELS: labels_at(logits, height, width)}


class CutDetector:
    """Tells whether a frame opens a new shot, from that frame and the one before it alone."""

    GRID = 24  # thumbnail side: coarse enough that driving hardly changes it
    THRESHOLD = 0.2  # measured: neighbouring frames of driving stay under 0.1, of a fire under 0.16; cuts are over 0.25

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """True when (H, W, 3) uint8 RGB shows another scene than the frame before it; False for the first frame."""
        thumbnail = _thumbnail(frame, self.GRID)
        current = thumbnail, _histogram(thumbnail)
        last, self._last = self._last, current
        return last is not None and self.distance(last, current) > self.THRESHOLD

    @staticmethod
    def distance(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
        """0 (the same) .. 1: the geometric mean of how far layout and colours of two thumbnails differ."""
        layout = np.abs(a[0] - b[0]).mean() / 128
        colours = np.abs(a[1] - b[1]).sum() / 2
        return float(np.sqrt(layout * colours))


def _thumbnail(frame: np.ndarray, grid: int) -> np.ndarray:
    """(grid, grid, 3) float32 means over blocks, sampled sparsely so that large frames cost no more than small ones."""
    rows = np.linspace(0, frame.shape[0] - 1, grid * 4).astype(int)
    columns = np.linspace(0, frame.shape[1] - 1, grid * 4).astype(int)
    samples = frame[rows][:, columns].astype(np.float32)
    return samples.reshape(grid, 4, grid, 4, 3).mean((1, 3))


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    """Share of cells per colour, 4 levels a channel: (64,) float32 summing to 1."""
    levels = (thumbnail / 64).astype(int).clip(0, 3)
    codes = levels[..., 0] * 16 + levels[..., 1] * 4 + levels[..., 2]
    return np.bincount(codes.ravel(), minlength=64).astype(np.float32) / codes.size
