"""The sums of an evaluation, and its scores."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmaseg.errors import DatasetError
from lmaseg.labels import NO_CLASS, LabelSet, categories, counterparts
from lmaseg.metrics import (
    VSPW_WINDOWS,
    Counts,
    Tally,
    TemporalConsistency,
    confusion_counts,
    iou_per_category,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)
from lmaseg.pictures import Picture

TEMPORAL = (*(f"mvc{n}{kind}" for n in VSPW_WINDOWS for kind in ("", "Strict")), "flicker")


@dataclass(frozen=True)
class Evaluation:
    """The scores of an evaluation, over all clips and all processes."""

    labels: LabelSet
    """The data set's classes, in which everything here is counted."""
    known: tuple[bool, ...]
    """Which of them the network can predict."""
    counts: Counts
    """(classes, classes + 1) pixels by true and predicted class; the last column predicts what the data set lacks."""
    temporal: Mapping[str, float]
    """Under the names in `TEMPORAL`, each in [0, 1], NaN where no clip has enough labelled frames."""
    frames: int
    """Labelled frames scored."""
    seconds: float
    """Reading and computing, in this process."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_ious(self) -> NDArray[np.float64]:
        """(classes,) IoU; NaN for a class that is absent or that the network does not know."""
        ious = iou_per_class(_square(self.counts))[:-1]
        ious[~np.array(self.known)] = np.nan
        return ious

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes that have one, in [0, 1]."""
        return mean_iou(self.class_ious)

    @property
    def classes_in_mean(self) -> int:
        """How many classes the mean IoU is over."""
        return int(np.count_nonzero(~np.isnan(self.class_ious)))

    @property
    def category_ious(self) -> dict[str, float]:
        """IoU by Cityscapes category, NaN for one of whose classes the network knows none."""
        groups = categories(self.labels)
        known = {group for group, is_known in zip(groups, self.known, strict=True) if is_known}
        ious = iou_per_category(_square(self.counts), (*groups, None))
        return {group: iou if group in known else math.nan for group, iou in ious.items()}

    @property
    def pixel_accuracy(self) -> float:
        """The share of the labelled pixels that are right, in [0, 1]."""
        return pixel_accuracy(_square(self.counts))

    @property
    def pixel_shares(self) -> NDArray[np.float64]:
        """(classes,) share of the labelled pixels that each class has in the truth."""
        return self.counts.sum(axis=1) / max(1, int(self.counts.sum()))


def _square(counts: Counts) -> Counts:
    return np.pad(counts, ((0, 1), (0, 0)))


def official_scores(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation under the key names of cityscapesscripts' result file, and what that has no names for.

    Scores are in [0, 1]; None stands for NaN, which JSON lacks. Made of plain numbers, strings, lists and dicts.
    """
    names = evaluation.labels.names
    scores = {
        "classScores": dict(zip(names, evaluation.class_ious.tolist(), strict=True)),
        "averageScoreClasses": evaluation.mean_iou,
        "categoryScores": evaluation.category_ious,
        "averageScoreCategories": mean_iou(evaluation.category_ious.values()),
        "pixelAccuracy": evaluation.pixel_accuracy,
        "pixelShares": dict(zip(names, evaluation.pixel_shares.tolist(), strict=True)),
        "temporal": dict(evaluation.temporal),
        "classesInMean": evaluation.classes_in_mean,
        "unknownClasses": [name for name, known in zip(names, evaluation.known, strict=True) if not known],
        "counts": evaluation.counts.tolist(),
        "frames": evaluation.frames,
        "seconds": evaluation.seconds,
        "settings": dict(evaluation.settings),
    }
    return {key: _without_nan(value) for key, value in scores.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def translate_classes(network: LabelSet, data: LabelSet) -> tuple[Picture, tuple[bool, ...]]:
    """From a network's class ids to a data set's.

    A class of the network becomes the one of the data set that has its name or covers its Cityscapes train id, so
    several may become one: the ids of finished label maps are merged, not the probabilities before them, since label
    maps are what a user of the network has.

    Returns a (256,) uint8 table, 255 for a class that the data set does not have, and for each class of the data set
    whether the network knows it. Raises DatasetError if it knows none.
    """
    table = np.full(256, NO_CLASS, np.uint8)
    table[: len(network)] = [NO_CLASS if i is None else i for i in counterparts(network, data)]
    known = tuple(bool((table == i).any()) for i in range(len(data)))
    if not any(known):
        none = f"{network.name} and {data.name} have no class in common"
        raise DatasetError(f"{none}: choose weights that know the classes of the data")
    return table, known


class Tallies:
    """Sums over clips, kept so that any number of processes arrives at the same ones to the last bit.

    The counts are integers; the temporal sums of each clip have a row of their own, added up in the order of clips.
    """

    def __init__(self, labels: LabelSet, clips: int) -> None:
        self.frames = 0
        self.counts = np.zeros((len(labels), len(labels) + 1), np.int64)
        self._labels = labels
        self._temporal = np.zeros((clips, len(TEMPORAL), 2))

    def begin(self, clip: int) -> None:
        """Starts with the clip of that number."""
        self._clip = clip
        self._shape: tuple[int, ...] | None = None
        self._consistency = TemporalConsistency(ignore_index=self._labels.ignore_index)

    def update(self, truth: Picture, predicted: Picture, name: str) -> None:
        """Takes in the next labelled frame of the clip; both maps (H, W) uint8 ids of the data set's classes.

        Raises DatasetError for a map of another size than those before it.
        """
        if self._shape not in (None, truth.shape):
            raise DatasetError(f"the label of {name} has another size than those before: put it in a clip of its own")
        self._shape = truth.shape
        self.frames += 1
        classes = len(self._labels)
        columns = np.where(predicted == NO_CLASS, np.uint8(classes), predicted)
        self.counts += confusion_counts(truth, columns, classes + 1, self._labels.ignore_index)[:-1]
        self._consistency.update(truth, predicted)
        self._temporal[self._clip] = [(tally.part, tally.whole) for tally in self._consistency.tallies]

    def reduce(self, add_up: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Replaces every sum by what `add_up` makes of it: the sum over the processes that share the clips."""
        self.counts = add_up(self.counts)
        self._temporal = add_up(self._temporal)
        self.frames = int(add_up(np.array([self.frames]))[0])

    def evaluation(self, known: tuple[bool, ...], seconds: float, settings: Mapping[str, Any]) -> Evaluation:
        """The scores that follow from the sums; DatasetError if no pixel is labelled."""
        if not self.counts.any():
            raise DatasetError(f"no pixel of the {self.frames} label maps is labelled: label some")
        parts, wholes = self._temporal.sum(axis=0).T.tolist()
        temporal = {name: Tally(*sums).share for name, *sums in zip(TEMPORAL, parts, wholes, strict=True)}
        return Evaluation(self._labels, known, self.counts, temporal, self.frames, seconds, settings)
