"""Image sequences in: the counterpart of a video's reader."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

from lmaseg.errors import NoFrameError, VideoError
from lmaseg.paths import is_clutter
from lmaseg.pictures import SUFFIXES, Page, pages_of, read_pages
from lmaseg.video import Frame, VideoReader
from lmaseg.video.frame import FrameSource
from lmaseg.video.span import Since, Span

RATE = Fraction(30)  # frames per second of a sequence; an animation alone has times of its own
MILLISECOND = Fraction(1, 1000)
NUMBER = re.compile(r"%(0(\d+))?d")  # in the name of a sequence as FFmpeg takes it, such as frame%04d.png

NO_NAME = re.compile(rf"[*?[]|{NUMBER.pattern}")  # patterns


def is_image_source(source: str | Path) -> bool:
    """Whether a source is a folder, a glob pattern, a numbered name or an image file, rather than a video. Raises
    VideoError: a place that may not be looked at, or a name too long for its file system."""
    path = Path(source)
    try:
        exists = path.exists()
    except OSError as error:
        raise VideoError(f"{source} cannot be looked at ({error.strerror}): check name and rights") from error
    if exists:
        return path.is_dir() or path.suffix.lower() in SUFFIXES
    if "://" in str(source):
        return False
    return glob.has_magic(str(source)) or (NUMBER.search(path.name) is not None and path.suffix.lower() in SUFFIXES)


def gathered(sources: Sequence[str]) -> list[str]:
    """Sources as a shell hands them over: several images are one sequence, and their pattern comes first.

    What systems put beside files is left out.

    Raises:
        VideoError: no pattern means just these images.
    """
    sources = [source for source in sources if len(sources) == 1 or not is_clutter(Path(source))]
    images = [source for source in sources if os.path.isfile(source) and is_image_source(source)]
    if len(images) < 2:
        return sources
    suffixes = {Path(image).suffix for image in images}
    suffix = suffixes.pop() if len(suffixes) == 1 else ""
    start = os.path.commonprefix([image.removesuffix(suffix) for image in images])  # noqa: RUF071
    for between in ("*", "?" * len(images[0].removesuffix(suffix).removeprefix(start))):
        pattern = f"{glob.escape(start)}{between}{suffix}"
        if set(filter(_is_image, _matching(pattern))) == set(map(Path, images)):
            return [pattern, *(source for source in sources if source not in set(images))]
    raise VideoError(
        f"{images[0]} and {len(images) - 1} more images are one sequence, but no pattern means just these: "
        "quote the pattern, as in 'frames/*.png', or give the folder"
    )


def name_of(source: str | Path) -> str:
    """The name for a source's outputs: its own without the suffix or, for a pattern, that of its folder."""
    path = Path(os.path.abspath(source))
    return path.parent.name if not os.path.exists(path) and NO_NAME.search(path.name) else path.stem


def open_source(
    source: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    stride: int = 1,
    warm_up: int = 0,
    warm_up_since: Since | None = None,
    **video: Any,
) -> "VideoReader | ImageReader":
    """The reader for a video, an address, a camera, a folder of images, a glob pattern or one image.

    See there for the arguments and errors; `video` has further ones of `VideoReader`, which images do not need.
    """
    lead: dict[str, Any] = {"warm_up": warm_up, "warm_up_since": warm_up_since}
    if is_image_source(source):
        return ImageReader(source, start=start, end=end, stride=stride, **lead)
    return VideoReader(source, start=start, end=end, stride=stride, **lead, **video)


