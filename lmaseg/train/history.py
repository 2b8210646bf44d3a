"""The history of a run: a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmaseg.paths import part_path

NAME = "history.csv"
MEASURES = ("step", "loss", "learning_rate", "images_per_second", "seconds")


class History:
    """Appends a row per report, with columns for the scores; rows after `step`, of an interrupted run, are dropped."""

    def __init__(self, folder: Path, scores: Sequence[str], *, step: int = 0) -> None:
        self._path = folder / NAME
        self._columns = [*MEASURES, *scores]
        kept = [row for row in self._rows() if int(row["step"]) <= step] if step else []
        self._rewrite(kept)

    def add(self, measures: Mapping[str, float]) -> None:
        """Write a row; columns without a measure stay empty."""
        with self._path.open("a", newline="") as file:
            row = {name: value if isinstance(value, int) else f"{value:.6g}" for name, value in measures.items()}
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with self._path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if None not in row.values()]  # a killed run may leave half a row

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        part = part_path(self._path)
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(self._path)
