import pytest

from lmaseg import CAMVID, CITYSCAPES, LabelSet


@pytest.mark.parametrize(("labels", "size"), [(CAMVID, 11), (CITYSCAPES, 19)])
def test_label_sets_are_whole(labels, size):
    assert len(labels) == len(set(labels.names)) == size
    assert len(set(labels.colors)) == size
    assert labels.ignore_index not in range(size)
    assert len(labels.palette) == 768
    assert tuple(labels.palette[3:6]) == labels.colors[1]


def test_camvid_classes_keep_the_colours_of_their_cityscapes_counterparts():
    for color, train_id in zip(CAMVID.colors, CAMVID.train_ids, strict=True):
        assert color == CITYSCAPES.colors[train_id]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="differ in length"):
        LabelSet("x", names=("a",), colors=(), train_ids=(0,))
