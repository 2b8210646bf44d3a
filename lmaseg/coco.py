"""Label maps as annotations in the form of COCO, one per frame and class, as run lengths.

The form is that of COCO-Stuff's annotations: https://github.com/nightrome/cocostuff, and `common/maskApi.c` of
https://github.com/cocodataset/cocoapi says how run lengths are packed into text.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from lmaseg._version import __version__
from lmaseg.labels import LabelSet
from lmaseg.sinks import Labelled, LineFile, Sink
from lmaseg.video import Frame

MORE = 32  # added to five bits where more of the number follow
FIRST_LETTER = 48


def annotations(labels: np.ndarray, classes: int, image_id: int) -> Iterator[dict[str, Any]]:
    """The classes of a frame as COCO knows them, categories being class ids plus 1.

    Args:
        labels: (H, W) uint8 class ids; those from `classes` on are left out.
        image_id: counts frames from 1; it decides the annotations' ids.
    """
    height, width = labels.shape
    down = labels.T.reshape(-1)  # COCO counts down the columns
    starts = np.concatenate([[0], np.flatnonzero(down[1:] != down[:-1]) + 1])
    lengths = np.diff(starts, append=down.size)
    of_run = down[starts]
    for i in np.unique(of_run[of_run < classes]).tolist():
        mine = of_run == i
        first, length = starts[mine], lengths[mine]
        yield {
            "id": (image_id - 1) * classes + i + 1,
            "image_id": image_id,
            "category_id": i + 1,
            "segmentation": {"size": [height, width], "counts": packed(run_lengths(first, length, down.size))},
            "area": int(length.sum()),
            "bbox": _box(first, first + length - 1, height),
            "iscrowd": 0,
        }


def run_lengths(first: np.ndarray, length: np.ndarray, size: int) -> np.ndarray:
    """Lengths of runs outside and inside a mask in turn, beginning outside, of a mask of `size` pixels."""
    inside_and_out = np.empty(2 * len(first), np.int64)
    inside_and_out[::2] = np.diff(first, prepend=0)
    inside_and_out[2::2] -= length[:-1]
    inside_and_out[1::2] = length
    rest = size - int(first[-1] + length[-1])
    return np.append(inside_and_out, rest) if rest else inside_and_out


def packed(runs: np.ndarray) -> str:
    """Run lengths as COCO's text: from the fourth on their differences to those two before, five bits a letter."""
    left = runs.astype(np.int64)
    left[3:] -= runs[1:-2]
    letters, going_on = [], np.ones(len(left), bool)
    while going_on.any():
        bits = left & 31
        left = left >> 5
        more = np.where(bits & 16, left != -1, left != 0)
        letters.append(np.where(going_on, bits + MORE * more + FIRST_LETTER, 0))
        going_on = going_on & more
    table = np.stack(letters, axis=1).astype(np.uint8)
    return table[table > 0].tobytes().decode("ascii")


def _box(first: np.ndarray, last: np.ndarray, height: int) -> list[int]:
    """[left, top, width, height] around runs that go down the columns."""
    left, right = int(first[0]) // height, int(last[-1]) // height
    top, bottom = 0, height - 1
    if (first // height == last // height).all():
        top, bottom = int((first % height).min()), int((last % height).max())
    return [left, top, right - left + 1, bottom - top + 1]


class CocoFile(Sink):
    """A JSON file in COCO's form: an image per frame, an annotation per class in it.

    Written line by line as the frames come, so that a long video takes no more memory than a short one but for its
    frames' names. Categories are class ids plus 1, as many tools take 0 for the background.

    Args:
        keep: frames that the file's part holds from a run that was cut short.
        files: the names of image files by those of frames; other frames are called NAME.png, as label maps are.
    """

    def __init__(
        self, output: Path, label_set: LabelSet, *, keep: int = 0, files: Mapping[str, str] | None = None
    ) -> None:
        self._file = LineFile(output, keep=keep)
        super().__init__(self._file)
        self._label_set, self._files = label_set, files or {}
        self._images: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self._any = any(line.rstrip().endswith("}") for line in self._file.kept)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            try:
                self._file.write_text(f'],\n"images": {json.dumps(self._images)}}}')
            except BaseException as failed:
                super().__exit__(type(failed), failed, failed.__traceback__)
                raise
        super().__exit__(kind, error, traceback)

    def write(self, seen: Labelled) -> None:
        begun = "" if self._images else self._beginning()
        self.skip(seen.frame)
        found = annotations(seen.labels, len(self._label_set), image_id=len(self._images))
        line = ", ".join(map(json.dumps, found))
        comma = "," if self._any and line else ""
        self._any = self._any or bool(line)
        self._file.write_text(begun + comma + line)

    def skip(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        name = self._files.get(frame.name, f"{frame.name}.png")
        image = {"id": len(self._images) + 1, "file_name": name, "width": width, "height": height}
        self._images.append({**image, "seconds": round(float(frame.time), 6)})

    def _beginning(self) -> str:
        info = {"description": f"label maps by lmaseg {__version__}"}
        categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(self._label_set.names, 1)]
        return f'{{"info": {json.dumps(info)}, "categories": {json.dumps(categories)}, "annotations": ['
