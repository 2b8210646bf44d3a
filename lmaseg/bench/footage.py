"""The moving pictures that are timed: the beginning of a video, or a view that moves over a drawn picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lmaseg.video import VideoReader, VideoWriter

FRAMES = 48  # enough that starting up and flushing an encoder hardly count
SHAPES = 400  # rectangles in the drawn picture
PAN = 4  # pixels that the view moves from frame to frame
RATE = 30


@dataclass(frozen=True)
class Footage:
    """Decoded frames, the file they came from, and a folder for what is encoded while timing."""

    frames: tuple[np.ndarray, ...]
    """(H, W, 3) uint8 RGB, all of one size."""
    path: Path
    end: float | None
    """Seconds after the file's start: where the frames end; None for all of the file."""
    folder: Path

    def read(self) -> VideoReader:
        """A reader of these frames."""
        return VideoReader(self.path, end=self.end)

    def write(self) -> VideoWriter:
        """A writer of frames of this size, over what was written before."""
        height, width = self.frames[0].shape[:2]
        return VideoWriter(
            self.folder / "out.mp4",
            width=width,
            height=height,
            time_base=Fraction(1, RATE),
            rate=RATE,
            overwrite=True,
        )


@contextmanager
def open_footage(video: Path | None, size: tuple[int, int]) -> Iterator[Footage]:
    """At most `FRAMES` frames of a video, or a drawn view of that (height, width); its files go when it is left.

    Raises:
        VideoError: what `VideoReader` raises.
    """
    with TemporaryDirectory(prefix="lmaseg-bench-") as name:
        folder = Path(name)
        path = video or _draw_view(folder / "view.mp4", *size)
        with VideoReader(path) as reader:
            frames = list(islice(reader, FRAMES + 1))
            end = float(frames[FRAMES].time - reader.start_time) if len(frames) > FRAMES else None
        yield Footage(tuple(frame.image for frame in frames[:FRAMES]), path, end, folder)


def _draw_view(path: Path, height: int, width: int) -> Path:
    rng = np.random.default_rng(0)
    picture = np.empty((height, width + PAN * FRAMES, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3, np.uint8)
    for _ in range(SHAPES):
        y, x = rng.integers(0, picture.shape[:2])
        down, across = rng.integers(1, max(2, height // 4), 2)
        picture[y : y + down, x : x + across] = rng.integers(0, 256, 3, np.uint8)
    with VideoWriter(path, width=width, height=height, time_base=Fraction(1, RATE), rate=RATE) as writer:
        for index in range(FRAMES):
            writer.write(np.ascontiguousarray(picture[:, PAN * index : PAN * index + width]), index)
    return path
