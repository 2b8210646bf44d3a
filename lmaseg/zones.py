"""Named parts of the picture."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lmaseg.errors import VideoError

Polygon = Sequence[tuple[float, float]]
"""Corners (x, y) in pixels of the source, from its upper left corner."""
FORM = 'write {"NAME": [[x, y], [x, y], [x, y], ...], ...} with x and y in pixels'


def read_zones(path: str | Path) -> dict[str, Polygon]:
    """The polygons of a JSON file by name: {"crossing": [[10, 200], [300, 200], [300, 260]], ...}. Raises VideoError:
    the file cannot be read, or holds something else."""
    try:
        content = json.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise VideoError(f"{path} cannot be read ({error.strerror}): check the name") from error
    except ValueError as error:
        raise VideoError(f"{path} is no JSON ({error}): {FORM}") from error
    if not isinstance(content, dict) or not content:
        raise VideoError(f"{path} names no zones: {FORM}")
    for name, corners in content.items():
        if not isinstance(corners, list) or len(corners) < 3 or not all(map(_is_point, corners)):
            raise VideoError(f"the zone {name!r} in {path} is no polygon of three corners or more: {FORM}")
    return {name: [(x, y) for x, y in corners] for name, corners in content.items()}


def _is_point(corner: Any) -> bool:
    return (
        isinstance(corner, list)
        and len(corner) == 2
        and all(isinstance(side, int | float) and not isinstance(side, bool) and abs(side) < 1e6 for side in corner)
    )


class Zones:
    """Takes the labels in named polygons out of label maps; zones may overlap and reach beyond the picture.

    Raises VideoError for a zone in which no pixel of pictures of `width` x `height` lies.
    """

    def __init__(self, polygons: Mapping[str, Polygon], width: int, height: int) -> None:
        self._places = {name: _places(corners, width, height) for name, corners in polygons.items()}
        outside = [name for name, places in self._places.items() if not places.size]
        if outside:
            raise VideoError(
                f"the zone {outside[0]!r} lies outside of the pictures of {width}x{height} pixels: move it"
            )

    @property
    def names(self) -> list[str]:
        """Of the zones."""
        return list(self._places)

    def parts(self, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Each zone's name and (1, pixels) of its labels, of (height, width) labels."""
        flat = labels.reshape(-1)
        for name, places in self._places.items():
            yield name, flat[places][None]


def _places(corners: Polygon, width: int, height: int) -> np.ndarray:
    """Flat indices of the pixels in a polygon, its edge among them."""
    inside = Image.new("1", (width, height))
    ImageDraw.Draw(inside).polygon(list(corners), fill=1)
    return np.flatnonzero(np.asarray(inside))
