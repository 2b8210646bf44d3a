import json

import numpy as np
import pytest

from lmaseg.errors import VideoError
from lmaseg.sinks import pixels_of
from lmaseg.zones import Zones, read_zones

LEFT = [(0, 0), (3, 0), (3, 5), (0, 5)]


def test_pixels_are_counted_in_each_zone():
    labels = np.zeros((6, 10), np.uint8)
    labels[:, 2:] = 1
    labels[0, 0] = 255
    zones = Zones({"left": LEFT, "all": [(-5, -5), (50, -5), (50, 50), (-5, 50)]}, 10, 6)
    found = {name: pixels_of(part, 2).tolist() for name, part in zones.parts(labels)}
    assert found == {"left": [11, 12, 1], "all": [11, 48, 1]}


def test_a_zone_outside_of_the_picture_is_refused():
    with pytest.raises(VideoError, match="'far' lies outside of the pictures of 10x6 pixels"):
        Zones({"left": LEFT, "far": [(20, 0), (30, 0), (30, 5)]}, 10, 6)


def test_zones_are_read_from_json(tmp_path):
    file = tmp_path / "zones.json"
    file.write_text(json.dumps({"left": [[0, 0], [3, 0], [3.5, 5]]}), encoding="utf-8-sig")
    assert read_zones(file) == {"left": [(0, 0), (3, 0), (3.5, 5)]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ("\udcff", "is no JSON"),
        ("[]", "names no zones"),
        ("{}", "names no zones"),
        ('{"a": [[0, 0], [1, 1]]}', "zone 'a' in .* is no polygon"),
        ('{"a": [[0, 0], [1, 1], [2]]}', "is no polygon"),
        ('{"a": [[0, 0], [1, 1], ["2", 3]]}', "is no polygon"),
        ('{"a": [[0, 0], [1, 1], [NaN, 3]]}', "is no polygon"),
        ('{"a": {"x": 3}}', "is no polygon"),
    ],
)
def test_what_is_no_zones_file_is_refused_in_a_sentence(tmp_path, content, complaint):
    file = tmp_path / "zones.json"
    file.write_text(content, errors="surrogateescape")
    with pytest.raises(VideoError, match=complaint):
        read_zones(file)


def test_a_zones_file_that_is_missing(tmp_path):
    with pytest.raises(VideoError, match="cannot be read"):
        read_zones(tmp_path / "none.json")
