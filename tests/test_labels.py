import pytest

from lmaseg import CAMVID, CITYSCAPES, LabelSet
from lmaseg.labels import label_set


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


def test_what_covers_what_must_agree():
    assert CITYSCAPES.covers == tuple((i,) for i in range(19))
    assert sorted(i for each in CAMVID.covers for i in each) == list(range(19))
    black = ((0, 0, 0),) * 2
    assert LabelSet("x", ("a", "b"), black, (3, 255)).covers == ((3,), ())
    with pytest.raises(ValueError, match="b does not cover its own train id 4"):
        LabelSet("x", ("a", "b"), black, (3, 4), covers=((3,), (5,)))
    with pytest.raises(ValueError, match="more than one class covers train id 5"):
        LabelSet("x", ("a", "b"), black, (3, 5), covers=((3, 5), (5,)))


class TestOwnClasses:
    def test_the_sets_that_have_names(self):
        assert label_set("camvid") is CAMVID
        assert label_set("cityscapes") is CITYSCAPES

    def test_names_with_a_meaning_keep_it(self):
        labels = label_set("lawn, road,tree,vegetation")
        assert labels.names == ("lawn", "road", "tree", "vegetation")
        assert labels.train_ids == (255, 0, 8, 255)  # the tree has taken the eighth
        assert labels.colors[1] == CITYSCAPES.colors[0]
        assert labels.colors[2] == labels.colors[3] == CITYSCAPES.colors[8]
        assert labels.ignore_index == 255

    def test_a_file_says_more(self, tmp_path):
        path = tmp_path / "yard.toml"
        path.write_text(
            "ignore = 9\n[[classes]]\nname = 'lane'\ncolor = [1, 2, 3]\ncovers = ['road', 1]\n"
            "[[classes]]\nname = 'car'\ncovers = []\n"
        )
        labels = label_set(str(path))
        assert (labels.name, labels.names, labels.ignore_index) == ("yard", ("lane", "car"), 9)
        assert (labels.colors[0], labels.covers, labels.train_ids) == ((1, 2, 3), ((0, 1), ()), (0, 255))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("road,,car", "every class needs a name of its own"),
            ("road,road", "every class needs a name of its own"),
            ("voc", "one class tells nothing apart"),
            ("no/such.toml", "it cannot be read: No such file"),
        ],
    )
    def test_names_that_are_none(self, text, message):
        with pytest.raises(ValueError, match=message):
            label_set(text)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("classes =", "Invalid value"),
            ("names = ['a']", "it has names, but only ignore and"),
            ("classes = ['a']", "no tables headed"),
            ("", "no tables headed"),
            ("[[classes]]\ncolor = [1, 2, 3]", "every class needs a name"),
            ("[[classes]]\nname = 'a'\ncolour = [1, 2, 3]", "a class has colour, but only name, color and covers"),
            ("[[classes]]\nname = 'a'\ncolor = [1, 2, 256]", "is no colour"),
            ("[[classes]]\nname = 'a'\ncovers = ['rode']", "'rode' is neither the name nor the train id"),
            ("[[classes]]\nname = 'a'\ncovers = [19]", "19 is neither the name nor the train id"),
            ("[[classes]]\nname = 'a'\ncovers = 3", "names no classes"),
            ("ignore = 0\n[[classes]]\nname = 'a'", "from 1 to 255, not 0"),
            (
                "[[classes]]\nname = 'a'\ncovers = [1]\n[[classes]]\nname = 'b'\ncovers = [1]",
                "more than one class covers",
            ),
        ],
    )
    def test_a_file_that_is_wrong(self, content, message, tmp_path):
        path = tmp_path / "own.toml"
        path.write_text(content)
        with pytest.raises(ValueError, match=message) as error:
            label_set(str(path))
        assert str(path) in str(error.value)
