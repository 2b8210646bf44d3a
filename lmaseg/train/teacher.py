"""Labels that another network makes of sources without any: at several sizes, mirrored, and only where it is sure."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lmaseg.datasets.clip import Clip, Picture, write_ids
from lmaseg.datasets.folder import folder_clips
from lmaseg.errors import DatasetError
from lmaseg.images import ImageReader, name_of, open_source
from lmaseg.labels import NO_CLASS, LabelSet
from lmaseg.models import LocalMemoryNet
from lmaseg.paths import appearing, write_text
from lmaseg.scores import translate_classes
from lmaseg.stream import normalised, working_size
from lmaseg.video.frame import Frame

SCALES = 0.75, 1.0, 1.5  # of the teacher's working size; their probabilities are averaged
QUALITY = 95  # of the stored pictures, as JPEG has it
ROUNDING = 1e-6  # seconds
MANIFEST = "teacher.json"


@dataclass(frozen=True)
class Teaching:
    """What decides the labels, beside the pictures; it is stored with them."""

    teacher: str
    """Names the weights."""
    classes: tuple[str, ...]
    """Of the network that is to learn from them."""
    every: float
    """Seconds between the frames that are labelled; of a folder of pictures all are."""
    sure: float
    """The least probability at which a label is kept."""


def label_sources(
    net: LocalMemoryNet,
    sources: Sequence[Path],
    teaching: Teaching,
    labels: LabelSet,
    folder: Path,
    *,
    on_frame: Callable[[str, int], None] = lambda name, done: None,
    stop: threading.Event | None = None,
) -> bool:
    """Write FOLDER/images/ and FOLDER/labels/, as `folder_clips` reads them; whether all is done.

    What an earlier call has labelled is kept, and sources that it finished are not read again.

    Args:
        net: the teacher, in evaluation mode, on its device.
        labels: what the ids in the label maps are to mean.
        on_frame: takes a source's name and the frames labelled of it so far.
        stop: when set, the call ends after the frame in hand.

    Raises:
        DatasetError: labels in the folder that were made otherwise, or a teacher that knows none of the classes.
        VideoError: what `open_source` raises.
    """
    translate_classes(net.labels, labels)  # for its check, before anything is read
    finished = _finished(folder, teaching)
    for number, source in enumerate(sources):
        name = f"{number:02d}_{name_of(source)}"
        if str(source) in finished:
            continue
        for done, frame in enumerate(_taken(source, teaching.every), 1):
            if stop is not None and stop.is_set():
                return False
            path = folder / "labels" / f"{name}_{frame.name}.png"
            if not path.exists():
                ids = sure_labels(net, frame.image, labels, teaching.sure)
                picture = folder / "images" / f"{path.stem}.jpg"
                with appearing(picture) as part:
                    Image.fromarray(frame.image).save(part, quality=QUALITY)
                write_ids(path, ids)
            on_frame(name, done)
        finished.append(str(source))
        _note(folder, teaching, finished)
    return True


def taught_clips(folder: Path, labels: LabelSet) -> list[Clip]:
    """The clips of what `label_sources` wrote into a folder."""
    return folder_clips(folder / "images", folder / "labels", labels)


@torch.inference_mode()
def sure_labels(net: LocalMemoryNet, image: Picture, labels: LabelSet, sure: float) -> Picture:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 class ids of `labels`, 255 where none has a probability of `sure`.

    The probabilities are the mean over sizes and mirror images, and those of the network's classes that become one of
    `labels` are added up.
    """
    height, width = image.shape[:2]
    device = next(net.parameters()).device
    frame = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float()
    middle = working_size(net, height, width)
    total = torch.zeros((), device=device)
    for scale in SCALES:
        size = [max(net.stride, round(side * scale / net.stride) * net.stride) for side in middle]
        scaled = F.interpolate(frame, size, mode="bilinear", align_corners=False, antialias=True)
        for mirrored in (False, True):
            total = total + _resized(_probabilities(net, scaled, mirrored), middle)
    merged = _merged(total / (2 * len(SCALES)), net.labels, labels)
    best, ids = _resized(merged, (height, width))[0].max(0)
    known = (best >= sure) & (ids < len(labels))
    return ids.where(known, NO_CLASS).to(torch.uint8).cpu().numpy()


def _merged(probabilities: Tensor, own: LabelSet, labels: LabelSet) -> Tensor:
    """(1, classes of `own`, h, w) -> (1, classes of `labels` and one for all that are none of them, h, w)."""
    table, _ = translate_classes(own, labels)
    index = torch.from_numpy(np.minimum(table[: len(own)], len(labels)).astype(np.int64)).to(probabilities.device)
    merged = probabilities.new_zeros(1, len(labels) + 1, *probabilities.shape[-2:])
    return merged.index_add_(1, index, probabilities)


def _probabilities(net: LocalMemoryNet, frame: Tensor, mirrored: bool) -> Tensor:
    seen = normalised(frame.flip(-1) if mirrored else frame, net.preprocess)
    probabilities = net(seen)[0].float().softmax(1)
    return probabilities.flip(-1) if mirrored else probabilities


def _resized(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(probabilities, size, mode="bilinear", align_corners=False)


def _taken(source: Path, every: float) -> Iterator[Frame]:
    """All pictures of a folder; of a video the first frame, and each so many seconds after the last one taken."""
    with open_source(source) as reader:
        due = None
        for frame in reader:
            if isinstance(reader, ImageReader) or due is None or frame.time > due - ROUNDING:
                due = float(frame.time) + every
                yield frame


def _finished(folder: Path, teaching: Teaching) -> list[str]:
    """The sources done earlier; makes the folder ready."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    if not manifest.exists():
        _note(folder, teaching, [])
        return []
    try:
        noted = json.loads(manifest.read_text())
        before = Teaching(**noted["teaching"] | {"classes": tuple(noted["teaching"]["classes"])})
        finished = [str(name) for name in noted["finished"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{manifest} is damaged ({error}): remove {folder} to label anew") from error
    if before != teaching:
        raise DatasetError(f"the labels in {folder} were made by {before}, not by {teaching}: remove it to label anew")
    return finished


def _note(folder: Path, teaching: Teaching, finished: Sequence[str]) -> None:
    write_text(folder / MANIFEST, json.dumps({"teaching": asdict(teaching), "finished": list(finished)}, indent=2))
