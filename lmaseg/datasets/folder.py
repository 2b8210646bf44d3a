"""A folder of images and a folder of label maps with matching stems, ids as they are."""

import re
from collections import defaultdict
from itertools import groupby, pairwise, zip_longest
from pathlib import Path

from lmaseg.datasets.clip import (
    Clip,
    ClipFrame,
    LabelEncoding,
    files_by_stem,
    require_folder,
    sequence_key,
    split_at_gaps,
    usual_step,
    write_ids,
)
from lmaseg.errors import DatasetError, VideoError
from lmaseg.labels import CITYSCAPES, LabelSet
from lmaseg.pictures import SUFFIXES, Page, Picture, pages_of

STAMP = re.compile(r"(?P<before>|.*\D)(?P<seconds>1\d{9})(?P<mark>[._-]?)(?P<part>\d{1,9})?", re.ASCII | re.DOTALL)
NANOSECONDS = 10**9
GAP_SECONDS, GAP_FRAMES = 0.5, 10  # a step in time longer than both means that frames between are missing
LABEL_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in (".jpg", ".jpeg", ".jpe", ".jfif"))


def folder_clips(
    images: Path, label_maps: Path, labels: LabelSet, *, sparse: bool = True, stills: bool = False
) -> list[Clip]:
    """Reads IMAGES and LABELS: pictures of any kind, and label maps whose ids are the class ids of `labels`.

    Stems end in a frame number; images whose stems share all before it are one video, and a gap in the numbers or
    another size starts a new clip. An image without a number is a clip of its own, and so is a file of several
    pictures. Of `stills` every picture is a clip of its own, whatever its name. Some images may lack a label
    (`sparse`), no label may lack its image. Clips without any label are left out. Raises DatasetError naming what is
    missing.
    """
    remedy = "give the folder of the images and that of the label maps"
    image_files = files_by_stem(require_folder(images, remedy), SUFFIXES)
    label_files = files_by_stem(require_folder(label_maps, remedy), LABEL_SUFFIXES)
    _check_stems(images, label_maps, image_files, label_files, sparse)
    frames = [frame for stem, path in image_files.items() for frame in _frames(path, label_files.get(stem))]
    encoding = class_id_encoding(labels)
    if stills:
        clips = [Clip(frame.name, (frame,), labels, encoding) for frame in frames]
    else:
        clips = clips_of_frames(frames, labels, encoding)
    return [clip for clip in clips if clip.labelled]


def _frames(image: Path, label: Path | None) -> list[ClipFrame]:
    """The pictures of an image file, each with its label map if there are any."""
    try:
        pages = pages_of(image)
        maps = pages_of(label) if label and len(pages) > 1 else [label]
    except VideoError as error:
        raise DatasetError(str(error)) from error
    if label and len(maps) != len(pages):
        count = f"{len(maps)} label maps, its image {image} {len(pages)} pictures"
        raise DatasetError(f"{label} holds {count}: give one for each")
    return [ClipFrame(page.name, page, part) for page, part in zip_longest(pages, maps)]


def _check_stems(
    images: Path, label_maps: Path, image_files: dict[str, Path], label_files: dict[str, Path], sparse: bool
) -> None:
    if not image_files:
        raise DatasetError(f"{images} holds no images: give the folder they lie in")
    if not label_files:
        raise DatasetError(f"{label_maps} holds no label maps: give the folder they lie in, as PNG (JPEG blurs ids)")
    if not image_files.keys() & label_files.keys():
        pair = f"{next(iter(image_files))} and {next(iter(label_files))}, for example"
        raise DatasetError(f"no image of {images} shares its stem with one of {label_maps} ({pair}): rename one side")
    for stem, path in label_files.items():
        if stem not in image_files:
            raise DatasetError(f"{images} has no image {stem} for the label {path}: add it or remove the label")
    for stem, path in image_files.items():
        if stem not in label_files and not sparse:
            raise DatasetError(f"{label_maps} has no {stem}.png for the image {path}: extract the data set again")


