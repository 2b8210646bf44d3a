"""Losses of logits against label maps, and the auxiliary head."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.datasets.augment import IGNORED

HARDEST = 1 / 16  # share of the pixels that OHEM keeps however easy they are


def class_weights(frequencies: Tensor) -> Tensor:
    """(classes,) shares of the labelled pixels -> weights 1 / ln(1.10 + share), whose mean over pixels is 1.

    ENet (Paszke et al. 2016) with the constant of the authors of LMANet.
    """
    weights = 1 / torch.log(1.10 + frequencies)
    return weights / (weights * frequencies).sum()


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor, ohem: float = 0.0) -> Tensor:
    """Mean cross entropy over labelled pixels, weighted by class.

    Args:
        logits: (B, classes, H, W); logits of a lower resolution are compared with every n-th label.
        labels: (B, h, w) int64 class ids, `IGNORED` where there is none; h and w multiples of H and W.
        weights: (classes,) float32.
        ohem: count only pixels whose true class gets less than this probability, and at least the hardest
            16th of all pixels (online hard example mining, Shrivastava et al. 2016); 0 counts all.
    """
    labels = _at_resolution(labels, logits.shape[-1])
    losses = F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=IGNORED)  # (B, H, W)
    counted = weights[labels.clamp(max=len(weights) - 1)] * (labels != IGNORED)
    if ohem:
        counted = counted * (losses.detach() >= _hard_from(losses.detach(), ohem))
    return (losses * counted).sum() / counted.sum().clamp(min=1e-6)


def _at_resolution(labels: Tensor, width: int) -> Tensor:
    step = labels.shape[-1] // width
    return labels[:, step // 2 :: step, step // 2 :: step]


def _hard_from(losses: Tensor, probability: float) -> Tensor:
    """The loss from which a pixel is hard, as a tensor: nothing here makes a GPU wait."""
    hardest = losses.flatten().topk(max(1, int(losses.numel() * HARDEST))).values[-1]
    return hardest.clamp(max=-math.log(probability))


class AuxiliaryHead(nn.Module):
    """Logits straight from the encoder's features, at their resolution; teaches the encoder and is not kept."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels // 2)
        self.output = nn.Conv2d(channels // 2, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.output(F.relu(self.bn(self.conv(features))))


def total_loss(outputs: list[Tensor], labels: Tensor, weights: Tensor, shares: list[float], ohem: float) -> Tensor:
    """The loss of several outputs, each multiplied by its share."""
    total = torch.zeros((), device=labels.device)
    for logits, share in zip(outputs, shares, strict=True):
        total = total + share * segmentation_loss(logits, labels, weights, ohem)
    return total
