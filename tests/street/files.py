"""Streets as files: folders of pictures and label maps to train on, and the sample clip."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from lmaseg.labels import CAMVID
from lmaseg.maps import LabelMapWriter
from lmaseg.video import VideoWriter

from .scene import street_clip

SAMPLE_RATE = 30
LATEST_START = 600.0  # seconds into a drive


def draw_folders(
    folder: Path, *, streets: int, frames: int, rate: float, size: tuple[int, int], seed: int
) -> tuple[Path, Path]:
    """Draw clips into FOLDER/images and FOLDER/labels, named STREET_FRAME.png, CamVid class ids; returns both folders.

    Every clip shows another street from another moment of the drive; `rate` is in frames per second, about 1 for
    pictures that have little in common, 10 to 30 for video.
    """
    images, labels = folder / "images", folder / "labels"
    for path in (images, labels):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(streets):
        rng = np.random.default_rng((seed, number))
        street, start = int(rng.integers(2**31)), rng.uniform(0, LATEST_START)
        drawn = street_clip(street, frames=frames, fps=rate, height=size[0], width=size[1], start=start)
        for frame, (image, truth) in enumerate(drawn):
            name = f"street{number:04d}_{frame:06d}.png"
            Image.fromarray(image).save(images / name, compress_level=1)
            Image.fromarray(truth).save(labels / name)
    return images, labels


def draw_sample(folder: Path, *, seconds: float = 5.0) -> None:
    """Draw FOLDER/street.mp4 and FOLDER/street_labels/: street 0 at 640x360 and 30 frames per second."""
    frames = round(seconds * SAMPLE_RATE)
    clip = VideoWriter(
        folder / "street.mp4", width=640, height=360, time_base=Fraction(1, SAMPLE_RATE), rate=SAMPLE_RATE, crf=23
    )
    with clip, LabelMapWriter(folder / "street_labels", CAMVID) as maps:
        for index, (image, truth) in enumerate(street_clip(0, frames=frames, fps=SAMPLE_RATE)):
            clip.write(image, index)
            maps.write(truth, f"{index:06d}")
