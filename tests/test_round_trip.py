"""From a source through `lmaseg run` to a video: nothing lost, colours as a player shows them."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from media import CLOCK, packets, write_video
from test_cli import run_cli

from lmaseg.video import VideoReader
from lmaseg.video.encoders import ENCODERS

SMALL = ("--size", "32", "--memory", "0")
COLOURS = {
    "BT.601": ("yuv420p", Colorspace.ITU601, ColorRange.MPEG),
    "BT.709": ("yuv420p", Colorspace.ITU709, ColorRange.MPEG),
    "full range": ("yuvj420p", Colorspace.ITU709, ColorRange.JPEG),
    "10 bit": ("yuv420p10le", Colorspace.ITU709, ColorRange.MPEG),
}


def shown(path):
    """(N, H, W, 3) float RGB as a player that obeys the tags shows it."""
    reformatter = VideoReformatter()
    with av.open(path) as container:
        frames = [reformatter.reformat(frame, format="rgb24") for frame in container.decode(video=0)]
    return np.stack([frame.to_ndarray().astype(float) for frame in frames])


def write_colours(path, pixel_format, matrix, extent):
    """Smooth colours over the whole cube, drifting; lossless, tagged with what they are."""
    rows, columns = np.mgrid[:96, :128]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, width=128, height=96, options={"crf": "4"})
        context = stream.codec_context
        context.pix_fmt, context.colorspace, context.color_range = pixel_format, matrix, extent
        for i in range(6):
            image = np.stack([columns * 2, rows * 255 // 95, (columns + rows + 9 * i) % 224], axis=2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=pixel_format, dst_colorspace=matrix, dst_color_range=extent)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("colours", COLOURS.values(), ids=COLOURS)
def test_colours_come_out_as_they_went_in(tmp_path, colours):
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_colours(source, *colours)
    assert run_cli("run", source, "-o", output, "--opacity", 0, "--crf", 10, *SMALL) == 0
    error = np.mean((shown(output) - shown(source)) ** 2)
    assert 10 * np.log10(255**2 / error) > 40


INPUTS = [("libx264", ".mp4"), ("libx264", ".mkv"), ("libx264", ".mov"), ("libvpx-vp9", ".mp4"), ("ffv1", ".mkv")]
OUTPUTS = [(".mp4", "h264"), (".mov", "h264"), (".mp4", "hevc"), (".mp4", "av1"), (".mp4", "vp9")]
KEEP_ODD_SIZES = ("av1", "vp9")


@st.composite
def videos(draw):
    """Options of `write_video`, and the name of a file that can hold the result."""
    codec, suffix = draw(st.sampled_from(INPUTS))
    gaps = draw(st.lists(st.integers(900, 60_000), max_size=39))
    pts = [draw(st.integers(0, 90_000))]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    even = 2 if codec == "libx264" else 1
    return suffix, {
        "pts": pts,
        "time_base": CLOCK,
        "size": tuple(draw(st.integers(16 // even, 130 // even)) * even for _ in range(2)),
        "rate": draw(st.sampled_from([5, 24, 30, 60])),
        "codec": codec,
        "audio": draw(st.sampled_from([0.0, 0.7])),
        "rotation": draw(st.sampled_from([0, 90, 180, 270])) if suffix != ".mkv" else 0,
    }


def videos_tried(examples):
    """Runs a test on so many videos."""
    tried = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    return lambda test: pytest.mark.timeout(250)(tried(given(video=videos(), wanted=st.sampled_from(OUTPUTS))(test)))


@videos_tried(8)
def test_frames_times_and_sound_are_preserved(tmp_path_factory, video, wanted):
    check_preserved(tmp_path_factory, video, wanted)


@pytest.mark.slow
@videos_tried(20)
def test_frames_times_and_sound_of_many_are_preserved(tmp_path_factory, video, wanted):
    check_preserved(tmp_path_factory, video, wanted)


def check_preserved(tmp_path_factory, video, wanted):
    (suffix, options), (ending, codec) = video, wanted
    assume(min(options["size"]) >= max(ENCODERS[codec].smallest))  # a turn swaps the sides
    folder = tmp_path_factory.mktemp("video")
    source, output = folder / f"in{suffix}", folder / f"out{ending}"
    write_video(source, **options)
    assert run_cli("run", source, "-o", output, "--codec", codec, *SMALL) == 0
    with VideoReader(source) as before, VideoReader(output) as after:
        odd = 0 if codec in KEEP_ODD_SIZES else 1
        assert (after.width, after.height) == (
            before.width + before.width % 2 * odd,
            before.height + before.height % 2 * odd,
        )
        assert [frame.time for frame in after] == [frame.time for frame in before]
    if options["audio"]:
        assert packets(output) == packets(source)


def mutated(data, chance):
    """The bytes with a few of them changed, dropped, doubled or cut off."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 10, 100])):
        place = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place : place + 4] = chance.randbytes(4)
        elif kind == 2:
            del data[place : place + chance.randrange(1, 64)]
        elif kind == 3:
            data[place:place] = data[place : place + chance.randrange(1, 64)]
        else:
            data[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        if len(data) < 8:
            break
    return bytes(data[: chance.randrange(8, len(data) + 1)] if chance.random() < 0.1 else data)


FUZZ_SEED, FUZZ_FILES = 20, 5000


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_mutated_files_end_in_frames_or_a_sentence(tmp_path):
    """Thousands of damaged files through the reader: frames of one size in order of time, or one clear error."""
    from lmaseg.errors import VideoError

    seeds = []
    for name, options in {"a.mp4": {"audio": 0.3}, "b.mkv": {}, "c.webm": {"codec": "libvpx-vp9"}, "d.ts": {}}.items():
        write_video(tmp_path / name, range(0, 24, 3), size=(32, 32), **options)
        seeds.append(((tmp_path / name).read_bytes(), name))
    chance = random.Random(FUZZ_SEED)
    outcomes = {"frames": 0, "sentence": 0}
    for i in range(FUZZ_FILES):
        data, name = chance.choice(seeds)
        path = tmp_path / f"fuzzed-{name}"
        path.write_bytes(mutated(data, chance))
        try:
            with VideoReader(path, threads=1) as reader:
                last = None
                for count, frame in enumerate(reader):
                    assert frame.image.shape == (reader.height, reader.width, 3), i
                    assert last is None or frame.pts > last, i
                    last = frame.pts
                    if count > 200:
                        break
            outcomes["frames"] += 1
        except VideoError as error:
            outcomes["sentence"] += len(str(error).splitlines()) == 1
    assert sum(outcomes.values()) == FUZZ_FILES
    assert min(outcomes.values()) > FUZZ_FILES / 100
