"""Reading videos; `test_video_writer.py` is about writing them."""

import io
import itertools
import os
import threading
from fractions import Fraction
from math import floor

import av
import numpy as np
import pytest
from conftest import SHARED
from media import CLOCK, TIMES, broken_copy, number_of, numbered, psnr, read, writer_for
from PIL import Image, ImageOps

from lmaseg.errors import VideoError
from lmaseg.video import VideoReader
from lmaseg.video.orientation import Orientation


@pytest.mark.parametrize("pts", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts", ".mkv"])
def test_reading_gives_every_frame_at_its_time(make_video, suffix, pts):
    path = make_video(f"in{suffix}", pts=pts, time_base=CLOCK)
    numbers, times, _ = read(path)
    assert numbers == list(range(len(pts)))
    tolerance = 0.0016 if suffix == ".mkv" else 0.0001 if suffix in (".mp4", ".mov") else 0
    shift = times[0] - pts[0] * CLOCK if suffix == ".ts" else 0  # the TS muxer adds a delay of its own
    assert [float(time - shift) for time in times] == pytest.approx([float(p * CLOCK) for p in pts], abs=tolerance)


def test_the_reader_describes_its_source(make_video):
    with VideoReader(make_video(size=(96, 64), pts=range(30))) as reader:
        assert (reader.width, reader.height, reader.frames, reader.rate) == (96, 64, 30, 25)
        assert (reader.damaged, reader.repaired, reader.start_time) == (0, 0, 0)
        frame = next(iter(reader))
        assert frame.image.shape == (64, 96, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
    with VideoReader(make_video(pts=range(30)), start=0.4, end=0.8, stride=3) as reader:
        assert reader.frames == 4
    with VideoReader(make_video("in.mkv", pts=range(30))) as reader:
        assert reader.frames == 30


CUTS = [
    {"start": 0.4},
    {"start": 0.41, "end": 1.2},
    {"end": 0.2},
    {"start": 2.0, "warm_up": 4},
    {"start": 2.0, "warm_up": 4, "stride": 3},
    {"start": 0.12, "warm_up": 4, "stride": 2, "end": 1.0},
    {"stride": 7},
    {"start": 3.96, "warm_up": 2},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [("in.mp4", "libx264", 0), ("in.mkv", "libx264", 50), ("in.ts", "libx264", 7), ("in.avi", "mpeg4", 0)],
)
def test_cuts_are_right_to_the_frame(make_video, name, codec, first, cut):
    path = make_video(name, pts=range(first, first + 100), codec=codec, keyframes=12)
    stride, warm_up = cut.get("stride", 1), cut.get("warm_up", 0)
    begin = round(cut.get("start", 0) * 25 + 0.49)
    wanted = list(range(100))[begin : round(cut["end"] * 25) if "end" in cut else None : stride]
    numbers, times, warming = read(path, **cut)
    assert numbers == wanted
    assert warming == [i for i in range(begin - stride * warm_up, begin, stride) if i >= 0]
    assert np.diff([float(time) for time in times]) == pytest.approx(stride / 25, abs=0.0011)


@pytest.mark.parametrize(("start", "first"), [(3.4, 2), (3.0, 2), (0.4, 0)])
@pytest.mark.parametrize("keyframes", [12, 1000])
def test_it_warms_up_on_all_frames_since_a_time(make_video, start, first, keyframes):
    path = make_video(pts=range(100), keyframes=keyframes)
    begin = round(start * 25)
    for stride in (1, 4):
        numbers, _, warming = read(
            path, start=start, warm_up_since=lambda time: Fraction(floor(time) - 1), stride=stride
        )
        assert numbers[0] == begin
        assert warming == [i for i in range(begin % stride, begin, stride) if i >= 25 * first]


def test_the_start_is_exact_where_the_keyframes_are_far(make_video):
    path = make_video(pts=[i * 5 for i in range(250)])  # one keyframe, 50 seconds
    numbers, _, warming = read(path, start=45.01, end=45.7, warm_up=2, stride=2)
    assert numbers == [226, 228]
    assert warming == [222, 224]


def test_a_start_computed_in_floating_point_means_the_frame_at_that_fraction(make_video):
    path = make_video(pts=range(60), time_base=Fraction(1, 30), rate=30)
    for index in (1, 7, 20, 59):
        assert read(path, start=float(Fraction(index, 30)))[0][0] == index
    assert read(path, start=10 / 30, end=20 / 30)[0] == list(range(10, 20))


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_pictures_are_turned_upright(make_video, degrees):
    with VideoReader(make_video(rotation=degrees)) as reader, VideoReader(make_video("plain.mp4")) as plain:
        turned, stored = next(iter(reader)), next(iter(plain))
        assert (reader.height, reader.width) == turned.image.shape[:2]
    assert np.array_equal(turned.image, np.rot90(stored.image, degrees // 90))


def test_flips_without_rotation():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(Orientation(flipped_x=True).apply(image), image[:, ::-1])
    assert np.array_equal(Orientation(flipped_y=True).apply(image), image[::-1])


@pytest.mark.parametrize(
    ("name", "size"),
    [("dec_video_90.mov", (320, 568)), ("dec_video_180.mov", (568, 320)), ("m4p_no_timescale.mp4", (320, 240))],
)
def test_real_display_matrices(shared_file, name, size):
    with VideoReader(shared_file(f"odd/{name}")) as reader:
        assert (reader.width, reader.height) == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["in.avi", "in.mkv"])
def test_motion_jpeg_whose_pictures_carry_exif(tmp_path, name, orientation):
    """FFmpeg hands on what EXIF holds in a kind of side data that PyAV has no name for."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Example", orientation
    with av.open(tmp_path / name, "w") as container:
        stream = container.add_stream("mjpeg", rate=10, width=64, height=48)
        stream.pix_fmt, stream.codec_context.time_base = "yuvj420p", Fraction(1, 10)
        container.start_encoding()
        for index in range(3):
            data = io.BytesIO()
            Image.fromarray(numbered(index)).save(data, "JPEG", quality=95, exif=exif)
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, index, index, True
            packet.time_base = Fraction(1, 10)
            container.mux(packet)
    with VideoReader(tmp_path / name) as reader:
        images = [frame.image for frame in reader]
    stored = Image.fromarray(numbered(2))
    stored.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert len(images) == 3
    assert images[2].shape == upright.shape
    assert psnr(images[2], upright) > 25


@pytest.mark.parametrize("frames", [{"bf": "0"}, {"bf": "3"}, {"bf": "5", "b-pyramid": "normal"}])
def test_h264_in_avi_has_the_times_of_decoding_as_in_ffmpeg(tmp_path, frames):
    path = tmp_path / "in.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=12, width=64, height=48, options=frames)
        stream.codec_context.gop_size = 24
        for index in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index)).reformat(format="yuv420p")))
        container.mux(stream.encode())
    with VideoReader(path) as reader:
        all_frames = list(reader)
        assert reader.repaired == 0
    assert [number_of(frame.image) for frame in all_frames] == list(range(60))
    ticks = [frame.time * 12 for frame in all_frames]
    assert ticks == [ticks[0] + index for index in range(60)]
    assert ticks[0] == (0 if frames["bf"] == "0" else 2)  # as far as the decoder looks ahead
    numbers, times, warming = read(path, start=2.5, warm_up=2)
    assert times[0] == 2.5
    assert [*warming, *numbers] == list(range(int(30 - ticks[0]) - 2, 60))


def test_transparent_pixels_are_black(tmp_path):
    pixels = np.full((16, 16, 4), 255, np.uint8)
    pixels[:, 8:, 3] = 0
    pixels[:, :4, 3] = 128
    with av.open(tmp_path / "in.mov", "w") as container:
        stream = container.add_stream("png", rate=25, width=16, height=16)
        stream.pix_fmt = "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode())
    with VideoReader(tmp_path / "in.mov") as reader:
        image = next(iter(reader)).image
    assert [image[0, x].tolist() for x in (0, 5, 12)] == [[128] * 3, [255] * 3, [0] * 3]


def test_repeated_times_are_moved_on(make_video, tmp_path):
    path = tmp_path / "in.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=25, width=64, height=48)
        stream.pix_fmt = "yuvj420p"
        for index, milliseconds in enumerate([0, 40, 40, 40, 120]):
            frame = av.VideoFrame.from_ndarray(numbered(index)).reformat(format="yuvj420p")
            for packet in stream.encode(frame):
                packet.pts = packet.dts = milliseconds
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    with VideoReader(path) as reader:
        assert [frame.pts for frame in reader] == [0, 40, 41, 42, 120]
        assert reader.repaired == 2


def test_a_change_of_size_is_scaled_and_flagged(make_video, tmp_path):
    joined = tmp_path / "joined.ts"
    joined.write_bytes(make_video("a.ts").read_bytes() + make_video("b.ts", size=(128, 96)).read_bytes())
    with VideoReader(joined) as reader:
        frames = list(reader)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == 20
    assert frames[10].after_gap
    assert not any(frame.after_gap for frame in frames[:9])
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts"])
def test_damage_costs_frames_not_the_run(make_video, name):
    path = make_video(name, pts=range(200), size=(320, 240), keyframes=20)
    with VideoReader(broken_copy(path, f"broken-{name}", 0.4, 0.45)) as reader:
        frames = list(reader)
        assert reader.damaged > 0 or name == "in.ts"  # whose demuxer leaves broken packets out silently
    assert 120 < len(frames) <= 200
    assert any(frame.after_gap for frame in frames)
    assert not frames[5].after_gap
    assert [number_of(frame.image) for frame in frames[:40]] == list(range(40))
    assert number_of(frames[-1].image) == 199


@pytest.mark.timeout(30)
def test_a_file_cut_off_gives_what_is_there(make_video):
    path = make_video("in.mkv", pts=range(100))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    numbers, _, _ = read(path)
    assert numbers == sorted(set(numbers))
    assert 20 < len(numbers) < 100
    # The frames that other threads had in hand may go with the broken packet.
    assert numbers[-1] + 1 - len(numbers) <= os.cpu_count()


def only_audio(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mp4", "does not exist"),
        ("folder", "is a folder"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is not a video"),
        ("cut.mp4", "cut off before its index"),
        ("sound.mp4", "no video in it"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(make_video, tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video " * 1000)
    (tmp_path / "cut.mp4").write_bytes(make_video(pts=range(50)).read_bytes()[:1500])
    only_audio(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match=says) as caught:
        VideoReader(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ({"start": 99}, "no frame between 99 s and its end"),
        ({"start": 0.05, "end": 0.07, "warm_up": 3}, "no frame between"),
        ({"start": 2, "end": 1}, "not after the start"),
        ({"start": -1}, "before the source"),
    ],
)
def test_times_without_frames(make_video, cut, says):
    with pytest.raises(VideoError, match=says):
        VideoReader(make_video(), **cut)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("frames", [0, 1, 7])
def test_leaving_early_does_not_hang(make_video, frames):
    path = make_video(pts=range(200), size=(320, 240))
    for _ in range(5):
        with VideoReader(path, threads=4) as reader:
            for index, _frame in enumerate(reader):
                if index >= frames:
                    break
    reader = VideoReader(path)
    thread = threading.Thread(target=lambda: next(iter(reader)))
    thread.start()
    thread.join()
    reader.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(path.name for path in (SHARED / "odd").glob("*.*")) or ["any.mp4"])
def test_odd_files_give_frames_or_a_sentence(name, shared_file, tmp_path):
    path = shared_file(f"odd/{name}")
    try:
        with VideoReader(path, end=1.0, warm_up=1) as reader:
            frames = [frame for frame, _ in zip(reader, range(4), strict=False)]
            assert {frame.image.shape for frame in frames} == {(reader.height, reader.width, 3)}
            size, base, rate = (reader.width, reader.height), reader.time_base, reader.rate
        with writer_for(tmp_path / "out.mkv", size, time_base=base, rate=rate, copy_from=path, end=0.2) as writer:
            for frame in frames:
                writer.write(frame.image, frame.pts)
        with VideoReader(tmp_path / "out.mkv") as again:
            assert len(list(again)) == len(frames)
    except VideoError as error:
        assert name in str(error)  # noqa: PT017
