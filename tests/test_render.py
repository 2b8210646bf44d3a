import numpy as np
import pytest

from lmaseg import CAMVID
from lmaseg.render import color_map, indexed, overlay

LABELS = np.array([[0, 3], [10, 11]], np.uint8)
IMAGE = np.array([[[0, 0, 0], [255, 255, 255]], [[10, 200, 30], [90, 90, 90]]], np.uint8)


def test_indexed_keeps_ids_and_shows_colours():
    picture = indexed(LABELS, CAMVID)
    assert picture.mode == "P"
    assert (np.asarray(picture) == LABELS).all()
    assert picture.convert("RGB").getpixel((1, 0)) == CAMVID.colors[3]


def test_color_map_shows_ids_without_a_class_in_black():
    colors = color_map(LABELS, CAMVID)
    assert tuple(colors[1, 0]) == CAMVID.colors[10]
    assert tuple(colors[1, 1]) == (0, 0, 0)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_overlay_blends(opacity):
    expected = IMAGE * (1 - opacity) + color_map(LABELS, CAMVID) * opacity
    assert np.abs(overlay(IMAGE, LABELS, CAMVID, opacity) - expected).max() <= 1
