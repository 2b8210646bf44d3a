"""From logits to labels: interpolated to the size of the picture first, then decided."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.kernels import upsample

Decided = dict[str, Tensor]
"""LABELS (N, H, W) uint8; if wanted, CONFIDENCE (N, H, W) float32 in them, SMOOTH, labels with smooth edges, and ALONE,
labels of frames without past."""
LABELS, CONFIDENCE, SMOOTH, ALONE = "labels", "confidence", "smooth", "alone"
UNSURE = 255
"""The id in label maps of a pixel that is left unlabelled."""


def labels_at(logits: Tensor, height: int, width: int) -> Tensor:
    """(B, classes, h, w) logits -> (B, height, width) uint8 class ids: interpolated first, then decided."""
    if upsample.fits(logits):
        return upsample.upsample_argmax(logits, height, width)
    return _interpolated(logits, height, width).argmax(1).to(torch.uint8)


def _interpolated(logits: Tensor, height: int, width: int) -> Tensor:
    if logits.shape[-2:] == (height, width):
        return logits
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def decide(
    logits: Tensor, height: int, width: int, *, confidence: bool = False, min_confidence: float = 0.0
) -> Decided:
    """LABELS of (B, classes, h, w) logits, `UNSURE` below a probability, and if wanted CONFIDENCE."""
    if not (confidence or min_confidence):
        return {LABELS: labels_at(logits, height, width)}
    chances, labels = _interpolated(logits, height, width).float().softmax(1).max(1)
    decided = {LABELS: labels.to(torch.uint8).masked_fill(chances < min_confidence, UNSURE)}
    return {**decided, CONFIDENCE: chances} if confidence else decided


def smoothed(logits: Tensor) -> Tensor:
    """(B, classes, H, W) logits of every pixel -> the means of two by two, (B, classes, H/2, W/2), rounded up.

    A network that ends in a transposed convolution decides for neighbours by different weights, which combs the edges.
    The means do not have that pattern, and interpolate to smooth edges.
    """
    return F.avg_pool2d(logits, 2, ceil_mode=True)
