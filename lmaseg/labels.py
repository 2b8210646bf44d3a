"""Label sets: what the class ids mean, how they are drawn and how they map to Cityscapes train ids."""

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
