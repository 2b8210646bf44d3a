"""Streaming: one frame in, one label map out, with constant memory."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.kernels import upsample
from lmaseg.models import FeatureMemory, LocalMemoryNet, Preprocess, fold

SMALLEST = 32  # pixels: below four cells a side the encoder's dilations see nothing but padding
LONGEST = 8192  # pixels: keeps the working size of a very narrow source bounded


class Segmenter:
    """Labels the frames of one video, in order; owns the memory of past features.

    Args:
        net: a network in evaluation mode, on its device.
        size: working height, or (height, width), in pixels; rounded to the network's stride. None scales the
            source's shorter side to the height the weights were trained at. The aspect ratio is kept unless both
            are given.
        memory: past frames to attend to; None takes what the weights were made for, 0 segments every frame alone.
        dtype: floating point type of the network's computation; None takes bfloat16 on a CPU with instructions for
            it, else that of the weights.

    Raises:
        ValueError: a size under 32 or over 8192 pixels, or a negative memory.
    """

    def __init__(
        self,
        net: LocalMemoryNet,
        size: int | tuple[int, int] | None = None,
        memory: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for side in (size,) if isinstance(size, int) else size or ():
            if not SMALLEST <= side <= LONGEST:
                raise ValueError(f"a working size of {side} pixels is not between {SMALLEST} and {LONGEST}")
        weight = next(net.parameters())
        self.device = weight.device
        self.dtype = dtype or fastest_dtype(weight)
        self.net = net
        self._folded = fold(net).to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.memory = FeatureMemory(net.spec.memory_frames if memory is None else memory)
        self._size = size

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) a source of that size is segmented at."""
        stride = self.net.stride
        if isinstance(self._size, tuple):
            wanted: tuple[float, float] = self._size
        else:
            scale = self._size / height if self._size else self.net.preprocess.size[0] / min(height, width)
            wanted = (height * scale, width * scale)
        rounded = [max(stride, round(min(side, LONGEST) / stride) * stride) for side in wanted]
        return rounded[0], rounded[1]

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Class ids (H, W) uint8 of a frame (H, W, 3) uint8 RGB."""
        height, width = frame.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device, non_blocking=True)
        prepared = preprocess(pixels, self.net.preprocess, self.working_size(height, width), self.dtype)
        logits, key, value = self._folded(prepared, *self.memory.read())
        self.memory.push(key, value)
        return labels_at(logits, height, width)[0].cpu().numpy()

    def reset(self) -> None:
        """Forget the past: the next frame opens a new shot."""
        self.memory.clear()


def fastest_dtype(weight: Tensor) -> torch.dtype:
    """The type to compute in where a network's weights lie: measured on CPUs, as the weights are elsewhere."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return weight.dtype
    # torch says this of CPUs under private names only; without them float32 is right everywhere.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return torch.bfloat16 if fast else torch.float32


def preprocess(pixels: Tensor, settings: Preprocess, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """(H, W, 3) uint8 RGB -> (1, 3, *size), resized bilinearly with antialiasing and normalised, channels last."""
    image = pixels.permute(2, 0, 1).unsqueeze(0)  # a view: channels last in memory
    if image.shape[-2:] != size:
        image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
    mean, std = (image.new_tensor(v, dtype=dtype).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
    return (image.to(dtype) * settings.scale - mean) / std


def labels_at(logits: Tensor, height: int, width: int) -> Tensor:
    """(B, classes, h, w) logits -> (B, height, width) uint8 class ids: interpolated first, then decided."""
    if upsample.fits(logits):
        return upsample.upsample_argmax(logits, height, width)
    if logits.shape[-2:] != (height, width):
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return logits.argmax(1).to(torch.uint8)


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
