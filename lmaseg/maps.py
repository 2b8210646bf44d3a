"""Folders of PNG maps, one per frame: class ids, and how sure the network was of them."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from lmaseg.errors import VideoError
from lmaseg.labels import LabelSet
from lmaseg.paths import check_places, is_clutter, part_path, publish, writing
from lmaseg.pictures import mode_of

NUMBERED = re.compile(r"\d{6,}\.png")  # as frames of a video are


class MapWriter:
    """A folder of PNG maps, one per frame; a context manager.

    Written into FOLDER.part beside it, which becomes FOLDER when left without an exception and stays otherwise.

    Args:
        folder: the output. New files replace those of the same name, older maps that are numbered as ours are removed,
            and others stay.
        overwrite: whether the folder may hold files.
        keep: whether maps that a killed run left in the part stay there.
        inputs: files that are being read, which must lie elsewhere.

    Attributes:
        part_path: where the files are until all are written.
        frames: maps written.
        warnings: a line on other files that stay in the folder.

    Raises:
        VideoError: a folder that cannot be written or may not be overwritten.
    """

    MODES: tuple[str, ...] = ()
    """Pillow's modes of the pictures that are written."""

    def __init__(
        self,
        folder: str | Path,
        *,
        overwrite: bool = False,
        keep: bool = False,
        inputs: Iterable[Path] = (),
    ) -> None:
        self.folder = Path(folder)
        self.part_path = part_path(self.folder)
        self.frames = 0
        self.warnings: list[str] = []
        self._keep = keep
        if not {path.resolve().parent for path in inputs}.isdisjoint({self.folder.resolve(), self.part_path.resolve()}):
            raise VideoError(f"{self.folder} holds the images that are read: write the label maps elsewhere")
        check_places([self.folder], overwrite=overwrite, folders=[self.folder])

    def __enter__(self) -> Self:
        with writing(self.folder):
            self.part_path.mkdir(exist_ok=True)
            for left_over in [] if self._keep else self.part_path.glob("*.png"):  # of a run that was cut short
                left_over.unlink()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            self._publish()
        else:
            with suppress(OSError):  # it holds maps, or is gone
                self.part_path.rmdir()

    def _save(self, image: Image.Image, name: str) -> None:
        with writing(self.folder):
            image.save(self.part_path / f"{name}.png", compress_level=1)
        self.frames += 1

    def _publish(self) -> None:
        with writing(self.folder):
            if not self.folder.exists():
                publish(self.folder)
                return
            written = {file.name for file in self.part_path.iterdir()}
            for name in written:
                (self.part_path / name).replace(self.folder / name)
            self.part_path.rmdir()
            self._remove_older(written)

    def _remove_older(self, written: set[str]) -> None:
        """Remove the maps of an earlier run that carry our numbers; say how many other files there are."""
        others = [file for file in self.folder.iterdir() if file.name not in written and not is_clutter(file)]
        stale = [file for file in others if NUMBERED.fullmatch(file.name) and self._is_map(file)]
        for file in stale:
            file.unlink()
        if stale:
            self.warnings.append(f"{len(stale)} maps of an earlier run were removed from {self.folder}")
        if len(others) > len(stale):
            self.warnings.append(f"{self.folder} holds {len(others) - len(stale)} other files, which were left")

    def _is_map(self, file: Path) -> bool:
        """Whether a PNG is of the kind that is written here, rather than somebody's picture."""
        try:
            return mode_of(file) in self.MODES
        except VideoError:
            return False


class LabelMapWriter(MapWriter):
    """A folder of indexed PNG label maps in the colours of `label_set`; for the others see `MapWriter`."""

    MODES = ("P",)

    def __init__(self, folder: str | Path, label_set: LabelSet, **options: Any) -> None:
        super().__init__(folder, **options)
        self._palette = label_set.palette

    def write(self, labels: np.ndarray, name: str) -> None:
        """Write (H, W) uint8 class ids as NAME.png; ValueError for others, VideoError if the disk failed."""
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ValueError(f"expected (H, W) uint8 class ids, got {labels.shape} {labels.dtype}")
        image = Image.fromarray(np.ascontiguousarray(labels))
        image.putpalette(self._palette)
        self._save(image, name)


class ConfidenceMapWriter(MapWriter):
    """A folder of 16-bit grey PNG maps: 0 for a probability of 0, 65535 for 1."""

    MODES = ("I;16", "I")

    def write(self, confidence: np.ndarray, name: str) -> None:
        """Write (H, W) floating point probabilities as NAME.png. Raises VideoError: the disk failed."""
        self._save(Image.fromarray((confidence.astype(np.float32) * 65535).round().astype(np.uint16)), name)
