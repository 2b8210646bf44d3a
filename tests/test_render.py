from typing import get_args

import numpy as np
import pytest

from lmaseg import CAMVID, CITYSCAPES, LabelSet
from lmaseg.job import Corner
from lmaseg.labels import for_screens
from lmaseg.render import KEPT, VIEWS, Legend, edges, indexed, overlay

LABELS = np.array([[0, 3], [10, 11]], np.uint8)
IMAGE = np.array([[[0, 0, 0], [255, 255, 255]], [[10, 200, 30], [90, 90, 90]]], np.uint8)


def oklab(colors: np.ndarray) -> np.ndarray:
    """(N, 3) 8-bit sRGB -> (N, 3) lightness, green to red and blue to yellow, in which distances are as eyes see them.

    From https://bottosson.github.io/posts/oklab/, times 100.
    """
    levels = colors / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.asarray(100 * np.cbrt(linear @ np.transpose(to_cones)) @ np.transpose(to_lab))


def test_indexed_keeps_ids_and_shows_colours():
    picture = indexed(LABELS, CAMVID)
    assert picture.mode == "P"
    assert (np.asarray(picture) == LABELS).all()
    assert picture.convert("RGB").getpixel((1, 0)) == CAMVID.colors[3]


def colors_of(labels):
    return np.asarray(indexed(labels, CAMVID).convert("RGB"))


def test_ids_without_a_class_are_black():
    colors = colors_of(LABELS)
    assert tuple(colors[1, 0]) == CAMVID.colors[10]
    assert tuple(colors[1, 1]) == (0, 0, 0)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_overlay_blends(opacity):
    expected = IMAGE * (1 - opacity) + colors_of(LABELS) * opacity
    expected[1, 1] = IMAGE[1, 1]  # 11 is no class
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


def test_edges_are_where_regions_meet():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:40] = 7
    found = edges(labels)
    assert found[9:11, 20:40].all()
    assert found[10:30, 19:21].all()
    assert not found[:9].any()
    assert not found[11:29, 21:39].any()
    assert not edges(np.zeros((40, 60), np.uint8)).any()


def test_edges_are_wider_in_larger_pictures():
    labels = np.zeros((1500, 1600), np.uint8)
    labels[:, 800:] = 1
    assert edges(labels)[0].nonzero()[0].tolist() == list(range(797, 803))


def test_outlines_have_each_sides_colour_and_leave_out_what_is_not_drawn():
    image, labels = np.full((40, 60, 3), 90, np.uint8), np.zeros((40, 60), np.uint8)
    labels[:, 20:] = 3
    labels[:, 40:] = 255
    shown = overlay(image, labels, CAMVID, 0, outline=1)
    sky, road = CAMVID.colors[0], CAMVID.colors[3]
    assert [tuple(shown[5, x]) for x in (19, 20, 39)] == [sky, road, road]
    assert (shown[:, 40:] == 90).all()
    assert (shown[:, 21:39] == 90).all()
    only_road = overlay(image, labels, CAMVID, 0, [3], outline=1)
    assert (only_road[:, :20] == 90).all()
    assert tuple(only_road[5, 20]) == road


def test_screen_colours_can_be_told_apart_and_are_not_dark():
    colors = oklab(np.array(for_screens(CITYSCAPES).colors))
    distances = np.linalg.norm(colors[:, None] - colors, axis=-1)
    assert distances[~np.eye(len(colors), dtype=bool)].min() > 11
    assert colors[:, 0].min() > 50
    assert for_screens(CAMVID).colors[10] == for_screens(CITYSCAPES).colors[12] != CAMVID.colors[10]


def test_colours_that_are_not_those_of_cityscapes_stay_on_screens():
    own = LabelSet("own", ("car", "gravel"), (CITYSCAPES.colors[13], (1, 2, 3)), (13, 255))
    assert for_screens(own).colors == (for_screens(CITYSCAPES).colors[13], (1, 2, 3))


def shown_colors(picture):
    packed = np.unique(picture.reshape(-1, 3).astype(np.int32) @ (1 << 16, 1 << 8, 1))
    return {(color >> 16, color >> 8 & 255, color & 255) for color in packed.tolist()}


@pytest.mark.parametrize("corner", get_args(Corner))
@pytest.mark.parametrize("height", [120, 360, 1080])
def test_the_legend_names_the_classes_that_are_there_in_its_corner(height, corner):
    picture = np.full((height, 2 * height, 3), 255, np.uint8)
    labels = np.full((height, 2 * height), 8, np.uint8)
    labels[:, height:] = 10
    labels[0, 0] = 5  # too little of it to be listed
    drawn = Legend(CAMVID, range(9), corner).over(picture, labels)
    assert drawn.shape == picture.shape
    up, left = slice(None, height // 2), slice(None, height)
    down, right = slice(height // 2, None), slice(height, None)
    rows, others = (up, down) if corner.startswith("top") else (down, up)
    columns, beside = (left, right) if corner.endswith("left") else (right, left)
    assert (drawn[others] == 255).all()
    assert (drawn[rows, beside] == 255).all()
    assert CAMVID.colors[8] in shown_colors(drawn[rows, columns])
    assert not shown_colors(drawn) & {CAMVID.colors[i] for i in (5, 10)}


def test_a_class_that_is_gone_leaves_the_legend_after_a_while():
    picture = np.full((120, 240, 3), 255, np.uint8)
    legend = Legend(CAMVID, [8, 10], "top-left")
    there, gone = (np.full((120, 240), i, np.uint8) for i in (8, 255))
    assert (legend.over(picture, gone) == picture).all()
    legend.over(picture, there)
    listed = [CAMVID.colors[8] in shown_colors(legend.over(picture, gone)) for _ in range(KEPT + 1)]
    assert listed == [True] * (KEPT - 1) + [False] * 2


def test_the_legend_of_a_side_by_side_lies_on_the_overlay():
    image, labels = np.full((120, 200, 3), 90, np.uint8), np.full((120, 200), 8, np.uint8)
    shown = VIEWS["side-by-side"](CAMVID, opacity=0, legend="top-left")(image, labels)
    assert (shown[:, :200] == 90).all()
    assert CAMVID.colors[8] in shown_colors(shown[:60, 200:300])
