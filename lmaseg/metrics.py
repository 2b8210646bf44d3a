"""Scores of label maps: confusion counts and what follows from them, and how steady the labels are in time.

Nothing here reads files or knows a network. Label maps are integer arrays of class ids; counts are int64, so that sums
over frames and machines are exact.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LabelMap = NDArray[np.integer]
Counts = NDArray[np.int64]

VSPW_WINDOWS = (8, 16)


def confusion_counts(truth: LabelMap, predicted: LabelMap, classes: int, ignore_index: int) -> Counts:
    """Counts pixels by their true class (row) and their predicted class (column), as (classes, classes) int64.

    Both maps have the same shape and hold ids 0 to classes - 1; where the truth is `ignore_index`, the pixel does not
    count, whatever was predicted. Raises ValueError for maps of different shapes and for any other id.

    >>> truth, predicted = np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 1]])
    >>> counts = confusion_counts(truth, predicted, classes=2, ignore_index=255)
    >>> counts.tolist()
    [[1, 1], [0, 1]]
    >>> mean_iou(iou_per_class(counts))
    0.5
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the truth has shape {truth.shape}, the prediction {predicted.shape}: they must be equal")
    counted = truth != ignore_index
    rows = truth[counted].astype(np.int64)
    columns = predicted[counted].astype(np.int64)
    _check_ids(rows, classes, "true")
    _check_ids(columns, classes, "predicted")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def _check_ids(ids: NDArray[np.int64], classes: int, kind: str) -> None:
    if ids.size and not 0 <= (low := int(ids.min())) <= (high := int(ids.max())) < classes:
        wrong = low if low < 0 else high
        raise ValueError(f"{kind} class id {wrong} is outside 0 to {classes - 1}")


def iou_per_class(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union of each class, (classes,) in [0, 1]; NaN for a class absent from truth and prediction."""
    hits = np.diag(counts)
    return _ratios(hits, counts.sum(axis=0) + counts.sum(axis=1) - hits)


def _ratios(part: Counts, whole: Counts) -> NDArray[np.float64]:
    ratios = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios


def mean_iou(ious: Iterable[float]) -> float:
    """The mean of those scores that are not NaN, as the Cityscapes script averages; NaN if none is left."""
    valid = [float(iou) for iou in ious if not math.isnan(iou)]
    return sum(valid) / len(valid) if valid else math.nan


def pixel_accuracy(counts: Counts) -> float:
    """The share of counted pixels that are predicted right, in [0, 1]; NaN without pixels."""
    return _share(int(np.trace(counts)), int(counts.sum()))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _area(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def iou_per_category(counts: Counts, categories: Sequence[str | None]) -> dict[str, float]:
    """Intersection over union of groups of classes, in the order in which `categories` (one per class) names them.

    A pixel predicted as another class of its own category is right. Pixels of classes without a category (None) count
    for none, not even as false alarms, as the ignored labels of the Cityscapes script
    (cityscapesscripts/evaluation/evalPixelLevelSemanticLabeling.py, getIouScoreForCategory).
    """
    scored = np.array([category is not None for category in categories])
    scores = {}
    for category in dict.fromkeys(c for c in categories if c is not None):
        members = np.array([c == category for c in categories])
        hits = int(counts[np.ix_(members, members)].sum())
        misses = int(counts[members].sum()) - hits
        false_alarms = int(counts[np.ix_(scored & ~members, members)].sum())
        scores[category] = _share(hits, hits + misses + false_alarms)
    return scores


@dataclass
class Tally:
    """Parts of wholes that add up: shares of windows, or changed pixels of steady ones."""

    part: float = 0.0
    whole: int = 0

    @property
    def share(self) -> float:
        """In [0, 1]; NaN while there is nothing to judge."""
        return self.part / self.whole if self.whole else math.nan

    def add(self, part: float, whole: int = 1) -> None:
        """Adds a part of a whole; NaN (a window without a pixel to judge) is left out, as `nanmean` does."""
        if not math.isnan(part):
            self.part += part
            self.whole += whole


class TemporalConsistency:
    """Video consistency of one video over windows of labelled frames, fed frame by frame; keeps five maps, no frames.

    `plain[n]` is mVC_n as the VSPW script computes it (github.com/sssdddwww2/CVPR2021_VSPW_Implement, VC_perclip.py):
    for each window of n labelled frames at stride 1, among the pixels whose ground truth is the same in all n frames,
    the share whose prediction is the same in all n frames, whether right or wrong; then the mean over the windows of
    all videos. Like the script it treats the unlabelled id as any other, skips windows without a constant pixel, and
    leaves out the last window of every video (the script's loop ends one early), so a video needs n + 1 frames.

    `strict[n]` takes the same windows; it looks only at labelled pixels of constant ground truth and asks that the
    prediction equal that ground truth in every frame.

    `flicker` is the share of pixels whose predicted class changes between consecutive labelled frames where the label
    does not. It pools the pixels of all frame pairs; one that is unlabelled has no label that could stay and does not
    count.
    """

    def __init__(self, windows: Iterable[int] = VSPW_WINDOWS, *, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.plain = {n: Tally() for n in windows}
        self.strict = {n: Tally() for n in self.plain}
        self.flicker = Tally()
        self._frames = 0
        self._pending: dict[int, tuple[float, float]] = {}

    @property
    def tallies(self) -> list[Tally]:
        """All of them: the plain and the strict one of each window, then the flicker."""
        return [*(tallies[n] for n in self.plain for tallies in (self.plain, self.strict)), self.flicker]

    def update(self, truth: LabelMap, predicted: LabelMap) -> None:
        """Takes in the next labelled frame of the video: two (H, W) maps of class ids, not copied."""
        for n, (plain, strict) in self._pending.items():
            self.plain[n].add(plain)
            self.strict[n].add(strict)
        self._extend_runs(truth, predicted)
        self._pending = {n: self._shares(truth, n) for n in self.plain if self._frames >= n}
        if self._frames > 1:
            steady = (self._truth_run > 1) & (truth != self.ignore_index)
            self.flicker.add(_area(steady & (self._predicted_run == 1)), _area(steady))

    def _extend_runs(self, truth: LabelMap, predicted: LabelMap) -> None:
        """Keeps, per pixel, for how many frames the truth, the prediction and its being right have lasted."""
        if self._frames == 0:
            self._last = truth, predicted
            self._truth_run, self._predicted_run, self._right_run = np.zeros((3, *truth.shape), np.int32)
        self._truth_run[...] = np.where(truth == self._last[0], self._truth_run + 1, 1)
        self._predicted_run[...] = np.where(predicted == self._last[1], self._predicted_run + 1, 1)
        self._right_run[...] = np.where(predicted == truth, self._right_run + 1, 0)
        self._last = truth, predicted
        self._frames += 1

    def _shares(self, truth: LabelMap, n: int) -> tuple[float, float]:
        constant = self._truth_run >= n
        labelled = constant & (truth != self.ignore_index)
        steady = constant & (self._predicted_run >= n)
        right = labelled & (self._right_run >= n)
        return _share(_area(steady), _area(constant)), _share(_area(right), _area(labelled))
