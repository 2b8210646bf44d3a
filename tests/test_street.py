"""The procedural street: exact labels, the same bytes for the same arguments, and a picture that fits them."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from street import Street, street_clip
from street.files import draw_folders, draw_sample
from street.noise import spectral_noise

from lmaseg.datasets.folder import folder_clips
from lmaseg.labels import CAMVID
from lmaseg.video import VideoReader

ASSETS = Path(__file__).parents[1] / "assets"
SMALL = {"height": 120, "width": 160}


@pytest.fixture(scope="module")
def street() -> Street:
    return Street(0)


def edges(plane: np.ndarray) -> np.ndarray:
    """How much each pixel differs from its right neighbour, (H, W - 1)."""
    return np.abs(np.diff(plane.astype(float), axis=1))


def test_shapes_and_ids(street: Street) -> None:
    image, labels = street.frame(1.0, height=90, width=150)
    assert image.shape == (90, 150, 3)
    assert image.dtype == np.uint8
    assert labels.shape == (90, 150)
    assert labels.dtype == np.uint8
    assert labels.max() < len(CAMVID)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 97), (101, 40)])
def test_awkward_sizes(street: Street, height: int, width: int) -> None:
    image, labels = street.frame(0.5, height=height, width=width)
    assert image.shape[:2] == labels.shape == (height, width)


@pytest.mark.slow
def test_a_frame_does_not_depend_on_the_frames_before_it(street: Street) -> None:
    expected = street.frame(2.0, **SMALL)
    other = Street(0)
    for time in (40.0, 0.0, 2.0):
        found = other.frame(time, **SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.slow
def test_seeds_and_times_differ(street: Street) -> None:
    image, labels = street.frame(1.0, **SMALL)
    for other in (Street(1).frame(1.0, **SMALL), street.frame(9.0, **SMALL)):
        assert np.mean(labels != other[1]) > 0.1
        assert np.abs(image.astype(int) - other[0]).mean() > 10


@pytest.mark.slow
def test_every_class_appears_within_five_seconds(street: Street) -> None:
    shown = [street.frame(time, height=180, width=320)[1] for time in np.arange(0, 5, 0.5)]
    shares = np.bincount(np.stack(shown).ravel(), minlength=len(CAMVID)) / np.stack(shown).size
    assert shares.shape == (len(CAMVID),)
    assert shares.min() > 0.001


@pytest.mark.slow
def test_consecutive_frames_are_alike_but_for_noise(street: Street) -> None:
    (image, labels), (later, later_labels) = (street.frame(time, **SMALL) for time in (3.0, 3.0 + 1 / 30))
    assert np.mean(labels == later_labels) > 0.85
    sky = (labels == 0) & (later_labels == 0)
    assert not np.array_equal(image[sky], later[sky])
    assert np.abs(image.astype(int) - later).mean() < 25


@pytest.mark.slow
def test_a_standing_camera_sees_the_street_stand_still() -> None:
    street = Street(3, speed=0.0)
    (image, labels), (later, later_labels) = (street.frame(time, **SMALL) for time in (0.0, 1 / 240))
    assert np.mean(labels == later_labels) > 0.97
    assert np.median(np.abs(image.astype(int) - later)) < 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_labels_lie_exactly_on_the_image(seed: int) -> None:
    image, labels = Street(seed).frame(1.5, height=180, width=320)
    contrast = edges(image.mean(axis=2))
    strength = {}
    for shift in (-4, -2, 0, 2, 4):
        borders = np.roll(labels, shift, axis=1)
        strength[shift] = contrast[:, 5:-5][edges(borders)[:, 5:-5] > 0].mean()
    assert max(strength, key=strength.__getitem__) == 0
    assert strength[0] > 1.3 * max(value for shift, value in strength.items() if shift)


@pytest.mark.slow
def test_classes_look_like_themselves(street: Street) -> None:
    image, labels = street.frame(1.0, **SMALL)
    means = {name: image[labels == index].mean(axis=0) for index, name in enumerate(CAMVID.names)}
    assert means["sky"].mean() > means["road"].mean() + 40
    assert means["tree"][1] > means["tree"][2]
    rows = {name: np.nonzero(labels == index)[0].mean() for index, name in enumerate(CAMVID.names)}
    assert rows["sky"] < rows["building"] < rows["road"]


@pytest.mark.parametrize("time", [-0.1, float("inf"), float("nan")])
def test_times_out_of_range(street: Street, time: float) -> None:
    with pytest.raises(ValueError, match="time must be 0 seconds or later"):
        street.frame(time)


@pytest.mark.parametrize("size", [(31, 64), (64, 31), (0, 64), (-64, 64)])
def test_sizes_too_small(street: Street, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 32 pixels"):
        street.frame(0.0, height=size[0], width=size[1])


def test_bad_streets_and_clips() -> None:
    with pytest.raises(ValueError, match="seed"):
        Street(-1)
    with pytest.raises(ValueError, match="speed"):
        Street(0, speed=-1.0)
    with pytest.raises(ValueError, match="frames a second"):
        next(street_clip(fps=0))


@pytest.mark.slow
def test_a_long_drive_keeps_little() -> None:
    street = Street(4, speed=40.0)
    kept = []
    for time in range(0, 40, 5):
        street.frame(float(time), height=48, width=64)
        kept.append((len(street.stretches), street.painter.front.cache_info().currsize))
    assert max(stretches for stretches, _ in kept) <= 12
    assert max(fronts for _, fronts in kept) <= street.painter.front.cache_info().maxsize


@pytest.mark.slow
def test_an_hour_into_the_drive(street: Street) -> None:
    image, labels = street.frame(3600.0, **SMALL)
    assert np.unique(labels).size > 5
    assert image.std() > 20


@pytest.mark.slow
def test_a_clip_is_the_street_frame_by_frame(street: Street) -> None:
    pairs = list(street_clip(frames=2, fps=10, start=1.0, **SMALL))
    assert len(pairs) == 2
    assert np.array_equal(pairs[1][0], street.frame(1.1, **SMALL)[0])


def test_noise_tiles_repeat_without_a_seam() -> None:
    noise = spectral_noise(np.random.default_rng(0), 64, 1.0)
    assert noise.shape == (64, 64)
    assert abs(noise.mean()) < 1e-5
    assert np.abs(noise[0] - noise[-1]).mean() < 1.5 * np.abs(noise[10] - noise[11]).mean()


@pytest.mark.slow
def test_folders_to_train_on(tmp_path) -> None:
    images, labels = draw_folders(tmp_path, streets=2, frames=3, rate=1, size=(48, 64), seed=4)
    clips = folder_clips(images, labels, CAMVID)
    assert [len(clip) for clip in clips] == [3, 3]
    pictures = [np.asarray(Image.open(path)) for path in sorted(images.iterdir())]
    assert not np.array_equal(pictures[0], pictures[3])
    draw_folders(tmp_path / "again", streets=1, frames=3, rate=1, size=(48, 64), seed=4)
    again = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "again" / "images").iterdir())]
    assert all(map(np.array_equal, pictures, again))


@pytest.mark.slow
def test_the_sample_clip_is_drawn_the_same_again(tmp_path) -> None:
    draw_sample(tmp_path, seconds=0.1)
    drawn = sorted((tmp_path / "street_labels").iterdir())
    assert [path.name for path in drawn] == ["000000.png", "000001.png", "000002.png"]
    for path in drawn:
        assert np.array_equal(
            np.asarray(Image.open(path)), np.asarray(Image.open(ASSETS / "street_labels" / path.name))
        )
    with VideoReader(tmp_path / "street.mp4") as made, VideoReader(ASSETS / "street.mp4") as kept:
        for one, other in islice(zip(made, kept, strict=False), 3):
            assert one.time == other.time
            assert np.abs(one.image.astype(int) - other.image).mean() < 4  # an encoder looks ahead


@pytest.mark.slow
def test_the_module_runs_by_its_name(tmp_path) -> None:
    small = ["--streets", "1", "--frames", "1", "--size", "32x48"]
    subprocess.run([sys.executable, "-m", "tests.street", tmp_path, *small], check=True, cwd=ASSETS.parent)
    assert Image.open(tmp_path / "images" / "street0000_000000.png").size == (48, 32)
