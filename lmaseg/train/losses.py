"""Losses of logits against label maps, and the auxiliary head."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.datasets.augment import IGNORED

HARDEST = 1 / 16  # share of the pixels that OHEM keeps however easy they are
LOVASZ_STEP = 3  # pixels, rows and columns: sorting all of them would take longer than the network on a CPU


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


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """The Lovasz extension of 1 - IoU, averaged over the classes that the labels hold.

    Berman, Triki, Blaschko, "The Lovasz-Softmax loss", CVPR 2018, over the whole batch at once. One pixel in
    LOVASZ_STEP in each direction counts, or every logit where there are fewer of them.

    Args:
        logits: (B, classes, H, W).
        labels: (B, h, w) int64 class ids, `IGNORED` where there is none; h and w multiples of H and W.

    Returns:
        A scalar in [0, 1], 0 if nothing is labelled.
    """
    classes = logits.shape[1]
    step = max(1, LOVASZ_STEP * logits.shape[-1] // labels.shape[-1])
    labels = _at_resolution(labels, logits.shape[-1])[:, ::step, ::step].flatten()
    logits = logits[:, :, ::step, ::step].float()
    probabilities = logits.softmax(1).transpose(0, 1).flatten(1)  # (classes, P)
    truth = F.one_hot(labels.clamp(max=classes - 1), classes).T.float() * (labels != IGNORED)
    errors, order = ((truth - probabilities).abs() * (labels != IGNORED)).sort(dim=1, descending=True)
    losses = (errors * _jaccard_steps(truth.gather(1, order))).sum(1)
    present = truth.any(1)
    return (losses * present).sum() / present.sum().clamp(min=1)


def unsteadiness(last: Tensor, before: Tensor, labels: Tensor, forth: Tensor) -> Tensor:
    """By how much two frames of a clip differ in what they say of the same places.

    The squared distance of the class probabilities, averaged over the labelled places that both frames show. Only the
    frame that gives the true class less learns from it: were both drawn to each other, what is thin and flickers most
    would be steadied by never being seen at all.

    Args:
        last, before: (B, classes, H, W) logits of the last frame and of the one before, at the labels' size or coarser.
        labels: (B, h, w) int64 class ids of the frame before, `IGNORED` where the last one does not show the place.
        forth: (B, h, w, 2) as in `lmaseg.datasets.augment.Views`.

    Returns:
        A scalar in [0, 2], 0 if nothing is labelled.
    """
    one = F.grid_sample(last.float().softmax(1), forth, padding_mode="border", align_corners=False)
    if before.shape[-2:] != labels.shape[-2:]:
        before = F.interpolate(before, labels.shape[-2:], mode="bilinear", align_corners=False)
    other = before.float().softmax(1)
    truth = labels.clamp(max=one.shape[1] - 1)[:, None]
    first_is_better = one.gather(1, truth) > other.gather(1, truth)  # (B, 1, h, w)
    better, worse = torch.where(first_is_better, one, other), torch.where(first_is_better, other, one)
    distances = (worse - better.detach()).square().sum(1)  # (B, h, w)
    counted = labels != IGNORED
    return (distances * counted).sum() / counted.sum().clamp(min=1)


def _jaccard_steps(truth: Tensor) -> Tensor:
    """By how much 1 - IoU grows as each pixel, the worst first, is got wrong: (classes, P) of 0 and 1 -> float32."""
    total = truth.sum(1, keepdim=True)
    correct = total - truth.cumsum(1)
    union = total + (1 - truth).cumsum(1)
    loss = 1 - correct / union.clamp(min=1)
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(loss[:, :1]))


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


def total_loss(
    outputs: list[Tensor], labels: Tensor, weights: Tensor, shares: list[float], *, ohem: float, lovasz: float
) -> Tensor:
    """The loss of several outputs, each multiplied by its share, and `lovasz` times the first one's Lovasz loss."""
    total = lovasz * lovasz_softmax(outputs[0], labels) if lovasz else torch.zeros((), device=labels.device)
    for logits, share in zip(outputs, shares, strict=True):
        total = total + share * segmentation_loss(logits, labels, weights, ohem)
    return total
