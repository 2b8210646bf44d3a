"""Label sets: what the class ids mean, how they are drawn and how they map to Cityscapes train ids."""

import colorsys
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Color = tuple[int, int, int]

NO_CLASS = 255
"""Stands for no class, in label maps and for a class without a Cityscapes train id."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of a network's output, in the order of its channels.

    `train_ids[i]` is the Cityscapes train id of class i (255: none), `ignore_index` the id that marks
    unlabelled pixels in this set's ground truth; colours are 8-bit sRGB. `covers[i]` has all Cityscapes train ids
    that belong to class i where this set has fewer classes: CamVid's car is right for a network that predicts car, and
    for one that predicts truck. Left out, a class covers its own train id.

    Raises:
        ValueError: names, colors, train_ids and covers of different lengths, a class that does not cover its own train
            id, or a train id covered twice.

    >>> CAMVID.names[8], CAMVID.colors[8], CITYSCAPES.names[CAMVID.train_ids[8]]
    ('car', (0, 0, 142), 'car')
    >>> [CITYSCAPES.names[i] for i in CAMVID.covers[8]]
    ['car', 'truck', 'bus', 'train']
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[Color, ...]
    train_ids: tuple[int, ...]
    ignore_index: int = 255
    covers: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.covers:
            own = tuple(() if i == NO_CLASS else (i,) for i in self.train_ids)
            object.__setattr__(self, "covers", own)
        if not len(self.names) == len(self.colors) == len(self.train_ids) == len(self.covers):
            raise ValueError(f"label set {self.name}: names, colors, train_ids and covers differ in length")
        covered = [i for each in self.covers for i in each]
        if twice := {i for i in covered if covered.count(i) > 1}:
            raise ValueError(f"label set {self.name}: more than one class covers train id {min(twice)}")
        for name, own_id, each in zip(self.names, self.train_ids, self.covers, strict=True):
            if own_id != NO_CLASS and own_id not in each:
                raise ValueError(f"label set {self.name}: {name} does not cover its own train id {own_id}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> bytes:
        """256 RGB triples for an indexed image; ids without a class are black."""
        return bytes(level for color in self.colors for level in color).ljust(768, b"\0")

    @property
    def is_numbered(self) -> bool:
        """Whether the names say nothing but a number, such as "class 3" or transformers' "label_3"."""
        return all(re.fullmatch(rf"(class|label)[ _]{i}", name) for i, name in enumerate(self.names))


# The classes of the Cityscapes benchmark (Cordts et al. 2016) in the order of their train ids: name, id in the label
# files, category (cityscapesscripts/helpers/labels.py), official colour and colour on screens. Of the last, no two are
# closer than 11 in OKLab (x 100), where the official person and rider are 8 apart, fence and pole 6, and none is darker
# than 53, where the official truck is 18.
_CITYSCAPES: tuple[tuple[str, int, str, Color, Color], ...] = (
    ("road", 7, "flat", (128, 64, 128), (165, 95, 220)),
    ("sidewalk", 8, "flat", (244, 35, 232), (255, 125, 230)),
    ("building", 11, "construction", (70, 70, 70), (200, 135, 110)),
    ("wall", 12, "construction", (102, 102, 156), (125, 125, 165)),
    ("fence", 13, "construction", (190, 153, 153), (250, 190, 160)),
    ("pole", 17, "object", (153, 153, 153), (245, 245, 235)),
    ("traffic light", 19, "object", (250, 170, 30), (255, 150, 0)),
    ("traffic sign", 20, "object", (220, 220, 0), (255, 220, 0)),
    ("vegetation", 21, "nature", (107, 142, 35), (45, 185, 75)),
    ("terrain", 22, "nature", (152, 251, 152), (165, 250, 110)),
    ("sky", 23, "sky", (70, 130, 180), (120, 195, 255)),
    ("person", 24, "human", (220, 20, 60), (255, 30, 50)),
    ("rider", 25, "human", (255, 0, 0), (0, 240, 205)),
    ("car", 26, "vehicle", (0, 0, 142), (40, 110, 255)),
    ("truck", 27, "vehicle", (0, 0, 70), (0, 165, 205)),
    ("bus", 28, "vehicle", (0, 60, 100), (0, 125, 120)),
    ("train", 31, "vehicle", (0, 80, 100), (140, 140, 0)),
    ("motorcycle", 32, "vehicle", (0, 0, 230), (120, 40, 250)),
    ("bicycle", 33, "vehicle", (119, 11, 32), (205, 40, 135)),
)
CITYSCAPES = LabelSet(
    name="cityscapes",
    names=tuple(name for name, *_ in _CITYSCAPES),
    colors=tuple(color for *_, color, _ in _CITYSCAPES),
    train_ids=tuple(range(19)),
)
"""The 19 classes of the Cityscapes benchmark, by train id."""
CITYSCAPES_LABEL_IDS = tuple(label_id for _, label_id, *_ in _CITYSCAPES)
CITYSCAPES_CATEGORIES = tuple(category for _, _, category, *_ in _CITYSCAPES)
CITYSCAPES_LAST_LABEL_ID = 33  # files hold ids from 0 on; those without a class are not evaluated, -1 is never drawn
_LABEL_IDS = range(CITYSCAPES_LAST_LABEL_ID + 1)
_IN_FILES = [CITYSCAPES_LABEL_IDS.index(i) if i in CITYSCAPES_LABEL_IDS else None for i in _LABEL_IDS]
CITYSCAPES_FILES = LabelSet(
    name="cityscapes-label-ids",
    names=tuple("not evaluated" if i is None else CITYSCAPES.names[i] for i in _IN_FILES),
    colors=tuple((0, 0, 0) if i is None else CITYSCAPES.colors[i] for i in _IN_FILES),
    train_ids=tuple(NO_CLASS if i is None else i for i in _IN_FILES),
    ignore_index=0,
)

