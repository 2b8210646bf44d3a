"""Sources made to break things end in a sentence, soon, and nothing but the outputs is touched."""

import os
import struct
import zlib
from fractions import Fraction

import pytest
from media import number_of, write_video
from PIL import Image

from lmaseg import cli
from lmaseg.errors import VideoError
from lmaseg.images import ImageReader, open_source
from lmaseg.labels import CAMVID
from lmaseg.maps import LabelMapWriter
from lmaseg.video import VideoReader, VideoWriter
from lmaseg.video import decoder as decoder_module

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("small_network")]


def patched(path, name, place, form, *values):
    """A copy with values in the place of what lies so many bytes after a box's or chunk's name."""
    data = bytearray(path.read_bytes())
    box, offset = place
    struct.pack_into(form, data, data.index(box) + offset, *values)
    copy = path.with_name(name)
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 10_000), (2**31 - 1, 2**31 - 1), (0, 0)], ids=str)
def test_absurd_dimensions(make_video, size):
    path = make_video("in.avi", codec="rawvideo")
    with pytest.raises(VideoError, match=r"is 20000x10000 pixels, beyond|can be decoded|is not a video"):
        VideoReader(patched(path, "absurd.avi", (b"strf", 12), "<II", *size))


def test_a_size_that_becomes_absurd_on_the_way(make_video, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_module, "MOST_PIXELS", 128 * 96 - 1)
    path = tmp_path / "joined.ts"
    path.write_bytes(make_video("a.ts").read_bytes() + make_video("b.ts", size=(128, 96)).read_bytes())
    with VideoReader(path) as reader:
        numbers = [number_of(frame.image) for frame in reader]
        assert reader.damaged > 0
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 5


BILLION = {
    "chunk count of AVI": ("in.avi", (b"strh", 40), "<I"),
    "sample durations of MP4": ("in.mp4", (b"stts", 12), ">I"),
    "sample sizes of MP4": ("in.mp4", (b"stsz", 12), ">I"),
    "chunks of MP4": ("in.mp4", (b"stsc", 8), ">I"),
}


@pytest.mark.parametrize("what", BILLION)
def test_a_billion_declared_frames(make_video, what):
    name, place, form = BILLION[what]
    path = patched(make_video(name, codec="mpeg4"), f"billion-{name}", place, form, 10**9)
    try:
        with VideoReader(path) as reader:
            assert len(list(reader)) == 10
    except VideoError as error:
        assert "is not a video" in str(error)  # noqa: PT017


