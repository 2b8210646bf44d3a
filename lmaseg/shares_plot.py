"""The classes' shares of the picture over time, as a stacked area."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lmaseg.labels import LabelSet

WIDTH, HEIGHT = 900, 420  # pixels of the area
LEFT, TOP, BOTTOM, RIGHT, LINE = 60, 44, 48, 230, 22
FINER = 3  # times finer the area is drawn than shown, for smooth edges
AXIS = (80, 80, 80)
TICKS = 8  # at most this many times below the area
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds between two of them

Series = Sequence[tuple[int, Mapping[str, float]]]


def shares_plot(shares: Series, total: Mapping[str, float], label_set: LabelSet, title: str) -> Image.Image:
    """An RGB picture: time from left to right, the shares of all classes one on top of the other, and a legend.

    Args:
        shares: (second, each class's share, which sum to 1) in the order of time, at least one.
        total: the shares over all of it, for the legend.
        label_set: names and colours of the classes, drawn from its first class at the bottom.
        title: a line above.
    """
    picture = Image.new("RGB", (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM), "white")
    picture.paste(_area(shares, label_set), (LEFT, TOP))
    draw, plain = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((LEFT, TOP / 2), title, "black", ImageFont.load_default(16), "lm")
    _draw_axes(draw, plain, shares)
    _draw_legend(draw, plain, total, label_set)
    return picture


def _area(shares: Series, label_set: LabelSet) -> Image.Image:
    """(HEIGHT, WIDTH): a band per class, each second's share in its middle and level beyond the first and last."""
    first, last = _span(shares)
    middles = [second + 0.5 for second, _ in shares]
    times = np.array([first, *middles, last])
    tops = np.cumsum([[*each.values()] for _, each in (shares[0], *shares, shares[-1])], axis=1)  # (points, classes)
    x = (times - first) / (last - first) * WIDTH * FINER
    fine = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), "white")
    draw = ImageDraw.Draw(fine)
    for i in reversed(range(len(label_set))):  # each over the rest of those above it
        y = (1 - np.minimum(tops[:, i], 1)) * HEIGHT * FINER
        outline = [*zip(x.tolist(), y.tolist(), strict=True), (WIDTH * FINER, HEIGHT * FINER), (0, HEIGHT * FINER)]
        draw.polygon(outline, label_set.colors[i])
    return fine.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def _draw_axes(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, shares: Series) -> None:
    for percent in range(0, 101, 25):
        y = TOP + HEIGHT * (1 - percent / 100)
        draw.line((LEFT - 5, y, LEFT, y), AXIS)
        draw.text((LEFT - 9, y), f"{percent} %", AXIS, font, "rm")
    first, last = _span(shares)
    step = next((step for step in STEPS if (last - first) / step <= TICKS), 3600 * (1 + (last - first) // 28800))
    for second in range(-(-first // step) * step, last + 1, step):
        x = LEFT + (second - first) / (last - first) * WIDTH
        draw.line((x, TOP + HEIGHT, x, TOP + HEIGHT + 5), AXIS)
        draw.text((x, TOP + HEIGHT + 9), _clock(second), AXIS, font, "mt")
    draw.rectangle((LEFT, TOP, LEFT + WIDTH, TOP + HEIGHT), outline=AXIS)


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    total: Mapping[str, float],
    label_set: LabelSet,
) -> None:
    """Names and shares in the order of the bands, from the top down."""
    left = LEFT + WIDTH + 18
    for row, i in enumerate(reversed(range(len(label_set)))):
        y = TOP + 8 + row * LINE
        draw.rectangle((left, y - 7, left + 14, y + 7), label_set.colors[i], outline=AXIS)
        draw.text((left + 22, y), label_set.names[i], "black", font, "lm")
        draw.text((LEFT + WIDTH + RIGHT - 12, y), f"{total[label_set.names[i]]:.1%}", "black", font, "rm")


def _span(shares: Series) -> tuple[int, int]:
    """The seconds at the left and at the right edge."""
    return shares[0][0], shares[-1][0] + 1


def _clock(second: int) -> str:
    hours, rest = divmod(second, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
