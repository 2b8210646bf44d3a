"""An evaluation as people look at it: a table and a picture."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from PIL.Image import Image

    from lmaseg.scores import Evaluation

OWN_PAST = "own past"
TEMPORAL_NAMES = {
    "mvc8": "mVC8",
    "mvc8Strict": "mVC8, steady and right",
    "mvc16": "mVC16",
    "mvc16Strict": "mVC16, steady and right",
    "flicker": "flicker",
}


def score_table(name: str, columns: "Mapping[str, Evaluation]") -> Table:
    """Classes, their share of the pixels and their IoU, then the means; all in per cent.

    With several evaluations, a last column has what the last gains over the first.
    """
    first = next(iter(columns.values()))
    seconds = sum(evaluation.seconds for evaluation in columns.values())
    caption = "own past: each frame's own key and value in place of every past one" if OWN_PAST in columns else None
    table = Table(
        title=f"{name}: {first.frames} labelled frames in {seconds:.1f} s",
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("class")
    for heading in ("pixels %", *columns, *(("difference",) if len(columns) > 1 else ())):
        table.add_column(heading, justify="right")
    for i, class_name in enumerate(first.labels.names):
        share = f"{100 * first.pixel_shares[i]:.2f}"
        if first.known[i]:
            _add_row(table, class_name, share, [float(e.class_ious[i]) for e in columns.values()])
        else:
            table.add_row(class_name, share, *["unknown"] * len(columns), style="dim")
    table.add_section()
    for label, scores in _summary(list(columns.values())):
        _add_row(table, label, "", scores)
    return table


def _summary(evaluations: "list[Evaluation]") -> list[tuple[str, list[float]]]:
    from lmaseg.metrics import mean_iou

    first = evaluations[0]
    categories = sum(not math.isnan(iou) for iou in first.category_ious.values())
    unknown = first.known.count(False)
    aside = f", {unknown} unknown to the weights" if unknown else ""
    classes = f"mean IoU of {first.classes_in_mean} classes{aside}"
    rows = [
        (classes, [e.mean_iou for e in evaluations]),
        (f"mean IoU of {categories} categories", [mean_iou(e.category_ious.values()) for e in evaluations]),
        ("pixel accuracy", [e.pixel_accuracy for e in evaluations]),
    ]
    temporal = [(label, [e.temporal[key] for e in evaluations]) for key, label in TEMPORAL_NAMES.items()]
    return rows + [(label, shares) for label, shares in temporal if not math.isnan(shares[0])]


def _add_row(table: Table, label: str, share: str, scores: list[float]) -> None:
    cells = ["-" if math.isnan(score) else f"{100 * score:.2f}" for score in scores]
    if len(scores) > 1:
        gain = scores[-1] - scores[0]
        cells.append("-" if math.isnan(gain) else f"{100 * gain:+.2f}")
    table.add_row(label, share, *cells)


def score_plot(columns: "Mapping[str, Evaluation]") -> "Image":
    """A bar of IoU for every class and evaluation, one under the other: the last in the class's colour, others grey."""
    from PIL import Image, ImageDraw, ImageFont

    first = next(iter(columns.values()))
    bar, left, width, gap = 16, 150, 600, 10
    row = bar * len(columns) + gap
    picture = Image.new("RGB", (left + width + 70, row * len(first.labels) + 3 * gap + bar), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for i, class_name in enumerate(first.labels.names):
        top = gap + i * row
        draw.text((left - 8, top + (row - gap) / 2), class_name, fill="black", font=font, anchor="rm")
        for n, evaluation in enumerate(columns.values()):
            iou = float(evaluation.class_ious[i])
            color = first.labels.colors[i] if n == len(columns) - 1 else (190, 190, 190)
            end, y = left + (0 if math.isnan(iou) else iou * width), top + n * bar
            draw.rectangle((left, y, end, y + bar - 2), fill=color)
            draw.text((end + 6, y + 7), "-" if math.isnan(iou) else f"{100 * iou:.1f}", "black", font, "lm")
    legend = " / ".join(f"{name}: mean {100 * evaluation.mean_iou:.1f}" for name, evaluation in columns.items())
    draw.text((left, picture.height - gap - bar), f"IoU in per cent, {legend}", fill="black", font=font)
    return picture
