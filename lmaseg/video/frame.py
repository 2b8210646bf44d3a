"""A frame of a source, a picture with its time and its name; and what all sources of frames have."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One frame of a source, upright."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    pts: int
    """Presentation time in units of `time_base`; strictly increasing within a source."""
    time_base: Fraction
    """Seconds."""
    name: str = ""
    """The name of this frame's output files: six digits that count the wanted frames of a video, or an image file's
    stem; empty for a frame that only warms up."""
    warm_up: bool = False
    """Before the wanted start: fills the memory and is not to be written."""
    after_gap: bool = False
    """Damaged data was skipped just before this frame, or is in it, so that the memory must be emptied."""

    @property
    def time(self) -> Fraction:
        """Presentation time in seconds."""
        return self.pts * self.time_base


class FrameSource:
    """Base of what frames are taken from, once it is open; a context manager."""

    frames: int | None
    """How many to expect, without warm-up; None if it does not tell."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def stop(self) -> None:
        """Have a thread that iterates end after the current frame instead of waiting for the next one."""

    def close(self) -> None:
        """Free the source; frames already yielded stay valid."""
