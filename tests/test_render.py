import numpy as np
import pytest

from lmaseg import CAMVID
from lmaseg.render import VIEWS, Legend, color_map, indexed, overlay

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


def test_only_the_wanted_classes_are_drawn():
    drawn = overlay(IMAGE, LABELS, CAMVID, 1.0, classes=[3])
    assert tuple(drawn[0, 1]) == CAMVID.colors[3]
    assert (drawn[0, 0] == IMAGE[0, 0]).all()
    assert (drawn[1] == IMAGE[1]).all()


@pytest.mark.parametrize("name", VIEWS)
def test_views_have_the_size_they_say(name):
    image = np.full((40, 60, 3), 90, np.uint8)
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 3
    view = VIEWS[name](CAMVID, opacity=1.0)
    shown = view(image, labels)
    assert shown.dtype == np.uint8
    assert (shown.shape[1], shown.shape[0]) == view.size(60, 40)
    sky, road = CAMVID.colors[0], CAMVID.colors[3]
    if name == "contour":
        assert (tuple(shown[5, 29]), tuple(shown[5, 30])) == (sky, road)
        assert (shown[:, :29] == 90).all()
        assert (shown[:, 31:] == 90).all()
    else:
        assert (tuple(shown[5, -60]), tuple(shown[5, -1])) == (sky, road)
    if name == "side-by-side":
        assert (shown[:, :60] == 90).all()


def test_a_mask_leaves_other_classes_black():
    assert (VIEWS["mask"](CAMVID, classes=[10])(IMAGE, LABELS)[0] == 0).all()


@pytest.mark.parametrize("height", [120, 360, 1080])
def test_the_legend_names_the_drawn_classes_in_a_corner(height):
    picture = np.full((height, 2 * height, 3), 255, np.uint8)
    drawn = Legend(CAMVID, [8, 10]).over(picture)
    assert drawn.shape == picture.shape
    assert (drawn[:, height:] == 255).all()
    colors = {tuple(color) for color in drawn.reshape(-1, 3)}
    assert {CAMVID.colors[8], CAMVID.colors[10]} <= colors
    assert CAMVID.colors[5] not in colors
