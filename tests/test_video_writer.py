"""Writing videos; `test_video.py` is about reading them."""

import os
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from media import CLOCK, TIMES, broken_copy, numbered, packets, psnr, read, write, writer_for

from lmaseg.errors import VideoError
from lmaseg.video import VideoReader

OUTPUTS = [
    ("out.mp4", None),
    ("out.mov", None),
    ("out.mkv", None),
    ("out.webm", None),
    ("out.mp4", "hevc"),
    ("out.mp4", "av1"),
    ("out.mkv", "ffv1"),
]


@pytest.mark.parametrize(("name", "codec"), OUTPUTS)
@pytest.mark.parametrize("pts", TIMES.values(), ids=TIMES)
def test_written_times_are_exact(tmp_path, name, codec, pts):
    write(tmp_path / name, pts, time_base=CLOCK, rate=30, codec=codec)
    numbers, times, _ = read(tmp_path / name)
    assert numbers == list(range(len(pts)))
    exact = name.endswith(("mp4", "mov"))
    expected = [float(p * CLOCK) for p in pts]
    if not exact:  # two frames within a millisecond cannot share it
        assert [float(time) for time in times] == pytest.approx(expected, abs=0.0016)
    else:
        assert times == [p * CLOCK for p in pts]


@pytest.mark.parametrize(("name", "tick"), [("out.avi", Fraction(1001, 30000)), ("out.gif", Fraction(1, 100))])
@pytest.mark.parametrize("kind", ["constant", "late"])
def test_coarser_times_begin_at_0_and_do_not_drift(tmp_path, name, tick, kind):
    pts = TIMES[kind]
    writer = write(tmp_path / name, pts, time_base=CLOCK, rate=Fraction(30000, 1001))
    numbers, times, _ = read(tmp_path / name)
    assert writer.warnings == []
    assert numbers == list(range(len(pts)))
    expected = [float((time - pts[0]) * CLOCK) for time in pts]
    assert [float(time) for time in times] == pytest.approx(expected, abs=float(tick))


def test_a_gif_shows_no_more_frames_than_players_do(tmp_path):
    writer = write(tmp_path / "out.gif", range(60), time_base=Fraction(1, 60), rate=60)
    numbers, times, _ = read(tmp_path / "out.gif")
    assert [float(time) for time in times] == pytest.approx([number / 60 for number in numbers], abs=0.01)
    assert min(later - time for time, later in pairwise(times)) == Fraction(2, 100)
    assert writer.warnings == [f"{60 - len(times)} frames were left out: a gif file shows at most 50 a second"]


def test_an_mp4_shows_its_last_frame_wherever_its_last_fragment_begins(tmp_path):
    for count in range(52, 62):
        write(tmp_path / "out.mp4", [2, 3, *range(5, count)], time_base=Fraction(1, 30), rate=30, overwrite=True)
        assert len(read(tmp_path / "out.mp4")[0]) == count - 3


def test_negative_times_are_lifted_together(tmp_path, make_video):
    source = make_video(audio=1.0)
    write(tmp_path / "out.mp4", range(-5, 15), copy_from=source)
    numbers, times, _ = read(tmp_path / "out.mp4")
    assert (len(numbers), times[0], times[-1]) == (20, 0, Fraction(19, 25))
    assert packets(tmp_path / "out.mp4")[5][0] - packets(source)[5][0] == pytest.approx(Fraction(5, 25), abs=0.001)


@pytest.mark.parametrize(("name", "codec"), [*OUTPUTS, ("out.avi", None), ("out.gif", None)])
def test_colours_survive(tmp_path, name, codec):
    ramp = np.linspace(0, 255, 128)
    columns, rows = np.meshgrid(ramp, ramp)
    image = np.stack([columns, rows, 255 - columns], -1).astype(np.uint8)
    with writer_for(tmp_path / name, (128, 128), codec=codec, crf=10) as writer:
        for pts in range(3):
            writer.write(image, pts)
    with VideoReader(tmp_path / name) as reader:
        for frame in reader:
            assert psnr(frame.image, image) > (60 if codec == "ffv1" else 25 if name == "out.gif" else 38)
    if codec != "ffv1" and name != "out.gif":
        with av.open(tmp_path / name) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited


@pytest.mark.parametrize("count", range(1, 8))
def test_very_short_videos_in_hevc(tmp_path, count):
    pts = [53 + 64 * i for i in range(count)]
    write(tmp_path / "out.mp4", pts, codec="hevc", time_base=Fraction(1, 1000), rate=15)
    assert read(tmp_path / "out.mp4")[:2] == (list(range(count)), [Fraction(time, 1000) for time in pts])