class ImageReader(FrameSource):
    """The images of a folder or pattern as frames, in natural order (2 before 10); can be iterated again.

    Of an animated WebP, PNG or AVIF and of a TIFF with several pages, every picture is a frame.

    Args:
        source: a folder, a glob pattern (`**` crosses folders), a name with a number as FFmpeg takes it
            (`frame%04d.png`), or an image file.
        start, end: seconds; an image is wanted when start <= its time < end.
        stride: take every Nth image, counted from the first wanted one.
        warm_up: images to yield before the first wanted one, `stride` apart, marked `warm_up`.
        warm_up_since: as in `VideoReader`.

    Attributes:
        paths: all the source's files in order; for the others see `VideoReader`.
        time_base: seconds; a frame's pts is its index among all images, in an animation milliseconds.

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
        warm_up_since: Since | None = None,
    ) -> None:
        if stride < 1 or warm_up < 0:
            raise ValueError(f"stride {stride} must be at least 1 and warm_up {warm_up} at least 0")
        self.path = source
        self.warnings: list[str] = []
        self.paths = find_images(source)
        self._pages = _pages(self.paths)
        self.width, self.height = self._pages[0].size
        self._pts, self.time_base, self.rate = _times(self._pages)
        span = Span(start, end)
        times = [pts * self.time_base for pts in self._pts]
        wanted = [i for i, time in enumerate(times) if not span.is_before(time) and not span.is_past(time)][::stride]
        if not wanted:
            lasting = f"its {len(times)} images last {len(times) / float(self.rate):g} s"
            raise NoFrameError(f"{source} has no image between {span}: {lasting}")
        self.frames = len(wanted)
        self._indices = wanted
        earlier = range(wanted[0] - stride, -1, -stride)
        span = Span(float(times[wanted[0]]))
        self._warm_up = [
            i for count, i in enumerate(earlier) if count < warm_up or span.leads_in(times[i], warm_up_since)
        ][::-1]

    def __iter__(self) -> Iterator[Frame]:
        indices = [*self._warm_up, *self._indices]
        images = read_pages((self._pages[index] for index in indices), self._warn)
        for place, (index, image) in enumerate(zip(indices, images, strict=True)):
            page = self._pages[index]
            if image.shape[:2] != (self.height, self.width):
                raise VideoError(f"{page.path} has changed its size since the start: leave it as it is during a run")
            warm_up = place < len(self._warm_up)
            yield Frame(image, self._pts[index], self.time_base, "" if warm_up else page.name, warm_up)

    def _warn(self, line: str) -> None:
        if not self.warnings:  # of one picture: the others are most likely like it
            self.warnings.append(line)


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts "2" before "10"; the text itself decides between names that differ in leading zeros only."""
    text = str(path)
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)], text


def find_images(source: str | Path) -> list[Path]:
    """The image files of a folder or a pattern, or the one named, in natural order; VideoError if there are none."""
    path = Path(source)
    if path.is_dir():
        found = [file for file in _listed(path) if _is_image(file) and not file.name.startswith(".")]
    elif path.exists():
        return [path]
    elif NUMBER.search(path.name):
        found = _numbered(path.expanduser())
    else:
        found = [file for file in _matching(os.path.expanduser(source)) if _is_image(file)]
    if not found:
        what = "holds no images" if path.exists() else "does not exist, and as a pattern holds no images"
        raise VideoError(f"{source} {what}: give a folder or a quoted pattern with {' '.join(SUFFIXES)} files")
    found.sort(key=natural_key)
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_clutter(path)


def _numbered(pattern: Path) -> list[Path]:
    """Files whose names are a pattern such as frame%04d.png with a number in it, of at least that many digits."""
    before, zeros, digits, after = NUMBER.split(pattern.name, maxsplit=1)
    number = rf"\d{{{digits}}}|[1-9]\d{{{digits},}}" if zeros else r"0|[1-9]\d*"
    name = re.compile(f"{re.escape(before)}(?:{number}){re.escape(after)}")
    return [file for file in _listed(pattern.parent) if name.fullmatch(file.name)]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise VideoError(f"{folder} cannot be listed ({error.strerror}): check its permissions") from error


def _matching(pattern: str) -> Iterator[Path]:
    """Files that a glob pattern means; `**` enters no linked folders, which may lead back to where they lie."""
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in Path(pattern).parts]
    if parts[-1] == "**":
        parts.append("*")
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    found = Path(*parts[:fixed]).glob(str(Path(*parts[fixed:])))
    hidden = any(part.startswith(".") for part in parts[fixed:])
    return (file for file in found if hidden or not any(part.startswith(".") for part in file.parts[fixed:]))


def _pages(paths: list[Path]) -> list[Page]:
    """The pictures of all files, which must be of one size and unique in name, as outputs are named after them."""
    pages, named = list[Page](), dict[str, Path]()
    for path in paths:
        if path.stem in named:
            both = f"{named[path.stem]} and {path} would both be named {path.stem}"
            raise VideoError(f"{both}: take one of them by a quoted pattern")
        named[path.stem] = path
        pages += pages_of(path)
    if len(paths) == 1 and len(pages) > 1:  # named as the frames of a video are
        pages = [replace(page, name=f"{number:06d}") for number, page in enumerate(pages)]
    first = pages[0]
    for page in pages:
        if page.size != first.size:
            sizes = "{}x{} but {} is {}x{}".format(*page.size, first.path, *first.size)
            raise VideoError(f"{page.path} is {sizes}: give images of one size")
    return pages


def _times(pages: list[Page]) -> tuple[list[int], Fraction, Fraction]:
    """Every picture's pts, their unit in seconds, and pictures per second."""
    if len({page.path for page in pages}) > 1 or any(page.seconds is None for page in pages):
        return list(range(len(pages))), 1 / RATE, RATE
    ends = list(accumulate(page.seconds for page in pages if page.seconds))
    pts = [0, *(round(end / MILLISECOND) for end in ends)]
    return pts[:-1], MILLISECOND, len(pages) / ends[-1]
