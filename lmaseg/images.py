"""Image sequences in, label maps out: the counterparts of a video's reader and writer."""

import glob
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lmaseg.errors import NoFrameError, VideoError
from lmaseg.video import Frame, VideoReader
from lmaseg.video.media import TIMEOUT, check_size
from lmaseg.video.span import Span

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
RATE = Fraction(30)  # frames per second that a sequence without times is given
TURNED = range(5, 9)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112  # the EXIF tag
UNREADABLE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


def is_image_source(source: str | Path) -> bool:
    """Whether a source is a folder, a glob pattern or an image file, rather than a video."""
    path = Path(source)
    if path.exists():
        return path.is_dir() or path.suffix.lower() in SUFFIXES
    return glob.has_magic(str(source)) and "://" not in str(source)


def open_source(
    source: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    stride: int = 1,
    warm_up: int = 0,
    threads: int | None = None,
    deinterlace: bool = True,
    strict: bool = False,
    live: bool = False,
    seek: bool = True,
    timeout: tuple[float, float] = TIMEOUT,
) -> "VideoReader | ImageReader":
    """The reader for a video, an address, a camera, a folder of images, a glob pattern or one image.

    See there for the arguments; those after `warm_up` are for videos, as unreadable images always raise.

    Raises:
        VideoError: as the readers do.
    """
    if is_image_source(source):
        return ImageReader(source, start=start, end=end, stride=stride, warm_up=warm_up)
    return VideoReader(
        source,
        start=start,
        end=end,
        stride=stride,
        warm_up=warm_up,
        threads=threads,
        deinterlace=deinterlace,
        strict=strict,
        live=live,
        seek=seek,
        timeout=timeout,
    )


class ImageReader:
    """The images of a folder or glob pattern as frames, in natural order (2 before 10); can be iterated again.

    Args:
        source: a folder, a glob pattern (`**` crosses folders), or an image file.
        start: seconds, at `rate` images a second; an image is wanted when start <= index / rate < end.
        end: seconds.
        stride: take every Nth image, counted from the first wanted one.
        warm_up: images to yield before the first wanted one, `stride` apart, marked `warm_up`.
        rate: images per second.

    Attributes:
        damaged, repaired, dropped, warnings, repeatable: as of `VideoReader`; nothing of that befalls images.
        paths: all the source's images in order.
        width, height: of every image, in pixels, as its EXIF orientation wants it shown.
        time_base: seconds; a frame's pts is its index among all images.
        frames: how many frames come, without warm-up.

    Raises:
        VideoError: no images, one that cannot be read, one of another size, or two that would share a name.
        ValueError: a stride under 1, or fewer than no frames to warm up.
    """

    sample_aspect_ratio: Fraction | None = None
    start_time = Fraction(0)
    damaged = 0
    repaired = 0
    dropped = 0
    repeatable = False  # there is no sound to copy

    def __init__(
        self,
        source: str | Path,
        *,
        start: float | None = None,
        end: float | None = None,
        stride: int = 1,
        warm_up: int = 0,
        rate: Fraction | int = RATE,
    ) -> None:
        if stride < 1 or warm_up < 0:
            raise ValueError(f"stride {stride} must be at least 1 and warm_up {warm_up} at least 0")
        self.path = source
        self.warnings: list[str] = []
        self.paths = _find(source)
        self.rate = Fraction(rate)
        self.time_base = 1 / self.rate
        self.width, self.height = _common_size(self.paths)
        span = Span(start, end)
        times = [index * self.time_base for index in range(len(self.paths))]
        wanted = [i for i, time in enumerate(times) if not span.is_before(time) and not span.is_past(time)][::stride]
        if not wanted:
            lasting = f"its {len(self.paths)} images last {len(self.paths) / float(self.rate):g} s"
            raise NoFrameError(f"{source} has no image between {span}: {lasting}")
        self.frames: int | None = len(wanted)
        self._indices = wanted
        self._warm_up = range(wanted[0] - stride, -1, -stride)[:warm_up][::-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stop(self) -> None:
        """Images are not waited for."""

    def close(self) -> None:
        """Nothing is held open between images."""

    def __iter__(self) -> Iterator[Frame]:
        for index in self._warm_up:
            yield self._frame(index, warm_up=True)
        for index in self._indices:
            yield self._frame(index, warm_up=False)

    def _frame(self, index: int, *, warm_up: bool) -> Frame:
        path = self.paths[index]
        image = read_image(path)
        if image.shape[:2] != (self.height, self.width):
            raise VideoError(f"{path} has changed its size since the start: leave the images as they are during a run")
        return Frame(image, index, self.time_base, "" if warm_up else path.stem, warm_up)


def read_image(path: Path) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, upright; transparency over black, 16 bits brought down to 8.

    Raises:
        VideoError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.array(_as_rgb(ImageOps.exif_transpose(image)))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts "2" before "10"; the text itself decides between names that differ in leading zeros only."""
    text = str(path)
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)], text


def _find(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = [file for file in _listed(path) if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    elif path.exists():
        found = [path]
    else:
        found = [file for file in _matching(os.path.expanduser(source)) if file.suffix.lower() in SUFFIXES]
    if not found:
        raise VideoError(f"{source} holds no images: give a folder or a quoted pattern with {' '.join(SUFFIXES)} files")
    found.sort(key=natural_key)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise VideoError(f"{folder} cannot be listed ({error.strerror}): see that it can be read") from error


def _matching(pattern: str) -> Iterator[Path]:
    """Files that a glob pattern means; `**` enters no linked folders, which may lead back to where they lie."""
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in Path(pattern).parts]
    if parts[-1] == "**":
        parts.append("*")
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    found = Path(*parts[:fixed]).glob(str(Path(*parts[fixed:])))
    hidden = any(part.startswith(".") for part in parts[fixed:])
    return (file for file in found if hidden or not any(part.startswith(".") for part in file.parts[fixed:]))


def _common_size(paths: list[Path]) -> tuple[int, int]:
    """(width, height) of all the images, from their headers; names must be unique, as outputs are named after them."""
    size, named = None, dict[str, Path]()
    for path in paths:
        if path.stem in named:
            raise VideoError(
                f"{named[path.stem]} and {path} would both be named {path.stem}: take one of them by a quoted pattern"
            )
        named[path.stem] = path
        shown = _shown_size(path)
        size = size or shown
        if shown != size:
            raise VideoError(
                f"{path} is {shown[0]}x{shown[1]} but {paths[0]} is {size[0]}x{size[1]}: give images of one size"
            )
    assert size is not None
    return size


def _shown_size(path: Path) -> tuple[int, int]:
    if not path.is_file():  # a pipe would be waited for
        raise VideoError(f"{path} is not a file that can be read: take it out of the folder")
    try:
        with Image.open(path) as image:
            width, height = image.size
            check_size(width, height, path)
            # Pillow decodes a whole PNG to look for an orientation that is not in its header.
            told = image.format != "PNG" or any("exif" in key for key in map(str, image.info))
            turned = told and image.getexif().get(ORIENTATION) in TURNED
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return (height, width) if turned else (width, height)


def _unreadable(path: Path, error: Exception) -> VideoError:
    why = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).rstrip(".") or "damaged"
    return VideoError(f"{path} cannot be read ({why}): replace it or take it out of the folder")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greys, which Pillow would clip at 255
        levels = np.asarray(image)
        return Image.fromarray((levels.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")