# Order: the 11-class CamVid of SegNet (Badrinarayanan et al. 2017); 11 marks unlabelled pixels. Colours follow
# Cityscapes where a class has a counterpart there, so that one legend serves both.
_CAMVID: tuple[tuple[str, tuple[int, ...]], ...] = (  # the Cityscapes train ids that a class covers, its own one first
    ("sky", (10,)),
    ("building", (2, 3)),
    ("pole", (5,)),
    ("road", (0,)),
    ("pavement", (1,)),
    ("tree", (8, 9)),
    ("sign", (7, 6)),
    ("fence", (4,)),
    ("car", (13, 14, 15, 16)),
    ("pedestrian", (11,)),
    ("bicyclist", (12, 17, 18)),
)
CAMVID = LabelSet(
    name="camvid",
    names=tuple(name for name, _ in _CAMVID),
    colors=tuple(CITYSCAPES.colors[own] for _, (own, *_) in _CAMVID),
    train_ids=tuple(own for _, (own, *_) in _CAMVID),
    ignore_index=11,
    covers=tuple(tuple(sorted(covered)) for _, covered in _CAMVID),
)
"""The 11 classes of CamVid; 11 marks unlabelled pixels."""


def for_screens(labels: LabelSet) -> LabelSet:
    """A label set in brighter colours that are easier to tell apart; those that are not Cityscapes' own stay."""
    brighter = {color: bright for *_, color, bright in _CITYSCAPES}
    return replace(labels, colors=tuple(brighter.get(color, color) for color in labels.colors))


def counterparts(labels: LabelSet, others: LabelSet) -> list[int | None]:
    """For each class of a set, the one of another that has its name, or else that covers its train id.

    Where one set has no names and both are of one length, the ids mean the same.
    """
    if len(labels) == len(others) and (labels.is_numbered or others.is_numbered):
        return list(range(len(labels)))
    by_name = {name: i for i, name in enumerate(others.names)}
    by_id = {train_id: i for i, covered in enumerate(others.covers) for train_id in covered}
    return [by_name.get(name, by_id.get(i)) for name, i in zip(labels.names, labels.train_ids, strict=True)]


def categories(labels: LabelSet) -> tuple[str | None, ...]:
    """The Cityscapes category of each class of a label set; None for a class without a train id."""
    return tuple(CITYSCAPES_CATEGORIES[i] if i != NO_CLASS else None for i in labels.train_ids)


LABEL_SETS = {"cityscapes": CITYSCAPES, "camvid": CAMVID}
MOST_CLASSES = 255  # label maps are 8-bit, and one id marks unlabelled pixels


