"""Calibration: how large the activations of a network become, so that it can be computed in 8 bits."""

from collections.abc import Sequence

import numpy as np
import torch

from lmaseg.models import BACKBONES, FeatureMemory, LocalMemoryNet, observed
from lmaseg.stream import Segmenter, preprocess, working_size


@torch.inference_mode()
def calibrate(net: LocalMemoryNet, frames: Sequence[np.ndarray], size: int | tuple[int, int] | None = None) -> None:
    """Give a network the ranges of its activations on some frames, (H, W, 3) uint8 RGB: a dozen of what it will see.

    Args:
        net: one of lmaseg's own, in evaluation mode, on a CPU; its `ranges` are set.
        size: as in `Segmenter`.

    Raises:
        ValueError: no frames, another network than lmaseg's own, or one on another device.
    """
    if not frames:
        raise ValueError("there are no frames to calibrate on: give some")
    if net.spec.backbone not in BACKBONES or next(net.parameters()).device.type != "cpu":
        raise ValueError(f"only networks of lmaseg's own ({', '.join(BACKBONES)}) are calibrated, on a CPU")
    ranges: dict[str, tuple[float, float]] = {}
    network, memory = observed(net, ranges), FeatureMemory(net.spec.memory_frames)
    for frame in frames:
        height, width, _ = frame.shape
        pixels = torch.from_numpy(np.array(frame[None]))
        chosen = working_size(net, height, width, size)
        encoded = network.encode(preprocess(pixels, net.preprocess, chosen, torch.float32))
        network.decode(encoded, *memory.read())
        memory.push(encoded.key, encoded.value)
    net.ranges = ranges


def int8_agreement(
    net: LocalMemoryNet, frames: Sequence[np.ndarray], size: int | tuple[int, int] | None = None
) -> float | None:
    """The share of pixels whose int8 label is that of float32, from 0 to 1; None where torch cannot compute in int8.

    `net` was calibrated, `frames` and `size` are as there; each frame is labelled alone.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    exact, quantized = (Segmenter(net, size, memory=0, dtype=dtype) for dtype in (torch.float32, torch.int8))
    return float(np.mean([np.mean(exact(frame) == quantized(frame)) for frame in frames]))