def png(width, height, pixels):
    """A PNG that declares a size and holds so many compressed zero bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(pixels), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "says"),
    [((20_000, 6000), "beyond 16384 a side"), ((100_000, 100_000), "cannot be read"), ((64, 48), "cannot be read")],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_and_stumps_among_images(tmp_path, size, says):
    (tmp_path / "a.png").write_bytes(png(*size, pixels=1000))
    with pytest.raises(VideoError, match=says), ImageReader(tmp_path) as reader:
        list(reader)


@pytest.mark.parametrize("name", ["[red]x[bold].mp4", "a\nb.mp4", "10:30.mp4", "100%d.mp4", "-y.mp4", "concat:a|b.mp4"])
def test_awkward_names_are_read_and_said(make_video, tmp_path, name, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video("plain.mp4")
    os.rename("plain.mp4", name)
    with open_source(name) as reader:
        assert len(list(reader)) == 10
    os.truncate(name, 100)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "-o", "out.mp4", "--", name])
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert " ".join(name.split()) in said
    assert said.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_file_among_images(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    for name, make in {
        "2.png": os.mkfifo,
        "3.png": lambda path: path.symlink_to(path.name),
        "4.png": lambda path: path.symlink_to("missing"),
        "5.png": os.mkdir,
    }.items():
        make(folder / name)
        with pytest.raises(VideoError, match=f"{name} is not a file that can be read"):
            ImageReader(folder)
        (folder / name).unlink() if name != "5.png" else (folder / name).rmdir()
    assert ImageReader(folder).frames == 1


def test_folders_that_lead_back_to_themselves(tmp_path):
    (tmp_path / "inner").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "inner" / "1.png")
    for number in range(8):
        (tmp_path / "inner" / f"loop{number}").symlink_to(tmp_path)
    assert ImageReader(tmp_path / "**" / "*.png").frames == 1
    assert ImageReader(tmp_path / "**").frames == 1
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(VideoError, match="does not exist"):
        open_source(tmp_path / "self")


def test_a_playlist_reaches_for_no_network(tmp_path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match=r"list\.m3u8"):
        VideoReader(playlist)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_inputs_are_never_outputs(make_video, tmp_path):
    path = make_video("in.mkv")
    link = tmp_path / "link.mkv"
    link.symlink_to(path)
    frames = tmp_path / "frames"
    frames.mkdir()
    Image.new("RGB", (8, 8)).save(frames / "1.png")
    before = contents(tmp_path)
    size = {"width": 64, "height": 48, "time_base": Fraction(1, 25), "rate": 25}
    for output in (path, link):
        with pytest.raises(VideoError, match="is the source itself"):
            VideoWriter(output, copy_from=path, overwrite=True, **size)
    with pytest.raises(VideoError, match="holds the images that are read"):
        LabelMapWriter(frames, CAMVID, overwrite=True, inputs=ImageReader(frames).paths)
    part = frames.rename(tmp_path / "frames.part")
    with pytest.raises(VideoError, match="holds the images that are read"):
        LabelMapWriter(frames, CAMVID, inputs=ImageReader(part).paths)
    part.rename(frames)
    assert contents(tmp_path) == before


PRECIOUS = [
    (["in.mkv", "-o", "in.mkv"], 1, "in.mkv is the source itself"),
    (["in.mkv", "-o", "link.mkv"], 1, "link.mkv is the source itself"),
    (["in.mkv", "-o", "same.mkv"], 1, "same.mkv is the source itself"),
    (["link.mkv", "-o", "in.mkv"], 1, "in.mkv is the source itself"),
    (["out.part.mp4", "-o", "out.mp4"], 1, "out.part.mp4 is the source, and out.mp4 is kept there"),
    (["in.mkv", "-o", "linked.mp4"], 1, "linked.part.mp4 is the source, and linked.mp4 is kept there"),
    (["other.mkv", "-o", "linked.mp4"], 1, "linked.part.mp4 is a link"),
    (["in.mkv", "-o", "out.mkv", "--report", "in.mkv"], 1, "in.mkv is the source itself"),
    (["in.mkv", "-o", "maps", "--json", "in.mkv"], 1, "in.mkv is the source itself"),
    (["other.mkv", "clips/in.part.mp4", "in.mkv", "-o", "clips"], 1, "clips/in.part.mp4 is the source itself"),
    (["in.mkv", "-o", "new.mkv", "--report", "new.mkv"], 2, "new.mkv would be two outputs at once"),
    (["in.mkv", "-o", "maps", "--confidence", "./maps"], 2, "maps would be two outputs at once"),
    (["frames", "-o", "frames"], 1, "frames holds the images that are read"),
    (["frames", "-o", "maps", "--confidence", "frames"], 1, "frames holds the images that are read"),
    (["frames", "-o", "maps", "--confidence", "linked"], 1, "linked holds the images that are read"),
    (["frames", "-o", "new.mp4", "--json", "frames/1.png"], 1, "frames/1.png is the source itself"),
    (["frames/*.png", "-o", "frames"], 1, "frames holds the images that are read"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), PRECIOUS)
def test_commands_that_would_overwrite_what_they_read(make_video, tmp_path, monkeypatch, capsys, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    path = make_video("in.mkv")
    for name in ("out.part.mp4", "other.mkv"):
        make_video(name)
    (tmp_path / "link.mkv").symlink_to("in.mkv")
    (tmp_path / "same.mkv").hardlink_to(path)
    (tmp_path / "linked.part.mp4").symlink_to("in.mkv")
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (64, 48)).save("frames/1.png")
    (tmp_path / "linked").symlink_to("frames")
    (tmp_path / "clips").mkdir()
    make_video("clips/in.part.mp4")
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", *arguments, "-y", "--size", "32"])
    said = capsys.readouterr().err
    assert left.value.code == code
    assert says in said
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


HOSTILE = {
    "absurd.avi": "is 20000x10000 pixels, beyond 16384 a side",
    "bombs": "is 20000x6000 pixels, beyond 16384 a side",
    "self.mp4": "self.mp4 does not exist",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_command_refuses_in_a_sentence_and_leaves_nothing(make_video, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    patched(make_video("in.avi", codec="rawvideo"), "absurd.avi", (b"strf", 12), "<II", 20_000, 10_000)
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    (tmp_path / "bombs").mkdir()
    (tmp_path / "bombs" / "a.png").write_bytes(png(20_000, 6000, pixels=1000))
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", name, "-o", "out.mp4", "--labels", "maps"])
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert HOSTILE[name] in said
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("what", BILLION)
def test_the_command_is_bounded_by_what_is_there(make_video, tmp_path, what):
    name, place, form = BILLION[what]
    path = patched(make_video(name, codec="mpeg4"), f"billion-{name}", place, form, 10**9)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", str(path), "-o", str(tmp_path / "out.mp4"), "--size", "32"])
    assert left.value.code == 0 or not (tmp_path / "out.mp4").exists()
    if left.value.code == 0:
        with VideoReader(tmp_path / "out.mp4") as reader:
            assert len(list(reader)) == 10


@pytest.mark.parametrize("name", ["[red]x[bold].mp4", "a\nb.mp4", "-y.mp4", "100%d.mp4"])
def test_only_the_named_outputs_appear(make_video, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour.part.mp4").write_text("of another run")
    make_video("plain.mp4").rename(name)
    folder = tmp_path / f"{name}.d"
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", f"--output={folder}/{name}", f"--labels={folder}/maps", "--size", "32", "--", name])
    assert left.value.code == 1
    assert "does not exist: make it first" in capsys.readouterr().err
    folder.mkdir()
    with pytest.raises(SystemExit) as left:
        cli.main(["run", f"--output={folder}/{name}", f"--labels={folder}/maps", "--size", "32", "--", name])
    assert left.value.code == 0
    assert " ".join(name.split()) in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "maps"])
    assert {path: data for path, data in contents(tmp_path).items() if folder not in path.parents} == before


def test_strict_reading_ends_with_the_first_damage(make_video):
    path = make_video("in.mkv", pts=range(200), size=(320, 240), keyframes=20)
    with VideoReader(path, strict=True) as reader:
        assert len(list(reader)) == 200
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    numbers = []
    with (
        pytest.raises(VideoError, match=r"in\.mkv is damaged after \d\.\d{3} s \(.*\): copy it again"),
        VideoReader(path, strict=True) as reader,
    ):
        numbers.extend(number_of(frame.image) for frame in reader)
    assert numbers == list(range(len(numbers)))
    assert 50 < len(numbers) < 150
    with VideoReader(path) as reader:
        assert len(list(reader)) > len(numbers)
        assert reader.damaged > 0
