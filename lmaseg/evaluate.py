"""Evaluation: run a network over labelled clips and score its label maps, in one process or in many."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import distributed

from lmaseg.cuts import CutDetector
from lmaseg.datasets.clip import Clip, Picture
from lmaseg.errors import DatasetError
from lmaseg.models import LocalMemoryNet
from lmaseg.models.memory import SECOND, OwnPast
from lmaseg.models.precision import dtype_name
from lmaseg.scores import Evaluation, Tallies, translate_classes
from lmaseg.stream import Segmenter, resized

PATIENCE = timedelta(hours=12)  # one process's clips may take far longer than another's

Pair = tuple[Picture, Picture | None]
Reader = Callable[[Clip, int], Pair]
Scored = tuple[str, Picture, Picture]


def _scored(segmenter: Segmenter, clip: Clip, read: Reader) -> Iterator[Scored]:
    """Labels frames as in real use, a batch at a time; yields (name, prediction, truth) of those with a label.

    The memory is emptied where neighbours show different scenes, as by default in a run.

    Frames too far before the next label to be in its memory are not looked at: they cannot change its prediction.
    """
    reach = segmenter.memory.reach
    indices = sorted({i for last in clip.labelled for i in range(max(0, last - reach), last + 1)})
    is_cut = CutDetector()
    for start in range(0, len(indices), segmenter.batch):
        batch = indices[start : start + segmenter.batch]
        pairs = [read(clip, index) for index in batch]
        resets = [is_cut(image) or index == indices[0] for index, (image, _) in zip(batch, pairs, strict=True)]
        seconds = [index // SECOND for index in batch]
        labels = segmenter.submit([image for image, _ in pairs], resets, seconds).result()
        for index, predicted, (_, truth) in zip(batch, labels, pairs, strict=True):
            if truth is not None:
                yield clip.frames[index].name, predicted, truth


def evaluate(
    net: LocalMemoryNet,
    clips: Sequence[Clip],
    *,
    memory: int | None = None,
    size: int | tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
    batch: int = 1,
    full_resolution: bool = True,
    own_past: bool = False,
    on_prediction: Callable[[str, Picture], None] = lambda name, predicted: None,
    on_frame: Callable[[int, int], None] = lambda done, to_do: None,
) -> Evaluation:
    """Score a network on labelled clips of one data set.

    Within `process_group` every process takes its share of the clips and all return the same scores.

    Args:
        net: in evaluation mode, on its device; its class ids become the data set's by `translate_classes`.
        clips: in the same order in every process.
        memory, size, dtype, batch: as in `Segmenter`.
        full_resolution: score at the labels' own size; False resizes frames and labels (nearest) to the working size,
            as the authors' code does.
        own_past: a control, see `OwnPast`.
        on_prediction: takes a frame's name and its label map (H, W) uint8 in the data set's class ids, 255 for none.
        on_frame: takes the labelled frames done and to do, in this process.

    Raises:
        DatasetError: what `Clip.pair` and `translate_classes` raise, labels that change size within a clip, or none.
        ValueError: what `Segmenter` raises.
    """
    started = time.perf_counter()
    clips = [clip for clip in clips if clip.labelled]
    if not clips:
        raise DatasetError("there is no labelled frame to score: give a split that has label maps")
    labels = clips[0].labels
    translation, known = translate_classes(net.labels, labels)
    segmenter = Segmenter(net, size=size, memory=memory, dtype=dtype, batch=batch)
    if own_past:
        segmenter.memory = OwnPast(segmenter.memory.frames, batch)
    rank, world = rank_and_world()
    tallies = Tallies(labels, len(clips))
    frames_to_do = sum(len(clip.labelled) for clip in clips[rank::world])
    for number in range(rank, len(clips), world):
        clip = clips[number]
        tallies.begin(number)
        labeller, read = (segmenter, Clip.pair) if full_resolution else _at_working_size(segmenter, clip)
        for name, predicted, truth in _scored(labeller, clip, read):
            tallies.update(truth, translation[predicted], name)
            on_prediction(name, translation[predicted])
            on_frame(tallies.frames, frames_to_do)
    if world > 1:
        tallies.reduce(_all_reduce)
    settings = {"dtype": dtype_name(segmenter.dtype), "memory": segmenter.memory.frames, "batch": batch}
    settings |= {"fullResolution": full_resolution, "ownPast": own_past, "processes": world}
    return tallies.evaluation(known, time.perf_counter() - started, settings)


def rank_and_world() -> tuple[int, int]:
    """Which of how many processes this is; (0, 1) outside of `process_group`."""
    ready = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if ready else (0, 1)


def _at_working_size(segmenter: Segmenter, clip: Clip) -> tuple[Segmenter, Reader]:
    """A segmenter of the clip's working size and a reader that resizes to it, frames as `Segmenter` itself would."""
    height, width = clip.image(clip.labelled[0]).shape[:2]
    size = segmenter.working_size(height, width)

    def read(clip: Clip, index: int) -> Pair:
        image, truth = clip.pair(index)
        if truth is not None:
            truth = np.asarray(Image.fromarray(truth).resize(size[::-1], Image.Resampling.NEAREST))
        return resized(torch.from_numpy(image).unsqueeze(0), segmenter.net.preprocess, size)[0].numpy(), truth

    same = Segmenter(segmenter.net, size=size, dtype=segmenter.dtype, batch=segmenter.batch)
    same.memory = segmenter.memory
    return same, read


def _all_reduce(array: NDArray[Any]) -> NDArray[Any]:
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.from_numpy(array).to(device)
    distributed.all_reduce(tensor)
    return tensor.cpu().numpy()


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Joins the processes that torchrun started, if it did; yields the device this process is to use. `device`: as for
    `lmaseg.load`; a plain "cuda" becomes the GPU of the process's local rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    gpus = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if gpus:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpus else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()