def test_untagged_high_definition_is_taken_for_bt709(tmp_path):
    image = np.full((720, 1280, 3), (200, 40, 60), np.uint8)
    with av.open(tmp_path / "in.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25, width=1280, height=720, options={"preset": "ultrafast"})
        frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p", dst_colorspace="itu709")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with VideoReader(tmp_path / "in.mp4") as reader:
        assert np.abs(next(iter(reader)).image.astype(int) - image).max() <= 4


@pytest.mark.parametrize(("name", "codec"), [*OUTPUTS, ("out.avi", None), ("out.gif", "gif")])
@pytest.mark.parametrize("size", [(63, 47), (65, 48)])
def test_odd_sizes(tmp_path, name, codec, size):
    writer = write(tmp_path / name, range(3), size, codec=codec)
    kept = codec in ("ffv1", "av1", "gif") or name == "out.webm"
    even = tuple(side + side % 2 for side in size)
    with VideoReader(tmp_path / name) as reader:
        assert (reader.width, reader.height) == (size if kept else even)
        frame = next(iter(reader))
    assert psnr(frame.image[: size[1], : size[0]], numbered(0, *size)) > 25
    if kept:
        assert writer.warnings == []
    else:
        assert psnr(frame.image[:, -1], frame.image[:, -2]) > 20
        (said,) = writer.warnings
        assert "takes even sizes only: {}x{} became {}x{}".format(*size, *even) in said


def test_pixels_keep_their_shape(tmp_path):
    write(tmp_path / "out.mp4", sample_aspect_ratio=Fraction(4, 3))
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_sound_is_copied_packet_by_packet(make_video, tmp_path, name):
    source = make_video(pts=range(50), audio=2.0)
    writer = write(tmp_path / name, range(50), copy_from=source)
    assert writer.skipped_streams == []
    before, after = packets(source), packets(tmp_path / name)
    if name == "out.mkv":
        before = [(time, data) for time, data in before if time >= 0]
    assert len(after) == len(before) > 90
    assert [data for _, data in after] == [data for _, data in before]
    assert [float(time) for time, _ in after] == pytest.approx([float(time) for time, _ in before], abs=0.001)
    assert read(tmp_path / name)[1] == [Fraction(i, 25) for i in range(50)]


@pytest.mark.parametrize(("name", "begins"), [("out.mp4", 0.0), ("out.avi", 0.52)])
def test_sound_of_a_piece(make_video, tmp_path, name, begins):
    """It stays in step; an AVI file begins with its first frame."""
    source = make_video(pts=range(50), audio=2.0)
    with VideoReader(source, start=0.5, end=1.0) as reader:
        options = {"time_base": reader.time_base, "copy_from": source, "start": 0.5, "end": 1.0}
        with writer_for(tmp_path / name, **options) as writer:
            for frame in reader:
                writer.write(frame.image, frame.pts)
    times = [float(time) + begins for time, _ in packets(tmp_path / name)]
    expected = [float(time) for time, _ in packets(source) if max(0.5, begins) <= time < 1.0]
    assert times == pytest.approx(expected, abs=0.02 if begins else 0.001)
    assert [float(time) + begins for time in read(tmp_path / name)[1]] == pytest.approx(np.arange(0.52, 0.99, 0.04))


def test_streams_a_container_cannot_hold_are_named(make_video, tmp_path):
    writer = write(tmp_path / "out.webm", copy_from=make_video(audio=0.5))
    assert len(writer.skipped_streams) == 1
    assert "aac" in writer.skipped_streams[0]
    assert len(read(tmp_path / "out.webm")[0]) == 10


@pytest.mark.timeout(30)
def test_broken_sound_does_not_end_the_job(make_video, tmp_path):
    source = make_video("in.ts", pts=range(50), audio=2.0)
    broken = broken_copy(source, "broken.ts", 0.3, 0.6)
    for name in ("out.mp4", "out.mkv"):
        write(tmp_path / name, range(50), copy_from=broken)
        assert len(read(tmp_path / name)[0]) == 50
        assert 40 < len(packets(tmp_path / name)) < 95


def test_broadcast_sound_is_copied_into_files(make_video, tmp_path):
    source = make_video("in.ts", pts=range(50), audio=2.0)  # AAC with a header on every packet
    for name in ("out.mp4", "out.mkv"):
        writer = write(tmp_path / name, range(50), copy_from=source)
        assert writer.skipped_streams == []
        assert len(packets(tmp_path / name)) == len(packets(source))
        with av.open(tmp_path / name) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) > 90_000


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("out.xyz", {}, "ends in .mp4"),
        ("out", {}, "ends in .mp4"),
        ("no/out.mp4", {}, "no does not exist"),
        ("out.mp4", {"codec": "mpeg9"}, "'mpeg9' here: choose h264, hevc"),
        ("out.webm", {"codec": "h264"}, "webm file cannot hold h264: choose vp9 or av1"),
        ("out.avi", {"codec": "hevc"}, "avi file cannot hold hevc: choose h264 or ffv1"),
        ("out.gif", {"codec": "h264"}, "gif file cannot hold h264: choose gif"),
        ("out.mkv", {"codec": "gif"}, "matroska file cannot hold gif: choose h264"),
        ("out.mp4", {"crf": 99}, "crf of 99 is out of range"),
        ("out.mp4", {"size": (0, 48)}, "0x48"),
        ("out.mp4", {"size": (96, 16), "codec": "av1"}, "takes pictures of 32x32 pixels or more, not 96x16"),
        ("out.mp4", {"size": (36, 30), "codec": "hevc"}, "takes pictures of 50x32 pixels or more, not 36x30"),
        ("out.mp4", {"size": (48, 96), "codec": "hevc"}, "takes pictures of 50x32 pixels or more, not 48x96"),
        ("there.mp4", {}, "already exists"),
        ("folder.mp4", {}, "is a folder"),
        ("in.mp4", {"copy_from": "in.mp4", "overwrite": True}, "is the source itself"),
    ],
)
def test_outputs_that_cannot_be(make_video, tmp_path, monkeypatch, name, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.mp4").write_text("precious")
    (tmp_path / "folder.mp4").mkdir()
    make_video()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VideoError, match=says):
        writer_for(name, **options)
    assert sorted(tmp_path.iterdir()) == before


