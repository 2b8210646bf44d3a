"""Frames made hard to read on purpose: what happens to a camera now and then, to see what a memory makes up for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from lmaseg.datasets.clip import Clip, ClipFrame, Picture

BLUR = 0.015  # of the height: the deviation of a blur
LIGHT = 0.12  # what is left of it in a dark frame
PATCH = 0.5  # of either side: what a patch covers


def spoilt_clips(clips: Sequence[Clip], share: float, seed: int = 0) -> list[Clip]:
    """The clips with every n-th labelled frame blurred, darkened or partly covered; only those keep their labels.

    Counted through all clips, n being the nearest to 1 / share. The same seed spoils every frame in the same way.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of the frames to spoil is above 0 and at most 1, not {share}")
    every, numbers = round(1 / share), count(1)
    return [replace(clip, frames=tuple(_spoilt_frames(clip, every, numbers, seed))) for clip in clips]


def _spoilt_frames(clip: Clip, every: int, numbers: Iterator[int], seed: int) -> Iterator[ClipFrame]:
    """`numbers` counts the labelled frames."""
    for index, frame in enumerate(clip.frames):
        if frame.label is not None and (number := next(numbers)) % every == 0:
            yield replace(frame, image=partial(_spoilt_image, clip, index, (seed, number)))
        else:
            yield replace(frame, label=None)


def _spoilt_image(clip: Clip, index: int, seed: tuple[int, int]) -> Picture:
    chance = np.random.default_rng(seed)
    return WAYS[chance.integers(len(WAYS))](clip.image(index), chance)


def blurred(image: Picture, chance: Generator) -> Picture:
    """As if out of focus."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR * image.shape[0])))


def darkened(image: Picture, chance: Generator) -> Picture:
    """As if hardly exposed."""
    return (image * LIGHT).round().astype(np.uint8)


def covered(image: Picture, chance: Generator) -> Picture:
    """A rectangle of one colour over a quarter of the picture, anywhere."""
    height, width = (round(PATCH * side) for side in image.shape[:2])
    top, left = (chance.integers(side - part + 1) for side, part in zip(image.shape, (height, width), strict=False))
    result = image.copy()
    result[top : top + height, left : left + width] = chance.integers(30, 120, 3)
    return result


WAYS = (blurred, darkened, covered)
