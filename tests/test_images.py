from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaseg.errors import VideoError
from lmaseg.images import ImageReader, gathered, is_image_source, name_of, natural_key, open_source
from lmaseg.labels import CAMVID
from lmaseg.maps import LabelMapWriter
from lmaseg.pictures import read_rgb
from lmaseg.video import VideoReader


def picture(number, size=(16, 12)):
    return Image.new("RGB", size, (number, 100, 200))


@pytest.fixture
def folder(tmp_path):
    """f1.png ... f12.png, red levels 1 to 12."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(1, 13):
        picture(number).save(path / f"f{number}.png")
    return path


def numbers(source, **options):
    return [int(frame.image[0, 0, 0]) for frame in ImageReader(source, **options) if not frame.warm_up]


def test_a_folder_is_read_in_natural_order(folder):
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".f0.png").write_text("hidden")
    with ImageReader(folder) as reader:
        frames = list(reader)
        assert (reader.width, reader.height, reader.frames, reader.rate) == (16, 12, 12, 30)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(1, 13))
    assert [frame.name for frame in frames] == [f"f{number}" for number in range(1, 13)]
    assert [frame.time for frame in frames] == [Fraction(index, 30) for index in range(12)]
    assert frames[0].image.dtype == np.uint8


def test_natural_order():
    names = ["b2", "a10b10", "a10b9", "a9", "10", "9", "a", "a01", "a1"]
    assert [str(path) for path in sorted(map(Path, names), key=natural_key)] == [
        *("9", "10", "a", "a01", "a1", "a9", "a10b9", "a10b10", "b2")
    ]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"stride": 5}, [1, 6, 11]),
        ({"start": 0.1, "end": 0.2}, [4, 5, 6]),
        ({"start": 2 / 30}, list(range(3, 13))),
        ({"start": 0.11, "end": 99}, list(range(5, 13))),
        ({"start": 0.06, "end": 0.26, "stride": 2}, [3, 5, 7]),
    ],
)
def test_cuts(folder, options, wanted):
    assert numbers(folder, **options) == wanted
    assert ImageReader(folder, **options).frames == len(wanted)


def test_warming_up(folder):
    frames = list(ImageReader(folder, start=5 / 30, stride=2, warm_up=4))
    assert [(int(frame.image[0, 0, 0]), frame.warm_up) for frame in frames] == [
        *((2, True), (4, True)),
        *((number, False) for number in (6, 8, 10, 12)),
    ]


def test_warming_up_on_whole_seconds(tmp_path):
    for index in range(100):
        picture(index).save(tmp_path / f"{index:03d}.png")
    reader = ImageReader(tmp_path, start=2.5, end=2.6, warm_up_since=lambda time: Fraction(floor(time) - 1))
    assert [int(frame.image[0, 0, 0]) for frame in reader if frame.warm_up] == list(range(30, 75))


def test_globs_and_single_images(folder):
    assert numbers(folder / "f1*.png") == [1, 10, 11, 12]
    assert numbers(str(folder.parent / "**" / "f2.*")) == [2]
    assert numbers(folder / "f3.png") == [3]


def test_names_with_a_number_as_ffmpeg_takes_them(folder):
    for name in ("f01.png", "f13.jpg", "g2.png"):
        picture(99).save(folder / name)
    assert numbers(folder / "f%d.png") == list(range(1, 13))
    assert numbers(str(folder / "f%02d.png")) == [99, 10, 11, 12]
    assert numbers(folder / "f%01d.png", start=0.2) == list(range(7, 13))
    with pytest.raises(VideoError, match=r"f%03d\.png does not exist"):
        ImageReader(folder / "f%03d.png")
    picture(7).save(folder / "g%d.png")
    assert numbers(folder / "g%d.png") == [7]  # a file of that very name


def test_several_images_are_one_sequence(folder, make_video, tmp_path):
    images = [str(path) for path in sorted(folder.glob("*.png"))]
    video = str(make_video())
    for given, left in [(images, 12), (images[1:4], 3), (images[:1], 1)]:
        (source,) = gathered(given)
        assert ImageReader(source).frames == left
    assert gathered([video, *images, "camera:0"]) == [str(folder / "f*.png"), video, "camera:0"]
    with pytest.raises(VideoError, match=r"no pattern means just these: quote the pattern"):
        gathered([images[0], images[5]])
    for clutter in ("Thumbs.db", ".DS_Store", "._in.mp4"):
        (tmp_path / clutter).touch()
    assert gathered([str(tmp_path / "Thumbs.db"), video, str(tmp_path / "._in.mp4")]) == [video]


def test_what_outputs_are_called(folder, monkeypatch):
    monkeypatch.chdir(folder)
    sources = ["f1.png", "*.png", "f%d.png", str(folder), "../frames/f?.png", "drive.v2.mp4", "rtsp://host/street"]
    assert [name_of(source) for source in sources] == ["f1", *["frames"] * 4, "drive.v2", "street"]


def test_what_counts_as_images(folder, tmp_path):
    odd_name = tmp_path / "in [1].mp4"
    odd_name.touch()
    assert is_image_source(folder)
    assert is_image_source(str(folder / "*.png"))
    assert is_image_source(folder / "f1.png")
    assert not is_image_source(odd_name)
    assert not is_image_source("missing.mp4")
    assert not is_image_source("https://host/list?name=*.mp4")


def test_open_source_chooses(folder, make_video):
    with open_source(folder, stride=2) as images, open_source(make_video(), stride=2) as video:
        assert isinstance(images, ImageReader)
        assert isinstance(video, VideoReader)
        assert (images.frames, video.frames) == (6, 5)
    with pytest.raises(VideoError, match="does not exist"):
        open_source(folder / "missing.mp4")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".PNG"])
def test_formats(tmp_path, suffix):
    picture(50).save(tmp_path / f"a{suffix}")
    assert np.abs(next(iter(ImageReader(tmp_path))).image[6, 6].astype(int) - (50, 100, 200)).max() < 8


def test_every_mode_becomes_rgb(tmp_path):
    grey = np.full((4, 4), 128, np.uint8)
    see_through = np.dstack([grey + 100, grey, grey, np.tile(np.uint8([255, 0, 255, 0]), (4, 1))])
    palette = Image.fromarray(np.zeros((4, 4), np.uint8))
    palette.putpalette([10, 20, 30])
    images = {
        "grey": (Image.fromarray(grey), (128, 128, 128)),
        "deep": (Image.fromarray(grey.astype(np.uint16) * 257), (128, 128, 128)),
        "alpha": (Image.fromarray(see_through), (228, 128, 128)),
        "palette": (palette, (10, 20, 30)),
        "bits": (Image.fromarray(grey > 0), (255, 255, 255)),
    }
    for name, (image, colour) in images.items():
        image.save(tmp_path / f"{name}.png")
        read = read_rgb(tmp_path / f"{name}.png")
        assert (read.shape, read.dtype) == ((4, 4, 3), np.uint8)
        assert tuple(read[0, 0]) == colour, name
    assert tuple(read_rgb(tmp_path / "alpha.png")[0, 1]) == (0, 0, 0)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation(tmp_path, orientation, turns):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(pixels, turns)
    reader = ImageReader(tmp_path)
    assert (reader.height, reader.width) == upright.shape[:2]
    assert np.array_equal(next(iter(reader)).image, upright)


def test_what_cannot_be_read_is_said_in_a_sentence(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, says in (("empty", "empty holds no"), ("*.jpg", "does not exist, and as a pattern")):
        with pytest.raises(VideoError, match=f"{says}.* images: give"):
            ImageReader(tmp_path / name)
    with pytest.raises(VideoError, match=r"no image between 1 s and its end: its 12 images last 0\.4 s"):
        ImageReader(folder, start=1)
    with pytest.raises(VideoError, match="not after the start"):
        ImageReader(folder, start=0.2, end=0.1)


def test_the_first_odd_size_is_named(folder):
    picture(0, (16, 13)).save(folder / "f5.png")
    picture(0, (99, 12)).save(folder / "f11.png")
    with pytest.raises(VideoError, match=r"f5\.png is 16x13 but .*f1\.png is 16x12"):
        ImageReader(folder)


def test_unreadable_images_are_named(folder):
    whole = (folder / "f4.png").read_bytes()
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "f4.png")
    (folder / "f4.png").write_bytes((folder / "f4.png").read_bytes()[:300])
    with pytest.raises(VideoError, match=r"f4\.png cannot be read"):
        list(ImageReader(folder))
    (folder / "f4.png").write_bytes(whole)
    (folder / "f7.png").write_text("no picture")
    with pytest.raises(VideoError, match=r"f7\.png cannot be read \(not an image\)"):
        ImageReader(folder)


def test_two_images_of_one_name_are_refused(folder):
    picture(1).save(folder / "f1.jpg")
    with pytest.raises(VideoError, match="both be named f1"):
        ImageReader(folder)


LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def test_label_maps_hold_ids_and_colours(tmp_path):
    with LabelMapWriter(tmp_path / "maps", CAMVID) as writer:
        writer.write(LABELS, "000000")
        writer.write(LABELS[:, ::-1], "street")
        assert not (tmp_path / "maps").exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000000.png", "maps", "street.png"]
    with Image.open(tmp_path / "maps" / "000000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), LABELS)
        shown = np.asarray(image.convert("RGB"))
    for index in range(len(CAMVID)):
        assert tuple(shown[index == LABELS][0]) == CAMVID.colors[index]
    assert tuple(shown[CAMVID.ignore_index == LABELS][0]) == (0, 0, 0)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "maps" / "street.png")), LABELS[:, ::-1])


def write_maps(folder, names=("a",), **options):
    with LabelMapWriter(folder, CAMVID, **options) as writer:
        for name in names:
            writer.write(LABELS if name else LABELS.astype(int), name)


def test_a_folder_in_use_needs_leave(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    write_maps(folder)  # empty: replaced
    (folder / "a.png").write_text("old")
    (folder / "other.txt").write_text("precious")
    with pytest.raises(VideoError, match="already exists: allow overwriting"):
        write_maps(folder)
    write_maps(folder, ("a", "b"), overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "other.txt"]
    assert np.array_equal(np.asarray(Image.open(folder / "a.png")), LABELS)
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_after_an_error_the_part_is_kept_if_it_holds_anything(tmp_path):
    with pytest.raises(ValueError, match="uint8 class ids"):
        write_maps(tmp_path / "maps", ("",))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="uint8 class ids"):
        write_maps(tmp_path / "maps", ("a", ""))
    assert [path.name for path in tmp_path.rglob("*")] == ["maps.part", "a.png"]
    write_maps(tmp_path / "maps", ("b",))  # what an interrupted run left is not mixed in
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.png", "maps"]


def test_outputs_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    for name, says in [("file", "is a file"), ("no/maps", "does not exist: make it first")]:
        with pytest.raises(VideoError, match=says):
            LabelMapWriter(tmp_path / name, CAMVID)
    with pytest.raises(VideoError, match="cannot write"), LabelMapWriter(tmp_path / "maps", CAMVID) as writer:
        writer.write(LABELS, "no/such/place")
