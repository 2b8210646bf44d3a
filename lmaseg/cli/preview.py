"""The overlay in the terminal while a run goes on: two pixels to a character, above the progress line."""

import time

import numpy as np
from PIL import Image
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment

from lmaseg.labels import LabelSet
from lmaseg.render import overlay
from lmaseg.sinks import Labelled, Sink

INTERVAL = 0.1  # seconds between two pictures, at least
SHARE = 0.03  # of a core, at most, that drawing may take from the run
LINES_BELOW = 2  # for the progress line, and one to spare
HALF_BLOCK = "\N{UPPER HALF BLOCK}"
FIRST_OF_CUBE = 16  # of the 256 colours; those before are as the terminal's theme wants
BETWEEN_LEVELS = (48, 115, 155, 195, 235)  # of red, green and blue in the cube: 0, 95, 135, 175, 215, 255
RESET = "\x1b[0m"


class Preview(Sink):
    """Keeps the newest frame, and shows it when a display asks; frames in between are never drawn.

    A renderable of rich's: as many lines as the frame needs in the terminal's width and height.
    """

    def __init__(self, label_set: LabelSet, *, opacity: float, classes: list[int] | None) -> None:
        super().__init__()
        self._label_set, self._opacity, self._classes = label_set, opacity, classes
        self._newest: Labelled | None = None
        self._drawn: Labelled | None = None
        self._lines: list[str] = []
        self._next = 0.0

    def write(self, seen: Labelled) -> None:
        self._newest = seen

    def due(self) -> bool:
        """Whether there is another picture to show, and time for it."""
        return self._newest is not self._drawn and time.monotonic() >= self._next

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.due():
            began = time.thread_time()
            self._drawn = self._newest
            self._lines = self._draw(console)
            self._next = time.monotonic() + max(INTERVAL, (time.thread_time() - began) / SHARE)
        for line in self._lines:
            # As a control code a line goes out as it is: thousands of styled pieces each time would slow the run.
            yield Segment(line, None, [(ControlType.HOME,)])
            yield Segment.line()

    def _draw(self, console: Console) -> list[str]:
        assert self._newest
        image, labels = self._newest.frame.image, self._newest.labels
        columns, rows = fitting(image.shape[1], image.shape[0], console.width, console.height - LINES_BELOW)
        size = columns, 2 * rows
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=1.0))
        marks = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        shown = overlay(small, marks, self._label_set, self._opacity, self._classes)
        return half_blocks(shown, full_colour=console.color_system == "truecolor")


def fitting(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """(columns, rows) of characters, twice as high as wide, for a frame of width x height pixels in that much room."""
    scale = min(columns / width, 2 * rows / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def half_blocks(picture: np.ndarray, *, full_colour: bool = True) -> list[str]:
    """Lines of characters with escape codes that show a picture, its upper pixels as foreground.

    Args:
        picture: (2 * rows, columns, 3) uint8 RGB.
        full_colour: 24-bit colours, else the nearest of those that are the same in all 256-colour terminals.
    """
    full = [[f"2;{r};{g};{b}" for r, g, b in row] for row in picture.tolist()] if full_colour else None
    codes = full or _palette_codes(picture)
    return [_line(upper, lower) for upper, lower in zip(codes[::2], codes[1::2], strict=True)]


def _line(upper: list[str], lower: list[str]) -> str:
    parts, last = [], ("", "")
    for pair in zip(upper, lower, strict=True):
        if pair != last:
            parts.append(f"\x1b[38;{pair[0]};48;{pair[1]}m")
            last = pair
        parts.append(HALF_BLOCK)
    return "".join([*parts, RESET])


def _palette_codes(picture: np.ndarray) -> list[list[str]]:
    """Numbers of the nearest colours in the cube of red, green and blue that all 256-colour terminals share."""
    numbers = FIRST_OF_CUBE + np.searchsorted(BETWEEN_LEVELS, picture) @ (36, 6, 1)
    return [[f"5;{number}" for number in row] for row in numbers.tolist()]
