"""Label maps as people look at them."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lmaseg.labels import LabelSet

LEGEND_LINE = 1 / 30  # of the picture's height
CAPTION_LINE = 1 / 18  # of the picture's height
LEGEND_SHADE = 160  # of 255: how dark the legend's background is


def indexed(labels: np.ndarray, label_set: LabelSet) -> Image.Image:
    """(H, W) uint8 class ids as a palette image: pixels are the ids, shown in the classes' colours."""
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette(label_set.palette)
    return picture


def color_map(labels: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """(H, W) uint8 class ids -> (H, W, 3) uint8 RGB; ids without a class are black."""
    return np.asarray(indexed(labels, label_set).convert("RGB"))


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    label_set: LabelSet,
    opacity: float = 0.5,
    classes: Sequence[int] | None = None,
) -> np.ndarray:
    """The classes' colours over the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids; those without a class are drawn in black.
        opacity: 0 leaves the picture as it is, 1 shows colours only.
        classes: ids of the classes to draw; None draws all.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture, colors = Image.fromarray(image), indexed(labels, label_set).convert("RGB")
    if classes is None:
        return np.asarray(Image.blend(picture, colors, opacity))
    opacities = [round(255 * opacity) * (i in classes) for i in range(256)]
    return np.asarray(Image.composite(colors, picture, Image.fromarray(labels).point(opacities)))


class View:
    """How an output video shows labelled frames: `overlay`, the colours over the picture.

    Args:
        label_set: names and colours of the classes.
        opacity: of the colours, from 0 to 1.
        classes: ids of the classes to draw; None draws all.
        legend: whether to name the drawn classes in a corner.
    """

    def __init__(
        self,
        label_set: LabelSet,
        *,
        opacity: float = 0.5,
        classes: Sequence[int] | None = None,
        legend: bool = False,
    ) -> None:
        self._label_set, self._opacity, self._classes = label_set, opacity, classes
        self._legend = Legend(label_set, range(len(label_set)) if classes is None else classes) if legend else None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels of what is shown for a frame of that size."""
        return width, height

    def __call__(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame (H, W, 3) uint8 RGB and its (H, W) uint8 class ids."""
        shown = self._show(image, labels)
        return self._legend.over(shown) if self._legend else shown

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return overlay(image, labels, self._label_set, self._opacity, self._classes)


class Mask(View):
    """The classes' colours alone; what is not drawn is black."""

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return overlay(np.zeros_like(image), labels, self._label_set, 1, self._classes)


class SideBySide(View):
    """The picture, and the overlay to its right."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        return 2 * width, height

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.concatenate([image, super()._show(image, labels)], axis=1)


class Contour(View):
    """The picture with the outlines of its regions, each side in its class's colour."""

    def _show(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        edge = np.zeros(labels.shape, bool)
        for near, far in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
            differs = labels[near] != labels[far]
            edge[near] |= differs
            edge[far] |= differs
        return np.where(edge[..., None], overlay(image, labels, self._label_set, 1, self._classes), image)


VIEWS: dict[str, Callable[..., View]] = {"overlay": View, "mask": Mask, "side-by-side": SideBySide, "contour": Contour}


class Legend:
    """A list of class names beside their colours, drawn once per size of picture."""

    def __init__(self, label_set: LabelSet, classes: Sequence[int]) -> None:
        self._entries = [(label_set.names[i], label_set.colors[i]) for i in classes]
        self._panel = Image.new("RGBA", (1, 1))
        self._height = 0

    def over(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 RGB with the legend in its upper left corner."""
        if self._height != len(picture):
            self._height, self._panel = len(picture), self._draw(len(picture))
        shown = Image.fromarray(picture)
        shown.paste(self._panel, (0, 0), self._panel)
        return np.asarray(shown)

    def _draw(self, height: int) -> Image.Image:
        line = max(9, min(round(height * LEGEND_LINE), height // max(1, len(self._entries) + 1)))
        font = ImageFont.load_default(0.75 * line)
        width = round(2.2 * line + max((font.getlength(name) for name, _ in self._entries), default=0))
        panel = Image.new("RGBA", (width, line * len(self._entries) + line // 2), (0, 0, 0, LEGEND_SHADE))
        draw = ImageDraw.Draw(panel)
        for i, (name, color) in enumerate(self._entries):
            top = line // 4 + i * line
            draw.rectangle((line // 3, top + line // 6, line * 1.2, top + line - line // 6), fill=(*color, 255))
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
