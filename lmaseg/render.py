"""Label maps as people look at them."""

import numpy as np
from PIL import Image

from lmaseg.labels import LabelSet


def indexed(labels: np.ndarray, label_set: LabelSet) -> Image.Image:
    """(H, W) uint8 class ids as a palette image: pixels are the ids, shown in the classes' colours."""
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette(label_set.palette)
    return picture


def color_map(labels: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """(H, W) uint8 class ids -> (H, W, 3) uint8 RGB; ids without a class are black."""
    return np.asarray(indexed(labels, label_set).convert("RGB"))


def overlay(image: np.ndarray, labels: np.ndarray, label_set: LabelSet, opacity: float = 0.5) -> np.ndarray:
    """The classes' colours over the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        opacity: 0 leaves the picture as it is, 1 shows colours only.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colors = indexed(labels, label_set).convert("RGB")
    return np.asarray(Image.blend(Image.fromarray(image), colors, opacity))
