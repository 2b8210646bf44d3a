"""The labelled data that a command line names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.labels import LabelSet


def load_clips(paths: Mapping[str, Any], split: str, labels: "LabelSet", past: int) -> "dict[str, list[Clip]]":
    """The clips of each data set that has a path, by its name.

    Args:
        paths: the folders of "camvid" and "cityscapes", and for "folder" those of the images and of the label maps.
        split: train, val or test, of CamVid and Cityscapes.
        labels: what the label maps of "folder" mean.
        past: how many frames before each label are needed of Cityscapes.

    Raises:
        DatasetError: files that are missing or do not fit together.
    """
    from lmaseg.datasets.camvid import camvid_clips
    from lmaseg.datasets.cityscapes import cityscapes_clips
    from lmaseg.datasets.folder import folder_clips

    loaders = {
        "camvid": lambda root: camvid_clips(root, split),
        "cityscapes": lambda root: cityscapes_clips(root, split, past=past),
        "folder": lambda pair: folder_clips(*pair, labels),
    }
    return {name: load(paths[name]) for name, load in loaders.items() if paths.get(name)}
