"""Cityscapes in the layout it is downloaded in: labelled images, the frames before them and their label maps.

    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png            the labelled frames
    leftImg8bit_sequence/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png   30-frame snippets, the 20th is labelled
    gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png

(README of github.com/mcordts/cityscapesScripts.)
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from lmaseg.datasets.clip import (
    Clip,
    ClipFrame,
    LabelEncoding,
    require_folder,
    split_at_gaps,
    write_ids,
)
from lmaseg.errors import DatasetError
from lmaseg.labels import CITYSCAPES, CITYSCAPES_FILES, CITYSCAPES_LABEL_IDS, CITYSCAPES_LAST_LABEL_ID, LabelSet
from lmaseg.paths import is_clutter
from lmaseg.pictures import SUFFIXES, Picture

IGNORED = CITYSCAPES.ignore_index

LABEL_IDS = LabelEncoding(
    dict.fromkeys(range(CITYSCAPES_LAST_LABEL_ID + 1), IGNORED)
    | {label_id: train_id for train_id, label_id in enumerate(CITYSCAPES_LABEL_IDS)},
    kind=f"Cityscapes labelIds (0 to {CITYSCAPES_LAST_LABEL_ID})",
    remedy="extract gtFine again",
)

FrameKey = tuple[str, str, int]


def cityscapes_clips(root: Path, split: str = "val", *, past: int) -> list[Clip]:
    """A clip for every labelled frame: the `past` frames before it and the frame itself; overlapping ones are joined.

    Label ids are read as train ids. Raises DatasetError for whatever is missing; with past=0 `leftImg8bit_sequence/` is
    not needed.
    """
    remedy = "point --cityscapes at the folder that holds leftImg8bit/ and gtFine/"
    folder = require_folder(root / "gtFine" / split, remedy)
    label_files = _frame_files(folder, "gtFine_labelIds")
    if not label_files:
        needed = "CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png from gtFine_trainvaltest.zip"
        raise DatasetError(f"{folder} holds no label maps: it needs {needed}")
    labelled = _frame_files(root / "leftImg8bit" / split, "leftImg8bit")
    _check_pairs(labelled, label_files, root, split)
    earlier: dict[FrameKey, Path] = {}
    if past:
        remedy = f"the {past} frames before each label come from it: extract it, or evaluate with --memory 0"
        earlier = _frame_files(require_folder(root / "leftImg8bit_sequence" / split, remedy), "leftImg8bit")
    sequences: dict[tuple[str, str], dict[int, ClipFrame]] = defaultdict(dict)
    for key, label in sorted(label_files.items()):
        city, sequence, number = key
        frames = sequences[city, sequence]
        for n in range(max(0, number - past), number):
            if n not in frames:
                frames[n] = _past_frame(earlier, (city, sequence, n), label, past)
        frames[number] = ClipFrame(_name(key), labelled[key], label)
    runs = [run for frames in sequences.values() for run in split_at_gaps(sorted(frames.items()), step=1)]
    clips = [tuple(frame for _, frame in run) for run in runs]
    firsts = [next(frame.name for frame in frames if frame.label) for frames in clips]
    return [Clip(*named, CITYSCAPES, LABEL_IDS) for named in zip(firsts, clips, strict=True)]


def _name(key: FrameKey) -> str:
    city, sequence, number = key
    return f"{city}_{sequence}_{number:06d}"


def _frame_files(folder: Path, ending: str) -> dict[FrameKey, Path]:
    """A split's pictures CITY/CITY_SEQUENCE_FRAME_ENDING by city, sequence and frame number."""
    pattern = re.compile(rf"(.+)_(\d+)_(\d+)_{ending}", re.ASCII)
    files = {}
    for path in require_folder(folder, "extract the whole data set there").glob(f"*/*_{ending}.*"):
        if is_clutter(path) or path.suffix.lower() not in SUFFIXES:
            continue
        match = pattern.fullmatch(path.stem)
        if match is None:
            raise DatasetError(f"{path} is not named CITY_SEQUENCE_FRAME_{ending}.png: restore its name or remove it")
        files[match[1], match[2], int(match[3])] = path
    return files


def _check_pairs(images: dict[FrameKey, Path], labels: dict[FrameKey, Path], root: Path, split: str) -> None:
    for key, label in labels.items():
        if key not in images:
            missing = root / "leftImg8bit" / split / key[0] / f"{_name(key)}_leftImg8bit.png"
            raise DatasetError(f"{missing} is missing, the image of {label.name}: extract leftImg8bit again")
    for key, image in images.items():
        if key not in labels:
            missing = root / "gtFine" / split / key[0] / f"{_name(key)}_gtFine_labelIds.png"
            raise DatasetError(f"{missing} is missing, the label of {image.name}: extract gtFine again")


def _past_frame(files: dict[FrameKey, Path], key: FrameKey, label: Path, past: int) -> ClipFrame:
    if key not in files:
        raise DatasetError(
            f"{_name(key)}_leftImg8bit.png is missing in leftImg8bit_sequence, one of the {past} frames before "
            f"{label.name}: extract leftImg8bit_sequence_trainvaltest.zip again, or use a smaller --memory"
        )
    return ClipFrame(_name(key), files[key])


def to_label_ids(train_ids: Picture) -> Picture:
    """Train ids -> labelIds, uint8 of any shape, for the official scripts and server; what is no train id becomes 0."""
    table = np.zeros(256, np.uint8)
    table[: len(CITYSCAPES_LABEL_IDS)] = CITYSCAPES_LABEL_IDS
    return table[train_ids]


def written_ids(label_set: LabelSet, ids: str) -> tuple[np.ndarray, LabelSet]:
    """(256,) uint8 from class ids to those to write, and the label set that these belong to.

    Args:
        label_set: of the class ids.
        ids: "class" leaves them as they are, "train" and "label" are those of Cityscapes.
    """
    if ids == "class":
        return np.arange(256, dtype=np.uint8), label_set
    table = np.full(256, CITYSCAPES.ignore_index, np.uint8)
    table[: len(label_set)] = label_set.train_ids
    return (table, CITYSCAPES) if ids == "train" else (to_label_ids(table), CITYSCAPES_FILES)


def write_label_ids(folder: Path, name: str, train_ids: Picture) -> None:
    """Writes a predicted label map of train ids as FOLDER/CITY_SEQUENCE_FRAME_labelIds.png.

    The official script takes CITY_SEQUENCE_FRAME*.png (cityscapesscripts, evalPixelLevelSemanticLabeling.py).
    """
    write_ids(folder / f"{name}_labelIds.png", to_label_ids(train_ids))