def clips_of_frames(frames: list[ClipFrame], labels: LabelSet, encoding: LabelEncoding) -> list[Clip]:
    """Frames with numbers in their names -> clips in the order of sequence and number, cut at gaps and new sizes.

    Where names are times since 1970, as robots and phones store frames, it is gaps in time that cut.
    """
    sequences: dict[str, list[tuple[int, ClipFrame]]] = defaultdict(list)
    stamped: dict[str, list[tuple[re.Match[str], ClipFrame]]] = defaultdict(list)
    for frame in frames:
        if stamp := STAMP.fullmatch(frame.name):
            stamped[stamp["before"]].append((stamp, frame))
        else:
            sequence, number = sequence_key(frame.name)
            sequences[sequence].append((number or 0, frame))
    for numbered in sequences.values():
        numbered.sort(key=lambda item: (item[0], item[1].name))
    step = usual_step([number for number, _ in numbered] for numbered in sequences.values())
    runs = [(step, run) for _, numbered in sorted(sequences.items()) for run in split_at_gaps(numbered, step)]
    runs += [run for _, timed in sorted(stamped.items()) for run in _split_by_time(timed)]
    alike = [(step, tuple(same)) for step, run in runs for _, same in groupby((frame for _, frame in run), _size_of)]
    return [Clip(frames[0].name, frames, labels, encoding, step) for step, frames in alike]


def _split_by_time(stamped: list[tuple[re.Match[str], ClipFrame]]) -> list[tuple[int, list[tuple[int, ClipFrame]]]]:
    """Frames by their stamps, cut where more than `GAP_SECONDS` and `GAP_FRAMES` are missing, each run with its step.

    A step is counted in frames of 30 a second, as where frames are numbered.
    """
    widest = max(len(stamp["part"] or "") for stamp, _ in stamped)
    digits = next((digits for digits in (3, 6) if widest <= digits), 9)  # of a whole number after the seconds
    timed = []
    for stamp, frame in stamped:
        part = stamp["part"] or ""
        part = part.rjust(digits, "0") if stamp["mark"] in ("_", "-") else part
        timed.append((int(stamp["seconds"] + part.ljust(9, "0")), frame))
    timed.sort(key=lambda item: item[0])
    usual = sorted(after - before for (before, _), (after, _) in pairwise(timed))[(len(timed) - 1) // 2 :][:1] or [1]
    longest = max(GAP_SECONDS * NANOSECONDS, GAP_FRAMES * usual[0])
    step = max(1, round(usual[0] * 30 / NANOSECONDS))
    cuts = [i for i, ((before, _), (after, _)) in enumerate(pairwise(timed), 1) if after - before > longest]
    return [(step, timed[first:last]) for first, last in pairwise([0, *cuts, len(timed)])]


def _size_of(frame: ClipFrame) -> tuple[int, int] | None:
    return frame.image.size if isinstance(frame.image, Page) else None


def class_id_encoding(labels: LabelSet) -> LabelEncoding:
    """Label files that hold the class ids themselves; the set's ignore index and 255 both mean unlabelled."""
    ignored = labels.ignore_index
    last = len(labels) - 1
    unlabelled = " and ".join(str(i) for i in sorted({ignored, 255}))
    otherwise = (
        "read Cityscapes' labelIds with --cityscapes" if labels == CITYSCAPES else "use weights that know these classes"
    )
    return LabelEncoding(
        {i: i for i in range(len(labels))} | {ignored: ignored, 255: ignored},
        kind=f"class ids of {labels.name} (0 to {last}; {unlabelled} unlabelled)",
        remedy=f"convert the label maps to the ids of the classes, or {otherwise}",
    )


def write_class_ids(folder: Path, name: str, ids: Picture) -> None:
    """Writes a predicted label map (H, W) uint8 as FOLDER/NAME.png, its class ids as they are (255: none)."""
    write_ids(folder / f"{name}.png", ids)
