import numpy as np

from lmaseg.cuts import CutDetector


def test_cuts_are_found_from_neighbouring_frames_only():
    ramp = np.linspace(0, 200, 96, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    night = np.full_like(ramp, 10)
    panning = [np.roll(ramp, i, axis=1) // 2 + 60 for i in range(4)]
    detector = CutDetector()
    assert [detector(frame) for frame in panning] == [False] * 4
    assert detector(night)
    assert not detector(night)
    assert detector(255 - night)
