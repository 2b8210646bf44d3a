"""Street clips by number, drawn here or in the background."""

import numpy as np
import pytest

from lmaseg.datasets.street_pool import StreetClips, StreetPainters

SERIES = StreetClips(seed=5, frames=2, rates=(1.0, 2.0), size=(32, 48))


def test_the_number_decides_the_clip():
    images, labels = SERIES.draw(3)
    assert images.shape == (2, 32, 48, 3)
    assert labels.shape == (2, 32, 48)
    assert images.dtype == labels.dtype == np.uint8
    assert np.array_equal(images, SERIES.draw(3)[0])
    assert not np.array_equal(images, SERIES.draw(4)[0])


@pytest.mark.timeout(120)
def test_background_processes_draw_the_same_clips_in_order():
    with StreetPainters(SERIES, workers=1, first=3) as painters:
        for number in (3, 4):
            clip = painters.take()
            assert np.array_equal(clip[0], SERIES.draw(number)[0])
