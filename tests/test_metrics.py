"""The scores, held against torchmetrics, cityscapesscripts, plain loops and hand-worked cases."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lmaseg.labels import CAMVID, CITYSCAPES, CITYSCAPES_CATEGORIES, CITYSCAPES_LABEL_IDS, categories
from lmaseg.metrics import (
    Tally,
    TemporalConsistency,
    confusion_counts,
    iou_per_category,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)

IGNORED = 255
Map = NDArray[np.uint8]


def random_maps(shape: tuple[int, ...], classes: int, seed: int = 0, ignored: float = 0.2) -> tuple[Map, Map]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape, dtype=np.uint8)
    predicted = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, classes, shape, dtype=np.uint8))
    truth[rng.random(shape) < ignored] = IGNORED
    return truth, predicted


class TestConfusionCounts:
    def test_counts_true_rows_and_predicted_columns(self) -> None:
        counts = confusion_counts(np.array([[0, 0, 1, 9]]), np.array([[0, 1, 1, 0]]), classes=2, ignore_index=9)
        assert counts.dtype == np.int64
        assert counts.tolist() == [[1, 1], [0, 1]]

    @pytest.mark.parametrize("classes", [2, 11, 19])
    @pytest.mark.slow
    def test_equals_torchmetrics(self, classes: int) -> None:
        torchmetrics = pytest.importorskip("torchmetrics.classification")
        truth, predicted = random_maps((3, 37, 53), classes, seed=classes)
        oracle = torchmetrics.MulticlassConfusionMatrix(classes, ignore_index=IGNORED)
        oracle.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
        assert np.array_equal(confusion_counts(truth, predicted, classes, IGNORED), oracle.compute().numpy())

    def test_parts_add_up_to_the_whole(self) -> None:
        truth, predicted = random_maps((40, 30), 5)
        parts = sum(confusion_counts(truth[i::4], predicted[i::4], 5, IGNORED) for i in range(4))
        assert np.array_equal(parts, confusion_counts(truth, predicted, 5, IGNORED))

    def test_nothing_labelled_counts_nothing(self) -> None:
        truth = np.full((4, 4), IGNORED, np.uint8)
        assert confusion_counts(truth, np.zeros_like(truth), 3, IGNORED).sum() == 0

    @pytest.mark.parametrize(
        ("truth", "predicted", "message"),
        [
            ([[3]], [[0]], "true class id 3 is outside 0 to 2"),
            ([[0]], [[7]], "predicted class id 7 is outside 0 to 2"),
            ([[-1]], [[0]], "true class id -1 is outside 0 to 2"),
            ([[0, 1]], [[0]], "the truth has shape (1, 2), the prediction (1, 1): they must be equal"),
        ],
    )
    def test_refuses_what_it_cannot_count(self, truth: list, predicted: list, message: str) -> None:
        with pytest.raises(ValueError, match=r".") as error:
            confusion_counts(np.array(truth), np.array(predicted), 3, IGNORED)
        assert str(error.value) == message

    def test_a_prediction_on_an_ignored_pixel_may_be_anything(self) -> None:
        assert confusion_counts(np.array([IGNORED, 1]), np.array([IGNORED, 1]), 2, IGNORED).sum() == 1


class TestScores:
    def test_iou_by_hand(self) -> None:
        counts = np.array([[3, 1, 0], [1, 4, 0], [0, 0, 0]])
        ious = iou_per_class(counts)
        assert ious[:2] == pytest.approx([3 / 5, 4 / 6])
        assert math.isnan(ious[2])
        assert mean_iou(ious) == pytest.approx((3 / 5 + 4 / 6) / 2)
        assert pixel_accuracy(counts) == pytest.approx(7 / 9)

    def test_a_class_only_predicted_scores_zero(self) -> None:
        assert iou_per_class(np.array([[2, 1], [0, 0]]))[1] == 0

    def test_without_pixels_there_is_no_score(self) -> None:
        nothing = np.zeros((3, 3), np.int64)
        assert np.isnan(iou_per_class(nothing)).all()
        assert math.isnan(mean_iou(iou_per_class(nothing)))
        assert math.isnan(pixel_accuracy(nothing))

    def test_counts_beyond_32_bits_stay_exact(self) -> None:
        counts = np.array([[2**53 + 1, 1], [0, 2**40]], np.int64)
        assert pixel_accuracy(counts + counts) < 1
        assert iou_per_class(counts)[1] == 2**40 / (2**40 + 1)

    @settings(max_examples=25, deadline=None)
    @given(arrays.arrays(np.int64, (19, 19), elements=st.integers(0, 10**9), fill=st.just(0)))
    @pytest.mark.slow
    def test_categories_equal_cityscapesscripts(self, counts: NDArray[np.int64]) -> None:
        check_against_cityscapesscripts(counts)

    def test_a_class_of_the_same_category_is_right(self) -> None:
        counts = np.array([[1, 2, 0], [0, 1, 1], [1, 0, 5]])
        assert iou_per_category(counts, ("flat", "flat", "sky")) == {"flat": 4 / 6, "sky": 5 / 7}

    def test_classes_without_category_are_no_false_alarms(self) -> None:
        counts = np.array([[4, 0, 1], [0, 3, 0], [9, 9, 9]])
        assert iou_per_category(counts, ("flat", "sky", None)) == {"flat": 4 / 5, "sky": 1.0}

    @pytest.mark.slow
    def test_label_sets_have_the_official_categories(self) -> None:
        names = pytest.importorskip("cityscapesscripts.helpers.labels").trainId2label
        assert tuple(names[i].id for i in range(19)) == CITYSCAPES_LABEL_IDS
        assert tuple(names[i].category for i in range(19)) == CITYSCAPES_CATEGORIES
        assert CITYSCAPES.names == tuple(names[i].name for i in range(19))
        assert categories(CAMVID)[:3] == ("sky", "construction", "object")


def check_against_cityscapesscripts(counts: NDArray[np.int64]) -> None:
    """Spreads train id counts over the official matrix of labelIds, whose ignored rows and columns stay noise."""
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    args = official.args
    matrix = official.generateMatrix(args)
    ids = list(CITYSCAPES_LABEL_IDS)
    for ignored in set(range(34)) - set(ids):
        matrix[ignored, ids] = 17 + ignored
    matrix[np.ix_(ids, ids)] = counts
    classes = [official.getIouScoreForLabel(i, matrix, args) for i in ids]
    assert iou_per_class(counts) == pytest.approx(classes, abs=1e-12, nan_ok=True)
    assert mean_iou(iou_per_class(counts)) == pytest.approx(
        official.getScoreAverage(dict(enumerate(classes)), args), abs=1e-12, nan_ok=True
    )
    for category, iou in iou_per_category(counts, CITYSCAPES_CATEGORIES).items():
        assert iou == pytest.approx(official.getIouScoreForCategory(category, matrix, args), abs=1e-12, nan_ok=True)


def video(frames: int, seed: int, classes: int = 3) -> list[tuple[Map, Map]]:
    """Random maps that change rarely, so that some pixels stay the same over a window."""
    rng = np.random.default_rng(seed)

    def changing(rate: float, shape: tuple[int, int] = (9, 11)) -> Iterator[Map]:
        current = rng.integers(0, classes, shape, dtype=np.uint8)
        for _ in range(frames):
            current = np.where(rng.random(shape) < rate, rng.integers(0, classes, shape, dtype=np.uint8), current)
            yield current

    return [(t, np.where(rng.random(t.shape) < 0.9, t, p)) for t, p in zip(changing(0.05), changing(0.1), strict=True)]


def windows_of_the_script(clip: list[tuple[Map, Map]], n: int, ignored: int) -> tuple[list[float], list[float]]:
    """Both consistencies of every window from their definitions, all frames at once, less the last window."""
    plain, strict = [], []
    for start in range(len(clip) - n):
        truth, predicted = np.stack(clip[start : start + n], axis=1)
        constant = (truth == truth[0]).all(axis=0)
        steady = (predicted == predicted[0]).all(axis=0)
        labelled = constant & (truth[0] != ignored)
        plain.append((constant & steady).sum() / constant.sum() if constant.any() else math.nan)
        strict.append(
            (labelled & (truth == predicted).all(axis=0)).sum() / labelled.sum() if labelled.any() else math.nan
        )
    return plain, strict


def mvc_n(clips: list[list[tuple[Map, Map]]], n: int, *, ignore_index: int) -> tuple[float, float]:
    """mVC_n of whole videos of (truth, predicted) maps: as the VSPW script has it, and strict."""
    plain, strict = Tally(), Tally()
    for clip in clips:
        consistency = TemporalConsistency((n,), ignore_index=ignore_index)
        for truth, predicted in clip:
            consistency.update(truth, predicted)
        plain.add(consistency.plain[n].part, consistency.plain[n].whole)
        strict.add(consistency.strict[n].part, consistency.strict[n].whole)
    return plain.share, strict.share


class TestTemporalConsistency:
    @pytest.mark.parametrize("n", [2, 5, 8])
    @pytest.mark.parametrize("ignored", [2, IGNORED])
    def test_equals_its_definition_over_several_videos(self, n: int, ignored: int) -> None:
        clips = [video(frames, seed=frames) for frames in (n, n + 1, 14)]
        windows = [windows_of_the_script(clip, n, ignored) for clip in clips]
        expected = [np.nanmean(np.concatenate([w[kind] for w in windows])) for kind in (0, 1)]
        assert mvc_n(clips, n, ignore_index=ignored) == pytest.approx(expected, abs=1e-12)

    def test_several_windows_in_one_pass(self) -> None:
        clip = video(20, seed=3)
        both = TemporalConsistency((4, 9), ignore_index=IGNORED)
        for truth, predicted in clip:
            both.update(truth, predicted)
        for n in (4, 9):
            assert (both.plain[n].share, both.strict[n].share) == mvc_n([clip], n, ignore_index=IGNORED)

    def test_steadily_wrong_is_consistent_but_not_strictly(self) -> None:
        zeros = np.zeros((4, 4), np.uint8)
        assert mvc_n([[(zeros, zeros + 1)] * 9], 8, ignore_index=IGNORED) == (1.0, 0.0)

    def test_the_window_that_ends_with_the_video_is_left_out_as_in_the_script(self) -> None:
        zeros = np.zeros((4, 4), np.uint8)
        assert mvc_n([[(zeros, zeros)] * 8 + [(zeros, zeros + 1)]], 8, ignore_index=IGNORED) == (1.0, 1.0)
        assert all(math.isnan(share) for share in mvc_n([[(zeros, zeros)] * 8], 8, ignore_index=IGNORED))

    def test_the_script_counts_unlabelled_pixels_and_the_strict_variant_does_not(self) -> None:
        truth = np.array([[0, IGNORED]], np.uint8)
        frames = [(truth, np.array([[0, t % 2]], np.uint8)) for t in range(5)]
        assert mvc_n([frames], 4, ignore_index=IGNORED) == (0.5, 1.0)

    def test_a_window_without_a_constant_pixel_is_skipped(self) -> None:
        changing = [(np.full((2, 2), t % 2, np.uint8), np.zeros((2, 2), np.uint8)) for t in range(3)]
        still = [(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8))] * 4
        assert mvc_n([changing, still], 2, ignore_index=IGNORED) == (1.0, 1.0)


class TestFlicker:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 2)), min_size=1, max_size=5))
    def test_equals_its_definition(self, frames: list[Map]) -> None:
        consistency = TemporalConsistency(ignore_index=2)
        for truth, predicted in frames:
            consistency.update(truth, predicted)
        truth, predicted = np.stack(frames, axis=1)
        steady = (truth[1:] == truth[:-1]) & (truth[1:] != 2)
        changed = steady & (predicted[1:] != predicted[:-1])
        assert (consistency.flicker.part, consistency.flicker.whole) == (changed.sum(), steady.sum())

    def test_without_a_pair_of_frames_there_is_none(self) -> None:
        consistency = TemporalConsistency(ignore_index=IGNORED)
        consistency.update(np.zeros((2, 2)), np.zeros((2, 2)))
        assert math.isnan(consistency.flicker.share)