def boxes(path):
    data, found, position = path.read_bytes(), [], 0
    while position < len(data):
        found.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4])
    return found


def test_an_output_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "out.mp4"
    with writer_for(path) as writer:
        for pts in range(30):
            writer.write(numbered(pts), pts)
            assert not path.exists()
        assert writer.part_path == tmp_path / "out.part.mp4"
        assert writer.part_path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(path) as container:
        assert container.streams.video[0].frames == 30
    assert boxes(path) == ["ftyp", "free", "mdat", "moov"]  # an ordinary file: the fragments are gone


def test_after_an_error_the_part_plays(tmp_path):
    with pytest.raises(ValueError, match="does not come after"):
        write(tmp_path / "out.mp4", [*range(30), 3])
    assert [file.name for file in tmp_path.iterdir()] == ["out.part.mp4"]
    assert read(tmp_path / "out.part.mp4")[0] == list(range(30))


def test_nothing_is_left_of_an_output_without_frames(tmp_path):
    with pytest.raises(RuntimeError), writer_for(tmp_path / "out.mp4"):
        raise RuntimeError
    with pytest.raises(VideoError, match="no frame came"), writer_for(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(60)
def test_a_killed_process_leaves_a_part_that_plays(tmp_path):
    script = f"""
import numpy as np, os, signal
from fractions import Fraction
from lmaseg.video import VideoWriter
noise = np.random.default_rng(0)
with VideoWriter({str(tmp_path / "out.mp4")!r}, width=64, height=48, time_base=Fraction(1, 25), rate=25) as writer:
    for pts in range(300):
        writer.write(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8), pts)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["out.part.mp4"]
    with VideoReader(tmp_path / "out.part.mp4") as reader:
        assert 100 < len(list(reader)) <= 300


def test_a_full_disk_is_a_sentence(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    (tmp_path / "out.part.mkv").symlink_to("/dev/full")
    with pytest.raises(VideoError, match="No space left"):
        write(tmp_path / "out.mkv", range(500))
    assert not (tmp_path / "out.mkv").exists()


def test_what_an_encoder_refuses_is_a_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(VideoError, match="try another codec or size"):
        write(tmp_path / "out.mp4", range(1), size=(17_000, 32), codec="h264")
    assert list(tmp_path.iterdir()) == []


def test_frames_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not come after"):
        write(tmp_path / "a.mp4", [3, 3])
    for image in (numbered(0, 32, 48), numbered(0).astype(np.float32)):
        with pytest.raises(ValueError, match="expected a"), writer_for(tmp_path / "b.mp4") as writer:
            writer.write(image, 0)
