"""What flickers, and frames labelled with and without memory at once."""

from fractions import Fraction

import numpy as np
import pytest
from media import numbered, writer_for

from lmaseg import CAMVID, Segmenter, VideoError, load
from lmaseg.comparison import MARK, STILL, ComparingSegmenter, ComparisonVideo, still_pixels
from lmaseg.decision import ALONE, CONFIDENCE
from lmaseg.job import Job
from lmaseg.sinks import Labelled
from lmaseg.video import Frame, VideoReader


@pytest.fixture(scope="module")
def net():
    return load()


def pictures(count=6, size=(48, 64)):
    """Patches of random colours, other ones in every frame."""
    patches = np.random.default_rng(0).integers(0, 256, (count, size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    return patches.repeat(8, 1).repeat(8, 2)


@pytest.mark.parametrize("batch", [1, 4])
def test_both_labellings_are_those_of_two_segmenters(net, batch):
    both = ComparingSegmenter(net, size=48, batch=batch)
    on, off = Segmenter(net, size=48, batch=batch), Segmenter(net, size=48, memory=0, batch=batch)
    differ = False
    for start in range(0, 6, batch):
        frames = list(pictures()[start : start + batch])
        pending = both.submit(frames)
        assert (pending.result() == on.submit(frames).result()).all()
        assert (pending.result(ALONE) == off.submit(frames).result()).all()
        differ |= bool((pending.result() != pending.result(ALONE)).any())
    assert differ


def test_a_plain_segmenter_tells_labels_only(net):
    pending = Segmenter(net, size=48).submit(list(pictures(1)))
    assert pending.result(ALONE) is None
    assert pending.result(CONFIDENCE) is None


def test_still_pixels_are_those_no_channel_of_which_changes_much():
    before = np.full((1, 4, 3), 100, np.uint8)
    now = before.copy()
    now[0, 1, 2] = 108
    now[0, 2, 0] = 91
    now[0, 3] = 255
    assert still_pixels(before, now, still=8).tolist() == [[True, True, False, False]]
    assert still_pixels(before, now, still=0).tolist() == [[True, False, False, False]]


def frame_of(image, pts, *, after_gap=False):
    return Frame(image, pts, Fraction(1, 25), f"{pts:06d}", after_gap=after_gap)


def test_flicker_is_counted_among_still_pixels_and_marked(tmp_path):
    """10 of the still pixels change their label without memory, 5 with; those that move do not count."""
    image = np.full((48, 64, 3), 100, np.uint8)
    moved = image.copy()
    moved[24:] = 200
    steady = np.zeros((48, 64), np.uint8)
    off, on = steady.copy(), steady.copy()
    off[20, :10] = on[20, :5] = 3
    off[40] = on[40] = 3  # where the picture changes
    path = tmp_path / "cmp.mkv"
    video = ComparisonVideo(writer_for(path, (128, 48), codec="ffv1"), CAMVID, opacity=0.5)
    with video:
        video.write(Labelled(frame_of(image, 0), steady, alone=steady))
        video.write(Labelled(frame_of(moved, 1), on, alone=off))
        video.write(Labelled(frame_of(moved, 2, after_gap=True), steady, alone=steady))
    assert video.compared == 24 * 64
    assert video.flickering == [10, 5]
    assert video.shares == pytest.approx((10 / 1536, 5 / 1536))
    with VideoReader(path) as reader:
        marks = [(frame.image == MARK).all(-1) for frame in reader]
    assert marks[1][20].sum() == 15
    assert marks[1][20, :10].all()
    assert marks[1][20, 64:69].all()
    assert not marks[1][21:].any()
    assert not marks[2][20].any()  # a gap: nothing to compare with
    assert not marks[0][20].any()


def test_one_frame_compares_with_nothing(tmp_path):
    video = ComparisonVideo(writer_for(tmp_path / "a.mp4", (128, 48)), CAMVID)
    with video:
        labels = np.zeros((48, 64), np.uint8)
        video.write(Labelled(frame_of(numbered(1), 0), labels, alone=labels))
    assert video.shares == (0, 0)


def test_an_interrupted_comparison_keeps_its_part(tmp_path):
    video = ComparisonVideo(writer_for(tmp_path / "a.mp4", (128, 48)), CAMVID)
    labels = np.zeros((48, 64), np.uint8)

    def fail():
        with video:
            video.write(Labelled(frame_of(numbered(1), 0), labels, alone=labels))
            raise VideoError("over")

    with pytest.raises(VideoError):
        fail()
    assert (tmp_path / "a.part.mp4").exists()


def test_the_command_s_default_is_the_library_s():
    assert Job("").still == STILL