def label_set(text: str) -> LabelSet:
    """The label set that a text names: "cityscapes", "camvid", the path of a TOML file, or "name,name,...".

    Class names that Cityscapes or CamVid have keep their colour and train id, the others get a colour of their own and
    none. A file can say more; only `name` is needed:

        ignore = 255                   # the id of unlabelled pixels

        [[classes]]                    # class 0, and so on
        name = "lane"
        color = [128, 64, 128]
        covers = ["road", "sidewalk"]  # Cityscapes classes by name or train id, the main one first

    Raises:
        ValueError: no such file, one that is not as above, or names that are none.

    >>> label_set("lawn, road, tree").train_ids
    (255, 0, 8)
    """
    if text in LABEL_SETS:
        return LABEL_SETS[text]
    try:
        if text.endswith(".toml"):
            return _read_label_set(Path(text))
        names = [name.strip() for name in text.split(",")]
        if len(names) == 1:
            raise ValueError("one class tells nothing apart")
        return own_label_set(f"{len(names)} classes", [{"name": name} for name in names])
    except (TypeError, ValueError) as error:
        forms = "cityscapes, camvid, name,name,... or a TOML file's path"
        raise ValueError(f"{text!r} names no classes ({error}): write {forms}") from error


def _read_label_set(path: Path) -> LabelSet:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    if unknown := content.keys() - {"classes", "ignore"}:
        raise ValueError(f"it has {min(unknown)}, but only ignore and [[classes]] mean something")
    classes = content.get("classes")
    if not isinstance(classes, list) or not all(isinstance(each, dict) for each in classes):
        raise ValueError("its classes are no tables headed [[classes]]")
    return own_label_set(path.stem, classes, ignore_index=content.get("ignore", NO_CLASS))


def own_label_set(name: str, classes: Sequence[Mapping[str, Any]], *, ignore_index: int = NO_CLASS) -> LabelSet:
    """A label set from the "name", "color" and "covers" of each class, as `label_set` describes them.

    Raises:
        ValueError: no class or too many, a class without a name or with one that another has, an unknown key, or a
            colour, a train id or an ignore index that is none.
    """
    _check_classes(classes, ignore_index)
    known = {name: i for labels in LABEL_SETS.values() for name, i in zip(labels.names, labels.train_ids, strict=True)}
    covers, colors, taken = [], spread_colors(len(classes)), set[int]()
    for number, each in enumerate(classes):
        namesake = known.get(each["name"], NO_CLASS)
        usual = [namesake] if namesake not in {NO_CLASS, *taken} else []
        covers.append(tuple(map(_train_id, each.get("covers", usual))))
        taken.update(covers[-1])
        if "color" in each:
            colors[number] = _color(each["color"])
        elif namesake != NO_CLASS:
            colors[number] = CITYSCAPES.colors[namesake]
    return LabelSet(
        name=name,
        names=tuple(each["name"] for each in classes),
        colors=tuple(colors),
        train_ids=tuple(each[0] if each else NO_CLASS for each in covers),
        ignore_index=ignore_index,
        covers=tuple(covers),
    )


def _check_classes(classes: Sequence[Mapping[str, Any]], ignore_index: int) -> None:
    names = [each.get("name") for each in classes]
    if not 0 < len(names) <= MOST_CLASSES:
        raise ValueError(f"there must be 1 to {MOST_CLASSES} classes, not {len(names)}")
    if not all(isinstance(each, str) and each for each in names) or len(set(names)) < len(names):
        raise ValueError("every class needs a name of its own")
    if unknown := {key for each in classes for key in each} - {"name", "color", "covers"}:
        raise ValueError(f"a class has {min(unknown)}, but only name, color and covers mean something")
    if not isinstance(ignore_index, int) or not len(names) <= ignore_index <= 255:
        raise ValueError(f"the id of unlabelled pixels is one from {len(names)} to 255, not {ignore_index}")


def spread_colors(count: int) -> list[Color]:
    """Colours spread around the wheel, neighbours unlike each other."""
    wheel = (colorsys.hsv_to_rgb(i * 0.618 % 1, 0.75, 0.9) for i in range(count))  # by the golden ratio
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in wheel]


def _train_id(value: Any) -> int:
    if isinstance(value, str) and value in CITYSCAPES.names:
        return CITYSCAPES.names.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(CITYSCAPES):
        return value
    raise ValueError(f"{value!r} is neither the name nor the train id of a Cityscapes class")


def _color(value: Any) -> Color:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(i, int) and 0 <= i <= 255 for i in value):
        raise ValueError(f"{value!r} is no colour: write red, green and blue as [128, 64, 128]")
    red, green, blue = value
    return red, green, blue
