"""An evaluation as people look at it: a table."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
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
