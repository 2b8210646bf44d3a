"""Spoilt frames: which they are, what happens to them, and that chance has a seed."""

from functools import partial

import numpy as np
import pytest

from lmaseg.datasets.clip import Clip, ClipFrame
from lmaseg.datasets.folder import class_id_encoding
from lmaseg.datasets.spoil import WAYS, spoilt_clips
from lmaseg.labels import CAMVID

SIZE = (60, 80)


@pytest.fixture
def clip():
    """Eleven frames of noise with labels on all but the first two."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(11):
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        label = None if number < 2 else partial(np.zeros, SIZE, np.uint8)
        frames.append(ClipFrame(str(number), partial(np.copy, image), label))
    return Clip("a", tuple(frames), CAMVID, class_id_encoding(CAMVID))


def test_every_nth_labelled_frame_is_spoilt_and_it_alone_is_scored(clip):
    first, second = spoilt_clips([clip, clip], 0.2)
    assert first.labelled == (6,)  # the fifth of the labelled ones
    assert second.labelled == (2, 7)  # the tenth and the fifteenth
    for index in range(len(clip)):
        assert np.array_equal(first.image(index), clip.image(index)) == (index not in first.labelled)


def test_chance_has_a_seed(clip):
    def images(seed):
        (spoilt,) = spoilt_clips([clip], 1.0, seed)
        return [spoilt.image(index) for index in spoilt.labelled]

    assert all(np.array_equal(a, b) for a, b in zip(images(0), images(0), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(images(0), images(1), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_takes_a_good_part_of_the_picture_away(clip, way):
    image = clip.image(0)
    spoilt = way(image, np.random.default_rng(0))
    assert (spoilt.shape, spoilt.dtype) == (image.shape, np.uint8)
    assert spoilt.std() < 0.97 * image.std()
    assert np.array_equal(image, clip.image(0))


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_that_is_none(clip, share):
    with pytest.raises(ValueError, match="the share of the frames to spoil is above 0 and at most 1"):
        spoilt_clips([clip], share)
