"""Tiny data sets on disk, and what their readers say of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaseg.datasets.clip import Clip
from lmaseg.errors import DatasetError

SIZE = (6, 8)  # height and width of every picture here


def write_image(path: Path, value: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def write_ids(path: Path, *ids: int, size: tuple[int, int] = SIZE, mode: str = "L") -> Path:
    """A label map that holds each of the ids, the first one everywhere else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.full(size, ids[0], np.uint8)
    stored.flat[: len(ids)] = ids
    picture = Image.fromarray(stored)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(path)
    return path


def message(broken: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as error:
        broken()
    return str(error.value)


def read_all(clips: list[Clip]) -> None:
    for clip in clips:
        for index in range(len(clip)):
            clip.pair(index)
