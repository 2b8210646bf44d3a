"""Label sets: what the class ids mean, how they are drawn and how they map to Cityscapes train ids."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a network's output, in the order of its channels.

    `train_ids[i]` is the Cityscapes train id of class i (255: none), `ignore_index` the id that marks
    unlabelled pixels in this set's ground truth; colours are 8-bit sRGB.

    >>> CAMVID.names[8], CAMVID.colors[8], CITYSCAPES.names[CAMVID.train_ids[8]]
    ('car', (0, 0, 142), 'car')
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[Color, ...]
    train_ids: tuple[int, ...]
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.colors) == len(self.train_ids):
            raise ValueError(f"label set {self.name}: names, colors and train_ids differ in length")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> bytes:
        """256 RGB triples for an indexed image; ids without a class are black."""
        return bytes(level for color in self.colors for level in color).ljust(768, b"\0")


# Names, order and colours: the Cityscapes benchmark's train ids (Cordts et al. 2016).
CITYSCAPES = LabelSet(
    name="cityscapes",
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    colors=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    train_ids=tuple(range(19)),
)
"""The 19 classes of the Cityscapes benchmark, by train id."""

# Order: the 11-class CamVid of SegNet (Badrinarayanan et al. 2017); 11 marks unlabelled pixels. Colours follow
# Cityscapes where a class has a counterpart there, so that one legend serves both.
CAMVID = LabelSet(
    name="camvid",
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (70, 130, 180),
        (70, 70, 70),
        (153, 153, 153),
        (128, 64, 128),
        (244, 35, 232),
        (107, 142, 35),
        (220, 220, 0),
        (190, 153, 153),
        (0, 0, 142),
        (220, 20, 60),
        (255, 0, 0),
    ),
    train_ids=(10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12),
    ignore_index=11,
)
"""The 11 classes of CamVid; 11 marks unlabelled pixels."""

# The ids of the Cityscapes label files by train id, and the category each is scored under
# (cityscapesscripts/helpers/labels.py). The files hold ids 0 to 33; those not listed here are not evaluated. License
# plates (-1) are never drawn into them.
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_LAST_LABEL_ID = 33
CITYSCAPES_FILES = LabelSet(
    name="cityscapes-label-ids",
    names=tuple(
        CITYSCAPES.names[CITYSCAPES_LABEL_IDS.index(i)] if i in CITYSCAPES_LABEL_IDS else "not evaluated"
        for i in range(CITYSCAPES_LAST_LABEL_ID + 1)
    ),
    colors=tuple(
        CITYSCAPES.colors[CITYSCAPES_LABEL_IDS.index(i)] if i in CITYSCAPES_LABEL_IDS else (0, 0, 0)
        for i in range(CITYSCAPES_LAST_LABEL_ID + 1)
    ),
    train_ids=tuple(
        CITYSCAPES_LABEL_IDS.index(i) if i in CITYSCAPES_LABEL_IDS else 255 for i in range(CITYSCAPES_LAST_LABEL_ID + 1)
    ),
    ignore_index=0,
)
CITYSCAPES_CATEGORIES = (
    *("flat",) * 2,
    *("construction",) * 3,
    *("object",) * 3,
    *("nature",) * 2,
    "sky",
    *("human",) * 2,
    *("vehicle",) * 6,
)


def categories(labels: LabelSet) -> tuple[str | None, ...]:
    """The Cityscapes category of each class of a label set; None for a class without a train id."""
    return tuple(CITYSCAPES_CATEGORIES[i] if i < len(CITYSCAPES_CATEGORIES) else None for i in labels.train_ids)


# The 150 classes of the ADE20K benchmark by the first of their names, and the colours in which its pictures are drawn
# everywhere (Zhou et al. 2017).
ADE20K_BEGINS = ("wall", "building", "sky", "floor", "tree")
ADE20K_COLORS = bytes.fromhex(
    "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff8cccff04"
    "ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060aff47ff290a07ffff"
    "e0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f14ff001fff00ff1f00ffe000"
    "99ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff00"
    "0052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc2"
    "00ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ff"
    "ff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ff"
    "ff007afff5000abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
    "b8ff000085ffffd60019c2c266ff005c00ff"
)


def named_labels(name: str, names: Sequence[str]) -> LabelSet:
    """The label set of classes known by their names alone.

    The names of Cityscapes and of CamVid are those sets. In others, classes that are called as one of Cityscapes have
    its train id and colour; the rest are in colours spread around the wheel. ADE20K keeps its own colours.

    Raises:
        ValueError: more classes than fit into a label map, beside the id for unlabelled pixels.
    """
    plain = tuple(each.strip().lower() for each in names)
    for known in (CITYSCAPES, CAMVID):
        if plain == known.names:
            return known
    if len(plain) > 255:
        raise ValueError(f"a label map holds at most 255 classes, not {len(plain)}")
    train_ids = tuple(CITYSCAPES.names.index(each) if each in CITYSCAPES.names else 255 for each in plain)
    colors = [CITYSCAPES.colors[i] if i < 255 else _on_wheel(number) for number, i in enumerate(train_ids)]
    if len(plain) == 150 and plain[:5] == ADE20K_BEGINS:
        colors = [(red, green, blue) for red, green, blue in zip(*[iter(ADE20K_COLORS)] * 3, strict=True)]
    return LabelSet(name=name, names=tuple(names), colors=tuple(colors), train_ids=train_ids)


def _on_wheel(number: int) -> Color:
    """A colour of its own for every number; steps of the golden ratio keep neighbours apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
