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
from torch.nn import functional as F

from lmaseg.datasets.clip import Clip, Picture
from lmaseg.errors import DatasetError
from lmaseg.models import LocalMemoryNet
from lmaseg.scores import ClipScore, Evaluation, Tallies, translate_classes
from lmaseg.stream import Segmenter

PATIENCE = timedelta(hours=12)  # one process's clips may take far longer than another's

Pair = tuple[Picture, Picture | None]
Reader = Callable[[Clip, int], Pair]
Scored = tuple[int, Picture, Picture]
Protocol = Callable[[Segmenter, Clip, Reader], Iterator[Scored]]


def stream(segmenter: Segmenter, clip: Clip, read: Reader) -> Iterator[Scored]:
    """Labels a clip as real use does, each frame once; yields (index, prediction, truth) of the labelled frames.

    Frames too far before the next label to be in its memory are not looked at: they cannot change its prediction.
    """
    segmenter.reset()
    reach = segmenter.memory.frames
    for index in sorted({i for last in clip.labelled for i in range(max(0, last - reach), last + 1)}):
        image, truth = read(clip, index)
        predicted = segmenter(image)
        if truth is not None:
            yield index, predicted, truth


def clip_by_clip(segmenter: Segmenter, clip: Clip, read: Reader) -> Iterator[Scored]:
    """Labels every labelled frame from an empty memory and the frames before it, as many as the memory holds."""
    for last in clip.labelled:
        segmenter.reset()
        for index in range(max(0, last - segmenter.memory.frames), last + 1):
            image, truth = read(clip, index)
            predicted = segmenter(image)
        if truth is not None:
            yield last, predicted, truth


PROTOCOLS: dict[str, Protocol] = {"stream": stream, "clip": clip_by_clip}


def evaluate(
    net: LocalMemoryNet,
    clips: Sequence[Clip],
    *,
    memory: int | None = None,
    size: int | tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
    protocol: str = "stream",
    full_resolution: bool = True,
    on_prediction: Callable[[str, Picture], None] = lambda name, predicted: None,
    on_frame: Callable[[int, int], None] = lambda done, to_do: None,
) -> Evaluation:
    """Score a network on labelled clips of one data set.

    Within `process_group` every process takes its share of the clips and all return the same scores.

    Args:
        net: in evaluation mode, on its device; its classes are matched to the data set's by their train ids.
        clips: in the same order in every process.
        memory, size, dtype: as in `Segmenter`.
        protocol: a key of `PROTOCOLS`; both give identical label maps.
        full_resolution: score at the labels' own size; False resizes frames and labels (nearest) to the working size,
            as the authors' code does.
        on_prediction: takes a frame's name and its label map (H, W) uint8 in the data set's class ids, 255 for none.
        on_frame: takes the labelled frames done and to do, in this process.

    Raises:
        DatasetError: what `Clip.pair` raises, labels that change size within a clip, a network that knows none of the
            data set's classes, or no labelled frames.
        ValueError: an unknown protocol, and what `Segmenter` raises.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    started = time.perf_counter()
    clips = [clip for clip in clips if clip.labelled]
    if not clips:
        raise DatasetError("there is no labelled frame to score: give a split that has label maps")
    labels = clips[0].labels
    translation, known = translate_classes(net.labels, labels)
    segmenter = Segmenter(net, size=size, memory=memory, dtype=dtype)
    rank, world = _rank_and_world()
    tallies = Tallies(len(labels), len(clips))
    frames_to_do = sum(len(clip.labelled) for clip in clips[rank::world])
    for number in range(rank, len(clips), world):
        clip, score = clips[number], ClipScore(labels)
        labeller, read = (segmenter, Clip.pair) if full_resolution else _at_working_size(segmenter, clip)
        for index, predicted, truth in PROTOCOLS[protocol](labeller, clip, read):
            predicted, name = translation[predicted], clip.frames[index].name
            score.update(truth, predicted, name)
            on_prediction(name, predicted)
            on_frame(tallies.frames + score.frames, frames_to_do)
        tallies.add(number, score)
    if world > 1:
        tallies.reduce(_all_reduce)
    settings = {
        "memory": segmenter.memory.frames,
        "protocol": protocol,
        "fullResolution": full_resolution,
        "dtype": str(segmenter.dtype).removeprefix("torch."),
        "processes": world,
    }
    return tallies.evaluation(labels, known, time.perf_counter() - started, settings)


def _rank_and_world() -> tuple[int, int]:
    ready = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if ready else (0, 1)


def _at_working_size(segmenter: Segmenter, clip: Clip) -> tuple[Segmenter, Reader]:
    """A segmenter of the clip's working size and a reader that resizes to it, frames as `Segmenter` itself would."""
    height, width = clip.image(clip.labelled[0]).shape[:2]
    size = segmenter.working_size(height, width)

    def read(clip: Clip, index: int) -> Pair:
        image, truth = clip.pair(index)
        pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
        resized = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        return resized[0].permute(1, 2, 0).numpy(), None if truth is None else _nearest(truth, size)

    same = Segmenter(segmenter.net, size=size, memory=segmenter.memory.frames, dtype=segmenter.dtype)
    return same, read


def _nearest(truth: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(Image.fromarray(truth).resize(size[::-1], Image.Resampling.NEAREST))


def _all_reduce(array: NDArray[Any]) -> NDArray[Any]:
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.from_numpy(array).to(device)
    distributed.all_reduce(tensor)
    return tensor.cpu().numpy()


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Joins the processes that torchrun started, if it did; yields the device this process is to use.

    Args:
        device: as for `lmaseg.load`; a plain "cuda" becomes the GPU of the process's local rank.
    """
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
