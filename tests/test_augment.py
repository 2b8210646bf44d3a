"""Augmentation: what stays the same, what changes, and that labels follow their pixels."""

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from lmaseg.datasets.augment import IGNORED, ClipAugmenter, sample_labels
from lmaseg.datasets.camera import camera_path, random_views
from lmaseg.datasets.photometry import Photometry, blur, blur_kernels, spoil_frames

PLAIN = {"scale": (1.0, 1.0), "rotation": 0.0, "colour": 0.0, "motion": 0.0}


pytestmark = pytest.mark.usefixtures("one_thread")


def chance(seed=0):
    return Generator().manual_seed(seed)


def coloured_clips(clips=4, frames=3, height=48, width=64):
    """Stills of smooth colours whose label is their blue channel, in steps of 16."""
    rows = torch.linspace(0, 255, height).view(1, -1, 1).expand(clips, -1, width)
    columns = torch.linspace(0, 255, width).view(1, 1, -1).expand(clips, height, -1)
    blocks = (torch.arange(width) // 16 * 16).view(1, 1, -1).expand(clips, height, -1).float()
    images = torch.stack([rows, columns, blocks], dim=1).round().to(torch.uint8)
    return images[:, None].expand(-1, frames, -1, -1, -1), (blocks / 16).to(torch.uint8)


def views(images, labels, *, still=True, seed=0, crop=(48, 64), **settings):
    stills = torch.full((len(images),), still)
    return ClipAugmenter(crop=crop, **PLAIN | settings)(images, labels, stills, chance(seed))


def augment(images, labels, **settings):
    return views(images, labels, **settings)[:2]


def test_a_view_of_everything_is_the_picture_or_its_mirror_image():
    images, labels = coloured_clips(clips=8)
    pixels, ids = augment(images, labels)
    upright = 0
    for clip, map_, image, label in zip(pixels, ids, images, labels, strict=True):
        mirrored = not torch.allclose(clip * 255, image.float(), atol=0.05)
        upright += not mirrored
        expected, truth = (image.flip(-1), label.flip(-1)) if mirrored else (image, label)
        torch.testing.assert_close(clip * 255, expected.float(), atol=0.05, rtol=0)
        assert torch.equal(map_, truth.long())
    assert 0 < upright < 8


def test_labels_follow_their_pixels():
    images, labels = coloured_clips(clips=16)
    pixels, ids = augment(images, labels, scale=(0.5, 2.0), rotation=10.0, motion=1.0)
    shown = pixels[:, -1, 2] * 255  # the labelled frame is the last
    seen = ids != IGNORED
    flat = (shown / 16 - (shown / 16).round()).abs() < 0.01  # away from the borders of the blocks
    assert (ids == (shown / 16).round().long())[seen & flat].float().mean() > 0.999
    assert (seen & flat).float().mean() > 0.4
    assert not seen.all()  # a view of a zoom of 0.5 is larger than the picture


def test_what_the_frame_before_shows_is_found_in_the_last():
    images, labels = coloured_clips(clips=16)
    seen = views(images, labels, scale=(0.7, 1.5), rotation=10.0, motion=3.0)
    inside = (seen.forth.abs() < 0.95).all(-1)
    smooth = seen.images[:, :, :2]  # the third channel has steps
    found = F.grid_sample(smooth[:, -1], seen.forth, align_corners=False)
    labelled = sample_labels(labels, seen.forth) != IGNORED
    different = ((found - smooth[:, -2]).abs().amax(1) * 255)[inside & labelled]
    unmoved = ((smooth[:, -1] - smooth[:, -2]).abs().amax(1) * 255)[inside & labelled]
    assert different.quantile(0.9) < 0.5 < 2 < unmoved.quantile(0.5)


def test_of_a_real_clip_no_place_is_known_twice():
    images, labels = coloured_clips()
    assert (views(images, labels, still=False).forth.abs() > 1).all()
    assert views(images[:, -1:], labels).forth is None


def test_a_view_that_fits_stays_inside_the_picture():
    images, labels = coloured_clips(clips=16)
    _, ids = augment(images, labels, scale=(1.2, 2.0))
    assert (ids != IGNORED).all()


def test_all_frames_of_a_real_clip_are_seen_alike():
    images, labels = coloured_clips()
    pixels, _ = augment(images, labels, still=False, scale=(0.5, 2.0), rotation=10.0, motion=1.0)
    assert torch.equal(pixels[:, 0], pixels[:, 1])
    assert torch.equal(pixels[:, 0], pixels[:, 2])


def test_a_still_moves_in_all_frames_but_the_last():
    images, labels = coloured_clips()
    held, _ = augment(images, labels)
    moved, _ = augment(images, labels, motion=1.0)
    assert torch.allclose(moved[:, -1], held[:, -1], atol=1e-5)
    shifts = (moved - held).abs().mean((2, 3, 4))  # (B, T)
    assert (shifts[:, 0] > shifts[:, 1]).float().mean() > 0.5
    assert (shifts[:, :2] > 1e-4).all()


def test_the_generator_decides_everything():
    images, labels = coloured_clips()
    everything = {"scale": (0.5, 2.0), "rotation": 4.0, "colour": 1.0, "motion": 1.0}
    first, again, other = (augment(images, labels, seed=seed, **everything) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_outside_the_picture_there_is_no_label():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    grid = torch.tensor([[[[-1.2, 0.0], [0.0, 0.0], [0.0, 1.3]]]])
    assert sample_labels(labels, grid).tolist() == [[[IGNORED, 0, IGNORED]]]


def test_the_camera_ends_where_it_looks_from_and_rests_at_speed_zero():
    path = camera_path(4, (48, 64), speed=torch.tensor([1.0, 0.0]), generator=chance())
    assert torch.allclose(path[:, -1], torch.eye(3))
    assert torch.allclose(path[1], torch.eye(3))
    assert not torch.allclose(path[0, 0], torch.eye(3), atol=1e-3)


def test_views_span_the_range_of_zoom():
    views = random_views(200, (360, 480), (288, 384), scale=(0.5, 2.0), rotation=0.0, generator=chance())
    zoom = 1 / (views[:, 0, 0] * views[:, 1, 1]).abs().sqrt()
    assert 0.5 <= float(zoom.min()) < 0.55
    assert 1.8 < float(zoom.max()) <= 2.0


class TestSpoiling:
    def test_single_frames_lose_a_good_part_of_what_they_show(self):
        clips = torch.rand(40, 4, 3, 32, 48, generator=chance())
        before = clips.clone()
        spoilt = spoil_frames(clips, 0.2, chance(1))
        assert torch.equal(clips, before)
        changed = (spoilt != clips).flatten(2).float().mean(2)  # (40, 4): the share of a frame that is not as it was
        assert 0.1 < (changed > 0).float().mean() < 0.3
        assert (changed[changed > 0] > 0.2).all()
        assert not changed.all(1).any()  # frames are drawn by themselves, not clips
        assert len({round(share, 1) for share in changed.flatten().tolist()}) >= 3  # untouched, a patch, all of it

    def test_clips_of_one_frame_and_a_share_of_none_stay(self):
        images, labels = coloured_clips()
        still = torch.ones(len(images), dtype=torch.bool)
        for frames, spoil in ((1, 1.0), (3, 0.0)):
            ours, plain = (
                ClipAugmenter(crop=(48, 64), spoil=share, **PLAIN)(images[:, :frames], labels, still, chance()).images
                for share in (spoil, 0.0)
            )
            assert torch.equal(ours, plain)
        moved = ClipAugmenter(crop=(48, 64), spoil=1.0, **PLAIN)(images, labels, still, chance()).images
        assert not torch.equal(moved, ours)


class TestPhotometry:
    def test_strength_zero_changes_nothing(self):
        clips = torch.rand(2, 2, 3, 16, 16)
        assert Photometry(0.0)(clips, torch.tensor([True, False]), chance()) is clips

    def test_results_are_colours(self):
        clips = torch.rand(8, 2, 3, 16, 16)
        changed = Photometry(1.5)(clips, torch.ones(8, dtype=torch.bool), chance())
        assert changed.isfinite().all()
        assert 0 <= float(changed.min()) < float(changed.max()) <= 1
        assert ((changed - clips).abs().mean((1, 2, 3, 4)) > 0.01).all()

    def test_only_stills_drift_in_exposure(self):
        knobs = Photometry()._knobs(2, 3, torch.tensor([True, False]), chance())
        assert torch.equal(knobs[1, 0], knobs[1, 2])
        assert not torch.equal(knobs[0, 0], knobs[0, 2])
        assert torch.equal(knobs[0, 0, 1:], knobs[0, 2, 1:])  # light alone drifts

    def test_kernels_keep_the_brightness(self):
        kernels = blur_kernels(32, 1.0, chance())
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(32))
        assert (kernels >= 0).all()

    def test_every_clip_is_blurred_with_its_own_kernel(self):
        point = torch.zeros(2, 2, 3, 15, 15)
        point[..., 7, 7] = 1
        kernels = blur_kernels(2, 1.0, chance())
        spread = blur(point, kernels)
        for clip, kernel in zip(spread, kernels, strict=True):
            torch.testing.assert_close(clip[1, 2, 4:11, 4:11], kernel.flip(0, 1))
