from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lmaseg.cuts import CutDetector
from lmaseg.datasets.spoil import blurred, covered, darkened
from lmaseg.video import VideoReader

STREET = Path(__file__).parents[1] / "assets" / "street.mp4"


def test_cuts_are_found_from_neighbouring_frames_only():
    ramp = np.linspace(0, 200, 96, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    night = np.full_like(ramp, 10)
    panning = [np.roll(ramp, i, axis=1) // 2 + 60 for i in range(4)]
    detector = CutDetector()
    assert [detector(frame) for frame in panning] == [False] * 4
    assert detector(night)
    assert not detector(night)
    assert detector(255 - night)


@pytest.mark.parametrize("spoil", [blurred, darkened, covered])
def test_a_frame_that_is_hard_to_read_is_no_cut(spoil):
    chance = np.random.default_rng(0)
    with VideoReader(STREET) as reader:
        frames = [frame.image for frame in islice(reader, 0, 150, 10)]
    for frame in frames:
        detector = CutDetector()
        shots = frame, spoil(frame, chance), frame, frame[::-1]
        assert [detector(each) for each in shots] == [False, False, False, True]
