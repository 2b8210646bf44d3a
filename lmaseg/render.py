"""Label maps as people look at them."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lmaseg.labels import LabelSet

LEGEND_LINE = 1 / 32  # of the picture's shorter side
LISTED = 1 / 1000  # of a frame's pixels: what a class covers at least to stand in the legend
KEPT = 30  # frames that a class which is gone stays in the legend
OUTLINE = 1 / 500  # of the picture's shorter side
CAPTION_LINE = 1 / 18  # of the picture's height
LEGEND_SHADE = 160  # of 255: how dark the legend's background is


def indexed(labels: np.ndarray, label_set: LabelSet) -> Image.Image:
    """(H, W) uint8 class ids as a palette image: pixels are the ids, shown in the classes' colours."""
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette(label_set.palette)
    return picture


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    label_set: LabelSet,
    opacity: float = 0.5,
    classes: Sequence[int] | None = None,
    outline: float | None = None,
) -> np.ndarray:
    """The classes' colours over the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids; where they stand for no class, the picture stays as it is.
        opacity: 0 leaves the picture as it is, 1 shows colours only.
        classes: ids of the classes to draw; None draws all.
        outline: opacity along the edges of regions, each side in its own colour; None draws no outlines.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = [i < len(label_set) and (classes is None or i in classes) for i in range(256)]
    ids = Image.fromarray(labels)
    opacities = ids.point([round(255 * opacity) * is_drawn for is_drawn in drawn])
    if outline is not None:
        lines = ids.point([round(255 * outline) * is_drawn for is_drawn in drawn])
        opacities.paste(lines, mask=Image.fromarray(edges(labels)))
    colors = indexed(labels, label_set).convert("RGB")
    return np.asarray(Image.composite(colors, Image.fromarray(image), opacities))


def edges(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: where regions of (H, W) class ids meet, `OUTLINE` wide on each side, but a pixel at least."""
    found = np.zeros(labels.shape, bool)
    for step in range(1, max(1, round(OUTLINE * min(labels.shape))) + 1):
        for one, other in ((labels, found), (labels.T, found.T)):
            differs = one[step:] != one[:-step]
            other[step:] |= differs
            other[:-step] |= differs
    return found


class View:
    """How an output video shows labelled frames: `overlay`, the colours over the picture.

    Args:
        label_set: names and colours of the classes.
        opacity: of the colours, from 0 to 1.
        classes: ids of the classes to draw; None draws all.
        outline: opacity along the edges of regions; None draws no outlines.
        legend: the corner in which to name the classes that are there, top-left or another; None names none.
    """

    def __init__(
        self,
        label_set: LabelSet,
        *,
        opacity: float = 0.5,
        classes: Sequence[int] | None = None,
        outline: float | None = None,
        legend: str | None = None,
    ) -> None:
        self._label_set, self._opacity, self._classes, self._outline = label_set, opacity, classes, outline
        drawn = range(len(label_set)) if classes is None else classes
        self._legend = Legend(label_set, drawn, legend) if legend else None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels of what is shown for a frame of that size."""
        return width, height

    def __call__(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame (H, W, 3) uint8 RGB and its (H, W) uint8 class ids."""
        shown = self._show(image, labels)
        return self._legend.over(shown, labels) if self._legend else shown

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return overlay(image, labels, self._label_set, self._opacity, self._classes, self._outline)


class Mask(View):
    """The classes' colours alone; what is not drawn is black."""

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return overlay(np.zeros_like(image), labels, self._label_set, 1, self._classes)


class SideBySide(View):
    """The picture, and the overlay to its right."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        return 2 * width, height

    def __call__(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.concatenate([image, super().__call__(image, labels)], axis=1)


class Contour(View):
    """The picture with the outlines of its regions, each side in its class's colour."""

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return overlay(image, labels, self._label_set, 0, self._classes, outline=1)


VIEWS: dict[str, Callable[..., View]] = {"overlay": View, "mask": Mask, "side-by-side": SideBySide, "contour": Contour}


class Legend:
    """The names of the classes that a frame shows beside their colours, in a corner such as top-left.

    A class is listed once it covers `LISTED` of a frame, and until it has covered less for `KEPT` frames, so that the
    list does not flicker. `classes` are the ids of those that may be listed.
    """

    def __init__(self, label_set: LabelSet, classes: Sequence[int], corner: str) -> None:
        self._label_set, self._classes = label_set, classes
        self._right, self._bottom = corner.endswith("right"), corner.startswith("bottom")
        self._last_seen: dict[int, int] = {}
        self._frames = 0
        self._drawn: tuple[tuple[int, int], list[int]] | None = None
        self._panel = Image.new("RGBA", (1, 1))

    def over(self, picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 RGB with the legend to its (H, W) uint8 class ids in the corner."""
        listed = self._listed(labels)
        shown = Image.fromarray(picture)
        if self._drawn != (shown.size, listed):
            self._drawn, self._panel = (shown.size, listed), self._draw(*shown.size, listed)
        left, top = self._right * (shown.width - self._panel.width), self._bottom * (shown.height - self._panel.height)
        shown.paste(self._panel, (left, top), self._panel)
        return np.asarray(shown)

    def _listed(self, labels: np.ndarray) -> list[int]:
        pixels = Image.fromarray(labels).histogram()
        self._frames += 1
        for i in self._classes:
            if pixels[i] >= LISTED * labels.size:
                self._last_seen[i] = self._frames
        return [i for i in self._classes if self._frames - self._last_seen.get(i, -KEPT) < KEPT]

    def _draw(self, width: int, height: int, listed: list[int]) -> Image.Image:
        if not listed:
            return Image.new("RGBA", (1, 1))
        names = [self._label_set.names[i] for i in listed]
        line = max(9, min(round(min(width, height) * LEGEND_LINE), height // (len(listed) + 1)))
        font = ImageFont.load_default(0.75 * line)
        longest = max(font.getlength(name) for name in names)
        panel = Image.new("RGBA", (round(2 * line + longest), line * len(listed) + line // 2), (0, 0, 0, LEGEND_SHADE))
        draw = ImageDraw.Draw(panel)
        for i, (name, number) in enumerate(zip(names, listed, strict=True)):
            color = (*self._label_set.colors[number], 255)
            top = line // 4 + i * line
            draw.rectangle((line // 3, top + line // 6, line * 1.2, top + line - line // 6), fill=color)
            draw.text((1.6 * line, top + line / 2), name, font=font, fill=(255, 255, 255, 255), anchor="lm")
        return panel


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB with a line of text in its upper left corner."""
    line = max(9, round(len(picture) * CAPTION_LINE))
    font = ImageFont.load_default(0.75 * line)
    label = Image.new("RGBA", (round(font.getlength(text) + line), line + line // 2), (0, 0, 0, LEGEND_SHADE))
    ImageDraw.Draw(label).text((line / 2, label.height / 2), text, (255, 255, 255, 255), font, "lm")
    shown = Image.fromarray(picture)
    shown.paste(label, (0, 0), label)
    return np.asarray(shown)
