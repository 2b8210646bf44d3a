"""Image files: every picture of the project is opened here, whoever wants it."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL.TiffImagePlugin import BITSPERSAMPLE

from lmaseg.errors import VideoError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff") + (
    (".avif",) if features.check("avif") else ()
)
MOST_PIXELS, LONGEST_SIDE = 2**27, 16384  # 16384x8192; what declares more is damaged or malicious
SEQUENCES = ("PNG", "WEBP", "TIFF", "AVIF", "GIF")  # formats of several pictures: not those with previews, as JPEG
TURNED = range(5, 9)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112  # the EXIF tag
SUBFILE, OLD_SUBFILE, BRIGHTEST, LEAST_SAMPLE, MOST_SAMPLE = 254, 255, 281, 340, 341  # TIFF tags
REDUCED_OR_MASK = 0b101  # of the subfile type
DARK = 32  # a picture of more than 8 bits all whose levels are below this was probably scaled wrongly
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, UnidentifiedImageError, Image.DecompressionBombError)

Picture = NDArray[np.uint8]
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Page:
    """One of the pictures of an image file; most files hold one, animated WebP, PNG and AVIF and TIFF may hold more."""

    path: Path
    number: int = 0
    """Within the file, counted from 0."""
    size: tuple[int, int] = (0, 0)
    """(width, height) as its EXIF orientation wants it shown."""
    seconds: Fraction | None = None
    """How long an animation shows it; None where the file does not tell."""
    name: str = ""
    """The file's stem; where it holds several pictures, with the number in six digits behind it."""


def check_size(width: int, height: int, name: str | Path) -> None:
    """Refuse pictures that would take gigabytes each. Raises VideoError: a side or an area beyond bounds."""
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        most = f"{LONGEST_SIDE} a side or {MOST_PIXELS // 10**6} million in all"
        raise VideoError(f"{name} is {width}x{height} pixels, beyond {most}: scale it down first")


def pages_of(path: Path) -> list[Page]:
    """The pictures of a file in order, from its headers; reduced copies and masks in a TIFF are left out. Raises
    VideoError: it cannot be read, or is too large."""
    with _opened(path) as image:
        alone = [Page(path, 0, _shown_size(image), None, path.stem)]
        count = getattr(image, "n_frames", 1) if image.format in SEQUENCES else 1
        if count == 1:
            return alone
        pages = []
        for number in range(int(image.info.get("default_image", False)), count):  # shown by old programs only
            image.seek(number)
            tags = getattr(image, "tag_v2", {})
            if tags.get(SUBFILE, 0) & REDUCED_OR_MASK or tags.get(OLD_SUBFILE) == 2:
                continue
            if image.format in ("WEBP", "AVIF"):  # tell the time only of what is decoded
                image.load()
            milliseconds = image.info.get("duration")
            seconds = Fraction(milliseconds) / 1000 if milliseconds and milliseconds >= 1 else None
            pages.append(Page(path, number, _shown_size(image), seconds, f"{path.stem}_{number:06d}"))
        return pages or alone


def read_pages(pages: Iterable[Page], tell: Tell | None = None) -> Iterator[Picture]:
    """Pictures as (H, W, 3) uint8 RGB, upright; transparency over black, more than 8 bits brought down to 8.

    Neighbouring pages of one file are read in one pass.

    Args:
        tell: called with a sentence about each picture that is probably too dark or too bright; None warns of the first
            in a folder.

    Raises:
        VideoError: one cannot be read.
    """
    for path, neighbours in groupby(pages, lambda page: page.path):
        with _opened(path) as image:
            for page in neighbours:
                image.seek(page.number)
                yield _rgb(image, path, tell or _warning_once(path.parent))


def read_rgb(source: Path | Page, tell: Tell | None = None) -> Picture:
    """One picture as `read_pages` yields it."""
    page = source if isinstance(source, Page) else Page(source)
    return next(read_pages([page], tell))


def read_stored(source: Path | Page) -> tuple[Picture, Picture | None]:
    """A label map as it is stored, upright: (H, W) uint8 levels, and the (256, 3) uint8 colours of a palette.

    What is stored in colours comes as (H, W, 3) uint8 RGB.

    Raises:
        VideoError: it cannot be read, or holds levels beyond 255.
    """
    page = source if isinstance(source, Page) else Page(source)
    with _opened(page.path) as image:
        image.seek(page.number)
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "P":
            palette = np.frombuffer(bytes(upright.getpalette() or ()).ljust(768, b"\0"), np.uint8)
            return np.array(upright), palette.reshape(256, 3)
        if upright.mode in ("1", "L"):
            return np.array(upright, np.uint8), None
        if upright.mode == "F" or upright.mode.startswith("I"):
            levels = np.asarray(upright)
            if levels.dtype.kind == "f" or levels.min() < 0 or levels.max() > 255:
                what = f"no label map of one 8-bit channel (it holds levels up to {levels.max():g})"
                raise VideoError(f"{page.path} is {what}: give files of class ids, not the instance ones")
            return levels.astype(np.uint8), None
        return _rgb(image, page.path, _warning_once(page.path.parent)), None


