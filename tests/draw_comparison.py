"""Draw one frame as two runs label it: `python tests/draw_comparison.py ALONE/ MEMORY/ FRAME PICTURE.jpg`.

Of the sample clip. Marked in white is what flickers: pixels whose class changed since the frame before where the truth
did not.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lmaseg.labels import CITYSCAPES, for_screens
from lmaseg.render import captioned, overlay
from lmaseg.video import VideoReader

ASSETS = Path(__file__).parents[1] / "assets"
TITLES = "every frame alone", "with the memory"


def label_map(folder, number):
    return np.asarray(Image.open(folder / f"{number:06d}.png"))


def flickering(folder, number):
    """(H, W) bool: where a run's labels changed although the truth stayed."""
    truth, before = (label_map(ASSETS / "street_labels", n) for n in (number, number - 1))
    return (truth == before) & (label_map(folder, number) != label_map(folder, number - 1))


def panel(image, folder, number, title):
    marked = flickering(folder, number)
    drawn = overlay(image, label_map(folder, number), for_screens(CITYSCAPES), 0.7).copy()
    drawn[marked] = 255
    return captioned(drawn, f"{title}: {marked.mean():.1%} of the pixels flicker")


def main():
    *folders, number, output = sys.argv[1:]
    number = int(number)
    with VideoReader(ASSETS / "street.mp4") as reader:
        image = next(frame.image for i, frame in enumerate(reader) if i == number)
    panels = [panel(image, Path(folder), number, title) for folder, title in zip(folders, TITLES, strict=True)]
    Image.fromarray(np.concatenate(panels, axis=1)).save(output, quality=88)


if __name__ == "__main__":
    main()
