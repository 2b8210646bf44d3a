import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lmaseg import LabelSet, coco, sinks
from lmaseg.video import Frame

mask = pytest.importorskip("pycocotools.mask")


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 70)), elements=st.sampled_from([0, 1, 2, 255])))
def test_annotations_are_what_pycocotools_makes_of_the_masks(labels):
    found = list(coco.annotations(labels, 3, image_id=5))
    assert [annotation["category_id"] - 1 for annotation in found] == sorted(set(labels.ravel().tolist()) - {255})
    for annotation in found:
        truth = mask.encode(np.asfortranarray(labels == annotation["category_id"] - 1))
        assert annotation["segmentation"] == {"size": truth["size"], "counts": truth["counts"].decode()}
        assert annotation["area"] == mask.area(truth)
        assert annotation["bbox"] == mask.toBbox(truth).tolist()


def test_long_runs_are_packed_as_pycocotools_does():
    labels = np.zeros((1100, 2000), np.uint8)
    labels[3:1090, 100:1900] = 1
    labels[500, 700] = 2
    for annotation in coco.annotations(labels, 3, image_id=1):
        truth = mask.encode(np.asfortranarray(labels == annotation["category_id"] - 1))
        assert annotation["segmentation"]["counts"] == truth["counts"].decode()


def test_ids_of_annotations_are_unique_and_not_0():
    labels = np.arange(3, dtype=np.uint8)[None]
    ids = [annotation["id"] for image in (1, 2, 3) for annotation in coco.annotations(labels, 3, image)]
    assert ids == list(range(1, 10))


def frames(count):
    rng = np.random.default_rng(0)
    for i in range(count):
        labels = np.full((6, 8), 255, np.uint8) if i == 1 else rng.integers(0, 3, (6, 8), dtype=np.uint8)
        yield sinks.Labelled(Frame(np.zeros((6, 8, 3), np.uint8), i, Fraction(1, 10), f"{i:06d}"), labels)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_file_is_gone_on_with(tmp_path, keep):
    """After its first frame, after one without annotations, and after more."""
    label_set = LabelSet("three", ("a", "b", "c"), ((0, 0, 0),) * 3, (255,) * 3)
    with coco.CocoFile(tmp_path / "whole.json", label_set) as whole:
        for seen in frames(5):
            whole.write(seen)
    cut = coco.CocoFile(tmp_path / "cut.json", label_set)
    cut.__enter__()
    for seen in frames(4):
        cut.write(seen)
    cut.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not (tmp_path / "cut.json").exists()
    with coco.CocoFile(tmp_path / "cut.json", label_set, keep=keep) as again:
        for i, seen in enumerate(frames(5)):
            if i < keep:
                again.skip(seen.frame)
            else:
                again.write(seen)
    assert json.loads((tmp_path / "cut.json").read_text()) == json.loads((tmp_path / "whole.json").read_text())
    assert len(json.loads((tmp_path / "whole.json").read_text())["images"]) == 5
