"""A benchmark as a picture: the ratios, then every chart with its bars."""

from textwrap import wrap
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from lmaseg.cli.bench_tables import Chart, charts, heading, milliseconds, ratios

if TYPE_CHECKING:
    from lmaseg.bench import Report

WIDTH, LEFT, BARS, MARGIN = 1000, 300, 480, 20  # pixels
LINE, TITLE = 22, 34
STRONG, PLAIN = (35, 110, 180), (190, 190, 190)
LINE_LENGTH = 120  # characters


def report_plot(report: "Report") -> Image.Image:
    """An RGB picture of a report."""
    lines = wrap(heading(report), LINE_LENGTH)
    lines += [f"{spread.median:.2f}x   {label}" for label, spread in ratios(report)]
    shown = charts(report)
    height = 2 * MARGIN + len(lines) * LINE + sum(TITLE + len(chart.rows) * LINE for chart in shown)
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(picture)
    top = MARGIN
    for line in lines:
        draw.text((MARGIN, top), line, "black", ImageFont.load_default(14))
        top += LINE
    for chart in shown:
        _draw_chart(draw, chart, top)
        top += TITLE + len(chart.rows) * LINE
    return picture


def _draw_chart(draw: ImageDraw.ImageDraw, chart: Chart, top: int) -> None:
    plain, large = ImageFont.load_default(13), ImageFont.load_default(16)
    base = top + TITLE - 6
    draw.text((MARGIN, base), f"{chart.title}, ms", "black", large, "ls")
    draw.text((WIDTH - MARGIN, base), chart.note, "black", plain, "rs")
    for number, row in enumerate(chart.rows):
        y = top + TITLE + number * LINE + LINE // 2
        length = BARS * row.seconds / chart.longest
        draw.text((LEFT - 8, y), row.label, "black", plain, "rm")
        draw.rectangle((LEFT, y - 7, LEFT + length, y + 7), STRONG if row.strong else PLAIN)
        draw.text((LEFT + length + 6, y), milliseconds(row.seconds), "black", plain, "lm")
        draw.text((WIDTH - MARGIN, y), row.note, "black", plain, "rm")
