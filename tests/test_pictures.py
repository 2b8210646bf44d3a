"""What image files hold, for whoever reads them: `run` by `ImageReader`, `eval` and `train` by clips."""

import struct
import warnings
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, features
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lmaseg.datasets.folder import folder_clips
from lmaseg.errors import DatasetError, VideoError
from lmaseg.images import ImageReader, open_source
from lmaseg.labels import CAMVID, CITYSCAPES
from lmaseg.pictures import pages_of, read_rgb

SIZE = (48, 32)  # width and height


def scene(number=0, size=SIZE):
    """(H, W, 3) uint8: a ramp that tells left from right and above from below, another for every number."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(20, 220, width)
    image[..., 1] = np.linspace(0, 200, height)[:, None]
    image[..., 2] = 20 * number
    return image


def folders(tmp_path, save, count=3, labels=None):
    """Folders of images, as `save(number, stem)` writes each, and of label maps."""
    for name in ("i", "l"):
        (tmp_path / name).mkdir(exist_ok=True)
    for number in range(count):
        save(number, tmp_path / "i" / f"f{number:02d}")
        if labels is not None:
            labels(number, tmp_path / "l" / f"f{number:02d}.png")
    return tmp_path / "i", tmp_path / "l"


def ids(number, path, size=SIZE):
    Image.fromarray(np.full(size[::-1], number, np.uint8)).save(path)


def seen_by_all(images, label_maps):
    """The pictures of a folder, once it is sure that run and eval see the same."""
    run = [frame.image for frame in ImageReader(images)]
    clips = folder_clips(images, label_maps, CAMVID)
    scored = [clip.pair(index)[0] for clip in clips for index in range(len(clip))]
    assert len(run) == len(scored)
    assert all(map(np.array_equal, run, scored))
    return run


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_brought_down_for_all(tmp_path, suffix):
    def save(number, stem):
        Image.fromarray(scene(number)[..., 0].astype(np.uint16) * 257).save(stem.with_suffix(suffix))

    for number, image in enumerate(seen_by_all(*folders(tmp_path, save, labels=ids))):
        assert np.array_equal(image, scene(number)[..., :1].repeat(3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_photos_are_upright_for_all(tmp_path, suffix, orientation):
    upright = scene()
    stored = Image.fromarray(upright)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # of Image.Transpose: what undoes the EXIF one
    if turn is not None:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation

    def save(number, stem):
        stored.save(stem.with_suffix(suffix), exif=exif, quality=100)

    for image in seen_by_all(*folders(tmp_path, save, count=2, labels=ids)):
        assert np.abs(image.astype(int) - upright).mean() < 4


def test_transparency_and_print_colours_are_the_same_for_all(tmp_path):
    def save(number, stem):
        picture = Image.fromarray(scene(number))
        if number == 0:
            picture.putalpha(Image.fromarray((np.arange(32 * 48).reshape(32, 48) % 2 * 255).astype(np.uint8)))
            picture.save(stem.with_suffix(".png"))
        elif number == 1:
            picture.convert("CMYK").save(stem.with_suffix(".jpg"), quality=100)
        else:
            picture.convert("P").save(stem.with_suffix(".bmp"))

    images = seen_by_all(*folders(tmp_path, save, labels=ids))
    assert not images[0][0, ::2].any()
    assert np.array_equal(images[0][0, 1::2], scene()[0, 1::2])
    assert np.abs(images[1].astype(int) - scene(1)).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif", ".TIFF"])
def test_label_maps_have_every_suffix_that_keeps_ids(tmp_path, suffix):
    def save(number, stem):
        Image.fromarray(scene(number)).save(stem.with_suffix(".jpeg"))
        label = Image.fromarray(np.full(SIZE[::-1], number + 3, np.uint8))
        label.save(tmp_path / "l" / f"{stem.name}{suffix}", lossless=True)

    clips = folder_clips(*folders(tmp_path, save), CAMVID)
    assert [int(clips[0].label(index)[5, 5]) for index in range(3)] == [3, 4, 5]


def test_stills_of_different_sizes_are_clips_of_their_own(tmp_path):
    sizes = [(48, 32), (48, 32), (40, 32), (48, 32)]

    def save(number, stem):
        Image.fromarray(scene(number, sizes[number])).save(stem.with_suffix(".png"))

    images, label_maps = folders(tmp_path, save, 4, lambda number, path: ids(number, path, sizes[number]))
    clips = folder_clips(images, label_maps, CAMVID)
    assert [(clip.name, len(clip)) for clip in clips] == [("f00", 2), ("f02", 1), ("f03", 1)]
    assert [clip.pair(0)[0].shape[1] for clip in clips] == [48, 40, 48]


ANIMATED = [
    *(".png", ".webp", ".tif", ".gif"),
    pytest.param(".avif", marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")),
]


def animation(path, count=12):
    frames = [Image.new("RGB", SIZE, (20 * number, 90, 90)) for number in range(count)]
    options = {} if path.suffix == ".tif" else {"duration": 80}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize("suffix", ANIMATED)
def test_animations_and_stacks_are_sequences(tmp_path, suffix):
    source = animation(tmp_path / f"anim{suffix}")
    with open_source(source) as reader:
        frames = list(reader)
    assert [round(int(frame.image[5, 5, 0]) / 20) for frame in frames] == list(range(12))
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(12)]
    step = Fraction(1, 30) if suffix == ".tif" else Fraction(80, 1000)
    assert [frame.time - frames[0].time for frame in frames] == [number * step for number in range(12)]
    with open_source(source, start=float(4 * step), stride=3, warm_up=1) as reader:
        assert [round(int(frame.image[5, 5, 0]) / 20) for frame in reader] == [1, 4, 7, 10]


def test_a_stack_among_images_and_in_a_data_set(tmp_path):
    def save(number, stem):
        if number == 1:
            animation(stem.with_suffix(".tif"), 3)
            stack = [Image.fromarray(np.full(SIZE[::-1], level, np.uint8)) for level in (4, 5, 6)]
            stack[0].save(tmp_path / "l" / "f01.tif", save_all=True, append_images=stack[1:])
        else:
            Image.fromarray(scene(number)).save(stem.with_suffix(".png"))
            ids(number, tmp_path / "l" / f"{stem.name}.png")

    images, label_maps = folders(tmp_path, save)
    names = ["f00", "f01_000000", "f01_000001", "f01_000002", "f02"]
    assert [frame.name for frame in ImageReader(images)] == names
    clips = folder_clips(images, label_maps, CAMVID)
    assert sorted(frame.name for clip in clips for frame in clip.frames) == names
    stack = next(clip for clip in clips if len(clip) == 3)
    assert [int(stack.label(index)[0, 0]) for index in range(3)] == [4, 5, 6]
    ids(0, label_maps / "f01.png")
    (label_maps / "f01.tif").unlink()
    with pytest.raises(DatasetError, match=r"f01\.png holds 1 label maps, its image .*f01\.tif 3 pictures"):
        folder_clips(images, label_maps, CAMVID)


def test_previews_and_reduced_copies_are_no_frames(tmp_path):
    first, second = (Image.fromarray(scene(number)) for number in (1, 2))
    first.save(tmp_path / "stereo.jpg", format="MPO", save_all=True, append_images=[second])
    assert len(pages_of(tmp_path / "stereo.jpg")) == 1
    reduced = ImageFileDirectory_v2()
    reduced[254] = 1
    small = first.resize((24, 16))
    small.encoderinfo = {"tiffinfo": reduced}
    first.save(tmp_path / "pyramid.tif", save_all=True, append_images=[small])
    assert [page.size for page in pages_of(tmp_path / "pyramid.tif")] == [SIZE]
    shown_by_old = Image.new("RGB", SIZE)
    shown_by_old.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=[first, second])
    assert [int(frame.image[0, 0, 2]) for frame in ImageReader(tmp_path / "a.png")] == [20, 40]


def with_significant_bits(path, bits):
    """Add an sBIT chunk to a grey PNG."""
    data = path.read_bytes()
    chunk = b"sBIT" + bytes([bits])
    path.write_bytes(data[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:])


def test_levels_are_scaled_by_what_the_file_says(tmp_path):
    grey = scene()[..., 0]
    twelve = Image.fromarray(grey.astype(np.uint16) * 16)
    twelve.save(tmp_path / "told.png")
    with_significant_bits(tmp_path / "told.png", 12)
    tags = ImageFileDirectory_v2()
    tags[281] = 4095
    twelve.save(tmp_path / "told.tif", tiffinfo=tags)
    Image.fromarray((grey / np.float32(255)).astype(np.float32)).save(tmp_path / "share.tif")
    kelvin = ImageFileDirectory_v2()
    kelvin[340], kelvin[341] = 250.0, 505.0
    Image.fromarray(grey.astype(np.float32) + 250).save(tmp_path / "kelvin.tif", tiffinfo=kelvin)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("told.png", "told.tif", "share.tif", "kelvin.tif"):
            assert np.abs(read_rgb(tmp_path / name)[..., 0].astype(int) - grey).max() <= 1, name


def test_full_levels_stay_whatever_the_file_says_of_them(tmp_path):
    grey = scene()[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    with_significant_bits(tmp_path / "a.png", 12)
    assert np.array_equal(read_rgb(tmp_path / "a.png")[..., 0], grey)


@pytest.mark.parametrize("kind", ["png", "float", "white"])
def test_levels_that_nothing_explains_are_doubted_once(tmp_path, kind):
    def save(number, stem):
        grey = scene(number)[..., 0]
        if kind == "png":
            Image.fromarray(grey.astype(np.uint16) * 16).save(stem.with_suffix(".png"))
        else:
            Image.fromarray(grey.astype(np.float32) * (100 if kind == "white" else 1e-4)).save(stem.with_suffix(".tif"))

    images, label_maps = folders(tmp_path, save, labels=ids)
    reader = ImageReader(images)
    list(reader)
    (line,) = reader.warnings
    assert line.startswith(str(reader.paths[0]))
    assert f"comes out nearly {'white' if kind == 'white' else 'black'}" in line
    (clip,) = folder_clips(images, label_maps, CAMVID)
    with pytest.warns(UserWarning, match=r"comes out nearly") as told:
        assert len([clip.pair(index) for index in range(len(clip))]) > 1
    assert [str(each.message) for each in told] == [line]


def coloured(labels, classes):
    table = np.frombuffer(labels.palette, np.uint8).reshape(256, 3)
    return table[classes]


CLASSES = np.array([[0, 1, 2, 255], [8, 8, 10, 3]], np.uint8).repeat(16, axis=0).repeat(12, axis=1)


def saved_label(tmp_path, image):
    (tmp_path / "i").mkdir()
    (tmp_path / "l").mkdir()
    Image.fromarray(scene()).save(tmp_path / "i" / "a.png")
    image.save(tmp_path / "l" / "a.png")
    return tmp_path / "i", tmp_path / "l"


@pytest.mark.parametrize("labels", [CAMVID, CITYSCAPES], ids=lambda labels: labels.name)
@pytest.mark.parametrize(
    "kind", ["grey", "three channels", "colours", "transparent", "palette", "other palette", "deep"]
)
def test_labels_as_annotation_tools_write_them(tmp_path, labels, kind):
    classes = CLASSES
    image = Image.fromarray(classes)
    if kind == "three channels":
        image = Image.merge("RGB", [image] * 3)
    elif kind == "colours":
        image = Image.fromarray(coloured(labels, classes))
    elif kind == "transparent":
        image = Image.fromarray(
            np.dstack([coloured(labels, classes), np.where(classes == 255, 0, 255).astype(np.uint8)])
        )
    elif kind == "palette":
        image.putpalette(np.random.default_rng(0).integers(0, 255, 768, dtype=np.uint8).tobytes())
    elif kind == "other palette":  # in the order in which a tool met the colours
        image = Image.fromarray(coloured(labels, classes)).quantize(8)
        assert not np.array_equal(np.asarray(image), classes)
    elif kind == "deep":
        image = Image.fromarray(classes.astype(np.uint16))
    (clip,) = folder_clips(*saved_label(tmp_path, image), labels)
    assert np.array_equal(clip.label(0), np.where(classes == 255, labels.ignore_index, classes))


def test_a_frame_without_labels_among_coloured_ones_is_unlabelled(tmp_path):
    (clip,) = folder_clips(*saved_label(tmp_path, Image.new("RGB", SIZE)), CITYSCAPES)
    assert (clip.label(0) == 255).all()


def box(kind, *content):
    data = b"".join(content)
    return struct.pack(">I", len(data) + 8) + kind + data


def inner(data, kind):
    """The content of the first box of a kind, wherever in a file."""
    at = data.index(kind) - 4
    return data[at + 8 : at + struct.unpack_from(">I", data, at)[0]]


def grid(tile, size, columns):
    """An AVIF of `columns` times a tile of `size` pixels side by side, laid out as `avifenc --grid` does."""
    coded = inner(tile, b"mdat")
    width, height = size
    numbers = range(2, 2 + columns)
    items = [(1, b"grid"), *((number, b"av01") for number in numbers)]
    infe = [box(b"infe", b"\2\0\0\0", struct.pack(">HH", item, 0), kind, b"\0") for item, kind in items]
    sizes = [box(b"ispe", bytes(4), struct.pack(">II", across, height)) for across in (columns * width, width)]
    ipco = box(b"ipco", *sizes, box(b"av1C", inner(tile, b"av1C")), box(b"pixi", b"\0\0\0\0\3\10\10\10"))
    of_tiles = b"".join(struct.pack(">HBBBB", number, 3, 2, 0x83, 4) for number in numbers)
    ipma = box(b"ipma", bytes(4), struct.pack(">I", 1 + columns), struct.pack(">HBBB", 1, 2, 1, 4), of_tiles)
    layout = struct.pack(">BBBBHH", 0, 0, 0, columns - 1, columns * width, height)

    def meta(begin):
        where = [struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(layout))]
        where += [struct.pack(">HHHHII", number, 0, 0, 1, begin, len(coded)) for number in numbers]
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), struct.pack(">H", 1)),
            box(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", 1 + columns), *where),
            box(b"iinf", bytes(4), struct.pack(">H", len(items)), *infe),
            box(b"iref", bytes(4), box(b"dimg", struct.pack(f">HH{columns}H", 1, columns, *numbers))),
            box(b"iprp", ipco, ipma),
            box(b"idat", layout),
        )

    kind = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    return kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", coded)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_a_picture_in_tiles_is_whole_or_refused(tmp_path):
    tile = tmp_path / "tile.avif"
    Image.fromarray(scene(size=(64, 64))).save(tile, quality=100)
    for name in ("grid.avif", "grid.heic"):
        (tmp_path / name).write_bytes(grid(tile.read_bytes(), (64, 64), 3))
    with open_source(tmp_path / "grid.avif") as reader:
        (frame,) = reader
    assert (reader.width, reader.height) == (192, 64)
    assert np.abs(frame.image.astype(int) - np.tile(read_rgb(tile), (1, 3, 1))).mean() < 2  # chroma crosses the seams
    with pytest.raises(VideoError, match=r"grid\.heic is a picture in 3 tiles.*convert it to JPEG or PNG first"):
        open_source(tmp_path / "grid.heic")