def mode_of(path: Path) -> str:
    """Pillow's name for what the pixels of a file are, such as "P" for indexed colours; VideoError as `pages_of`."""
    with _opened(path) as image:
        return image.mode


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file, open; what Pillow raises about it within this becomes a VideoError."""
    if not path.is_file():  # a pipe would be waited for
        raise VideoError(f"{path} is not a file that can be read: replace it or take it out of the folder")
    try:
        with Image.open(path) as image:
            check_size(*image.size, path)
            yield image
    except UNREADABLE as error:
        why = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).rstrip(".") or "damaged"
        raise VideoError(f"{path} cannot be read ({why}): replace it or take it out of the folder") from error


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    # Pillow decodes a whole PNG to look for an orientation that is not in its header, and has turned a TIFF's size.
    told = image.format != "TIFF" and (image.format != "PNG" or any("exif" in key for key in map(str, image.info)))
    turned = told and image.getexif().get(ORIENTATION) in TURNED
    return (height, width) if turned else (width, height)


def _rgb(image: Image.Image, path: Path, tell: Tell) -> Picture:
    stored = [str(tile.args) for tile in getattr(image, "tile", [])[:1]]
    inverted = getattr(image, "tag_v2", {}).get(262) == 0
    deep = image.mode == "F" or image.mode.startswith("I")
    upright = ImageOps.exif_transpose(image)
    if deep:
        upright = Image.fromarray(_brought_down(np.asarray(upright), image, path, inverted))
    elif upright.has_transparency_data:
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright.convert("RGBA"))
    picture = np.array(upright.convert("RGB"))
    if deep or any(";16" in kind for kind in stored):
        _doubt(picture, path, tell)
    return picture


def _brought_down(levels: NDArray[Any], image: Image.Image, path: Path, inverted: bool) -> Picture:
    """Levels of more than 8 bits scaled to 8 bits, from the darkest to the brightest level that the file declares."""
    tags = getattr(image, "tag_v2", {})
    if levels.dtype.kind == "f":
        dark, bright = (_first(tags.get(tag), other) for tag, other in ((LEAST_SAMPLE, 0.0), (MOST_SAMPLE, 1.0)))
        scaled = 255 * (np.nan_to_num(levels) - dark) / max(bright - dark, 1e-9)
        eight = scaled.clip(0, 255).round().astype(np.uint8)
    else:
        bits = _bits(levels, image, path)
        eight = (levels.clip(0, 2**bits - 1).astype(np.int64) >> bits - 8).astype(np.uint8)
    return 255 - eight if inverted else eight


def _bits(levels: NDArray[Any], image: Image.Image, path: Path) -> int:
    """How many bits hold the levels: 16, or fewer where the file says so and its levels bear it out."""
    tags = getattr(image, "tag_v2", {})
    stated = [int(_first(tags.get(BITSPERSAMPLE), 16))]
    for tag in (BRIGHTEST, MOST_SAMPLE):
        most = int(_first(tags.get(tag), 0))
        if most & (most + 1) == 0:  # 4095, for example; another number is what happens to occur in the picture
            stated.append(most.bit_length())
    if image.format == "PNG":
        stated.append(_significant_bits(path))
    fewest = min(bits for bits in stated if bits >= 8)
    return fewest if fewest < 16 and levels.max() < 2**fewest else 16


def _significant_bits(path: Path) -> int:
    """How many bits of a grey PNG's samples are used, from its sBIT chunk; 16 without one."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            if head[4:] == b"sBIT":
                return int.from_bytes(file.read(1))
            file.seek(int.from_bytes(head[:4]) + 4, 1)
    return 16


def _first(value: Any, otherwise: float) -> float:
    """A TIFF tag's value, of several samples that of the first."""
    if value is None:
        return otherwise
    return float(value[0] if isinstance(value, tuple) else value)


@cache
def _warning_once(folder: Path) -> Tell:
    """Warns of the first picture of a folder, as the others are most likely like it."""
    told: list[str] = []

    def tell(line: str) -> None:
        if not told:
            told.append(line)
            warnings.warn(line, stacklevel=2)

    return tell


def _doubt(picture: Picture, path: Path, tell: Tell) -> None:
    """Say so where a picture of more than 8 bits came out all dark, or mostly white."""
    all_dark = picture.max() < DARK
    if all_dark or (picture == 255).mean() > 0.5:
        tell(
            f"{path} has more than 8 bits and comes out nearly {'black' if all_dark else 'white'}: scale the levels of "
            "such pictures to 0 to 65535 (floating point: 0 to 1), unless that is how they should look"
        )
