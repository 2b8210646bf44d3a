"""Clips: consecutive frames of one video, some of them with a label map, and the checked reading of both."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmaseg.errors import DatasetError, VideoError
from lmaseg.labels import LabelSet
from lmaseg.paths import appearing
from lmaseg.pictures import Page, read_rgb, read_stored
from lmaseg.pictures import Picture as Picture

Stored = Path | Page | Callable[[], Picture]
T = TypeVar("T")

UNKNOWN = -1


@dataclass(frozen=True)
class LabelEncoding:
    """How the ids stored in label files become the class ids of a label set.

    `classes[i]` is the class id of the stored id i (the set's ignore index for an unlabelled one); others are unknown.
    `kind` names the encoding and `remedy` says what to do about a file that holds others.
    """

    classes: Mapping[int, int]
    kind: str
    remedy: str

    def decode(self, stored: Picture, name: str) -> Picture:
        """Stored ids -> class ids, both uint8; raises DatasetError naming the file that holds an unknown id."""
        table = [self.classes.get(i, UNKNOWN) for i in range(256)]
        classes = np.array(table, np.int16)[stored]
        if (classes == UNKNOWN).any():
            unknown = np.unique(stored[classes == UNKNOWN])
            ids = ", ".join(str(i) for i in unknown[:5])
            shifted = [*unknown] == [table.index(UNKNOWN)] and 0 not in stored
            hint = "its ids seem to begin at 1, take 1 from each, or " if shifted else ""
            raise DatasetError(f"{name} holds id {ids}, which is none of the {self.kind}: {hint}{self.remedy}")
        return classes.astype(np.uint8)


@dataclass(frozen=True)
class ClipFrame:
    """One frame: its name (unique in its data set), where its image is and, if it is labelled, its label map.

    What is stored lies in a file, or a function gives it: images are (H, W, 3) uint8 RGB, label maps (H, W) uint8
    stored ids.
    """

    name: str
    image: Stored
    label: Stored | None = None


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one video in the order of time, all of the same size; labels on some of them.

    `step` is the usual distance between the frame numbers of neighbours (2: every second frame of the video was kept).
    """

    name: str
    frames: tuple[ClipFrame, ...]
    labels: LabelSet
    encoding: LabelEncoding
    step: int = 1

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def labelled(self) -> tuple[int, ...]:
        """The indices of the frames that have a label map."""
        return tuple(i for i, frame in enumerate(self.frames) if frame.label is not None)

    def image(self, index: int) -> Picture:
        """The frame as (H, W, 3) uint8 RGB; raises DatasetError for a file that is no readable picture."""
        stored = self.frames[index].image
        return stored() if callable(stored) else _read(read_rgb, stored)

    def label(self, index: int) -> Picture | None:
        """The label map of a frame as (H, W) uint8 class ids of `labels`, None for an unlabelled frame.

        Files hold ids, or the colours of `labels` (black is unlabelled). Raises DatasetError for an unreadable file,
        other colours, or an unknown id.
        """
        frame = self.frames[index]
        if frame.label is None:
            return None
        name = _name_of(frame.label, f"the label of {frame.name}")
        if callable(frame.label):
            return self.encoding.decode(frame.label(), name)
        stored, palette = _read(read_stored, frame.label)
        if palette is not None:
            classes = classes_of_colours(palette, self.labels)
            used = classes[np.unique(stored)]
            if (used != UNKNOWN).all() and (used != self.labels.ignore_index).any():
                return classes[stored].astype(np.uint8)
        if stored.ndim == 2:
            return self.encoding.decode(stored, name)
        classes = classes_of_colours(stored, self.labels)
        if (classes != UNKNOWN).all():
            return classes.astype(np.uint8)
        if (stored == stored[..., :1]).all():
            return self.encoding.decode(stored[..., 0], name)
        raise DatasetError(
            f"{name} is in colours, and {tuple(stored[classes == UNKNOWN][0].tolist())} is that of no class of "
            f"{self.labels.name}: convert the label maps to one channel of class ids, or to these classes' colours"
        )

    def pair(self, index: int) -> tuple[Picture, Picture | None]:
        """Image and label map of a frame; raises DatasetError where their sizes differ, besides what the two raise."""
        image, label = self.image(index), self.label(index)
        if label is not None and label.shape != image.shape[:2]:
            frame = self.frames[index]
            raise DatasetError(
                f"{_name_of(frame.label, frame.name)} is {_size(label)}, its image {_name_of(frame.image, frame.name)} "
                f"{_size(image)}: labels must have the size of their image; extract both again"
            )
        return image, label


def classes_of_colours(colours: Picture, labels: LabelSet) -> NDArray[np.int16]:
    """(..., 3) uint8 RGB -> (...) int16 class ids; black is unlabelled, `UNKNOWN` what no class or several have."""
    owners = Counter(labels.colors)
    known = {(0, 0, 0): labels.ignore_index}
    known |= {color: i if owners[color] == 1 else UNKNOWN for i, color in enumerate(labels.colors)}
    table = np.array(sorted((red << 16 | green << 8 | blue, i) for (red, green, blue), i in known.items()))
    packed = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    nearest = np.searchsorted(table[:, 0], packed).clip(max=len(table) - 1)
    return np.where(table[nearest, 0] == packed, table[nearest, 1], UNKNOWN).astype(np.int16)


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _name_of(stored: Stored | None, otherwise: str) -> str:
    if isinstance(stored, Page):
        return str(stored.path)
    return str(stored) if isinstance(stored, Path) else otherwise


def _read(read: Callable[[Path | Page], T], stored: Path | Page) -> T:
    try:
        return read(stored)
    except VideoError as error:
        raise DatasetError(str(error)) from error


def write_ids(path: Path, ids: Picture) -> None:
    """Writes (H, W) uint8 ids as a PNG of one channel, which appears under its name when it is complete."""
    with appearing(path) as part:
        Image.fromarray(ids).save(part, compress_level=1)


def require_folder(folder: Path, remedy: str) -> Path:
    """The folder itself; raises DatasetError with the remedy where it does not exist."""
    if not folder.is_dir():
        raise DatasetError(f"the folder {folder} is missing: {remedy}")
    return folder


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The folder's files with one of the suffixes, by stem; raises DatasetError for two files of one stem."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DatasetError(f"{path} and {files[path.stem].name} share a stem: keep one of them in {folder}")
        files[path.stem] = path
    return files


def sequence_key(stem: str) -> tuple[str, int | None]:
    """A stem as the name of its sequence and its frame number, the digits at its end (None if there are none)."""
    match = re.fullmatch(r"(.*?)(\d+)", stem, re.ASCII | re.DOTALL)
    return (match[1], int(match[2])) if match else (stem, None)


def usual_step(numbers: Iterable[Sequence[int]]) -> int:
    """The most common difference between neighbours in sorted sequences of frame numbers (of several the least)."""
    steps = Counter(b - a for sequence in numbers for a, b in pairwise(sequence))
    return min(steps, key=lambda step: (-steps[step], step), default=1)


def split_at_gaps(numbered: Sequence[tuple[int, T]], step: int) -> list[list[tuple[int, T]]]:
    """Cuts a sorted sequence of numbered things where numbers lie apart by more than one and a half steps.

    Half a step of slack keeps sequences whole whose frames were picked by time (CamVid train: 29, 30 and 31 apart).
    """
    runs: list[list[tuple[int, T]]] = []
    for number, thing in numbered:
        if not runs or number - runs[-1][-1][0] > 1.5 * step:
            runs.append([])
        runs[-1].append((number, thing))
    return runs
