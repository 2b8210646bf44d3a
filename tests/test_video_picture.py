"""What becomes of pictures on the way in: fields, colours, high dynamic range, transparency, changing sizes."""

import itertools
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import pytest
from media import broken_copy

from lmaseg.video import VideoReader
from lmaseg.video.tone import ToneMapper, tone_mapped


def encode(path, frames, codec, pixel_format=None, times=None, **context):
    """Write ready frames; `context` are attributes of the codec context, `options` among them."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, width=frames[0].width, height=frames[0].height)
        stream.pix_fmt = pixel_format or frames[0].format.name
        stream.codec_context.time_base = Fraction(1, 25)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for pts, frame in zip(times or itertools.count(), frames, strict=False):
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def moving_bar(count):
    """Frames of two fields each, between which a bright bar moves on by three pixels."""
    for index in range(count):
        image = np.full((64, 160, 3), 30, np.uint8)
        for field in (0, 1):
            left = 8 + (2 * index + field) * 3
            image[field::2, left : left + 12] = 220
        yield av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")


def combing(image):
    """How much lines differ from the mean of their neighbours."""
    grey = image[..., 1].astype(float)
    return np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean()


FIELDS = {"flags": "+ildct+ilme"}
INTERLACED = {
    "in.mp4": ("libx264", {"options": FIELDS, "gop_size": 4}),
    "in.ts": ("mpeg2video", {"options": FIELDS, "bit_rate": 4_000_000}),
}


@pytest.fixture(params=INTERLACED)
def interlaced(request, tmp_path):
    codec, context = INTERLACED[request.param]
    return encode(tmp_path / request.param, list(moving_bar(20)), codec, times=[*range(10), *range(12, 22)], **context)


def frames_of(path, **options):
    with VideoReader(path, **options) as reader:
        return list(reader), reader.warnings


def test_fields_become_whole_pictures_at_the_same_times(interlaced):
    frames, warnings = frames_of(interlaced)
    plain, none = frames_of(interlaced, deinterlace=False)
    assert [frame.pts for frame in frames] == [frame.pts for frame in plain]
    assert len(frames) == 20
    assert min(combing(frame.image) for frame in plain) > 5
    assert max(combing(frame.image) for frame in frames) < 1
    assert (warnings, none) == (["interlaced frames were deinterlaced"], [])


@pytest.mark.parametrize("cut", [{"start": 0.2, "end": 0.6}, {"stride": 3}, {"start": 0.4, "warm_up": 3}], ids=str)
def test_a_part_of_interlaced_video_is_that_part_of_the_whole(interlaced, cut):
    whole = {frame.pts: frame.image for frame in frames_of(interlaced)[0]}
    frames, _ = frames_of(interlaced, **cut)
    assert len(frames) > 5
    for frame in frames[1:-1]:  # at the ends the filter lacks neighbours
        assert np.abs(whole[frame.pts].astype(int) - frame.image).max() <= 3


def test_fields_of_a_damaged_file_keep_their_count_and_times(interlaced):
    broken = broken_copy(interlaced, f"broken-{interlaced.name}", 0.5, 0.6)
    frames, _ = frames_of(broken)
    plain, _ = frames_of(broken, deinterlace=False)
    assert [(frame.pts, frame.after_gap) for frame in frames] == [(frame.pts, frame.after_gap) for frame in plain]


def test_progressive_video_is_left_alone(make_video):
    frames, warnings = frames_of(make_video())
    plain, _ = frames_of(make_video(), deinterlace=False)
    assert warnings == []
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["tsd_test-025.ts", "tsd_test-138.1.ts"])
def test_broadcasts(shared_file, name):
    path = shared_file(f"odd/{name}")
    frames, warnings = frames_of(path)
    plain, _ = frames_of(path, deinterlace=False)
    assert [frame.pts for frame in frames] == [frame.pts for frame in plain]
    assert warnings == ["interlaced frames were deinterlaced"]
    assert combing(frames[5].image) < combing(plain[5].image)


# Weights of red and blue in luma, and FFmpeg's number for the matrix.
MATRICES = {"601": (0.299, 0.114, 6), "709": (0.2126, 0.0722, 1), "2020": (0.2627, 0.0593, 9)}
PATCHES = np.array(
    [[255] * 3, [0] * 3, [128] * 3, [200, 30, 40], [30, 180, 60], [40, 60, 210], [230, 200, 20], [9, 5, 7]], np.uint8
)


@dataclass(frozen=True)
class Coding:
    matrix: str
    full: bool
    bits: int

    def encode(self, rgb):
        """(N, 3) uint8 -> (3, N) integers: Y, U, V by the definitions of BT.601, 709, 2020."""
        red, blue, _ = MATRICES[self.matrix]
        r, g, b = rgb.T / 255
        y = red * r + (1 - red - blue) * g + blue * b
        u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
        top, scale = 2**self.bits - 1, 2 ** (self.bits - 8)
        if self.full:
            levels = top * y, top * u + 128 * scale, top * v + 128 * scale
        else:
            levels = (16 + 219 * y) * scale, (128 + 224 * u) * scale, (128 + 224 * v) * scale
        return np.round(levels).clip(0, top).astype(int)

    def frame(self, rgb):
        """Patches of 16x16 pixels in a row."""
        frame = av.VideoFrame(16 * len(rgb), 16, "yuv444p" if self.bits == 8 else f"yuv444p{self.bits}le")
        kind = np.uint8 if self.bits == 8 else np.uint16
        for plane, levels in zip(frame.planes, self.encode(rgb), strict=True):
            rows = np.zeros((16, plane.line_size // kind().itemsize), kind)
            rows[:, : 16 * len(rgb)] = np.repeat(levels, 16)
            plane.update(rows.tobytes())
        frame.colorspace, frame.color_range = MATRICES[self.matrix][2], 2 if self.full else 1
        return frame


CODINGS = [Coding(*choice) for choice in itertools.product(MATRICES, (False, True), (8, 10))]


def patches(image):
    return image[8, 8::16].astype(int)


@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_colours_are_read_as_tagged(tmp_path, coding):
    frame = coding.frame(PATCHES)
    path = encode(tmp_path / "in.mkv", [frame], "ffv1", colorspace=frame.colorspace, color_range=int(frame.color_range))
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
    assert np.abs(patches(image) - PATCHES).max() <= 2


@pytest.mark.parametrize(("height", "matrix"), [(480, "601"), (720, "709")])
def test_untagged_colours_are_read_as_players_do(tmp_path, height, matrix):
    levels = Coding(matrix, False, 8).encode(PATCHES[3:4])[:, 0]
    frame = av.VideoFrame(64, height, "yuv444p")
    for plane, level in zip(frame.planes, levels, strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    with VideoReader(encode(tmp_path / "in.mkv", [frame], "ffv1")) as reader:
        image = next(iter(reader)).image
    assert np.abs(image[height // 2, 32].astype(int) - PATCHES[3]).max() <= 2


TRANSFERS = {"PQ": 16, "HLG": 18}


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_hdr_is_brought_down_to_sdr(tmp_path, transfer):
    frame = Coding("2020", False, 10).frame(PATCHES)
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": TRANSFERS[transfer]}
    with VideoReader(encode(tmp_path / "in.mkv", [frame] * 3, "ffv1", **tags)) as reader:
        images = [frame.image for frame in reader]
        assert reader.warnings == [f"HDR ({transfer}) tone-mapped to SDR"]
    assert len(images) == 3
    error = np.abs(patches(images[2]) - 255 * tone_mapped(PATCHES / 255, transfer))
    assert error.mean() < 1
    assert error.max() <= 10  # where colours leave what BT.709 holds, the table is coarse


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_the_tone_curve(transfer):
    steps = np.linspace(0, 1, 500)
    greys = tone_mapped(np.repeat(steps[:, None], 3, axis=1), transfer)
    assert np.ptp(greys, axis=1).max() < 1e-3  # greys stay grey
    assert (np.diff(greys[:, 0]) >= -1e-12).all()
    assert greys[0, 0] == 0
    assert greys[-1, 0] == pytest.approx(1)
    paper = {"PQ": 0.5807, "HLG": 0.75}[transfer]  # BT.2408: the signal of 203 cd/m2
    assert 215 < 255 * tone_mapped(np.full((1, 3), paper), transfer)[0, 0] < 235


def test_the_table_follows_the_curve():
    signal = np.random.default_rng(0).random((50, 60, 3))
    frame = av.VideoFrame.from_ndarray(np.round(65535 * signal).astype(np.uint16), "rgb48le")
    frame.color_trc, frame.color_primaries = TRANSFERS["HLG"], 9
    mapped = ToneMapper(frame, 60, 50)(frame).to_ndarray() / 65535
    assert np.abs(mapped - tone_mapped(signal, "HLG")).mean() < 0.001


def test_transparent_vp9_is_shown_over_black(tmp_path):
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[:, 32:, 3] = 0
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="yuva420p")
    path = encode(tmp_path / "in.webm", [frame], "libvpx-vp9", options={"auto-alt-ref": "0"})
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
    assert image[:, :24].min() > 245
    assert image[:, 40:].max() < 10


def test_a_real_transparent_webm(shared_file):
    frames, _ = frames_of(shared_file("odd/mpy_transparent.webm"), end=1.5)
    corner = np.array([frame.image[0, 0] for frame in frames])
    assert corner.max() == 0


def test_a_size_that_changes_back_and_forth_is_said_once(make_video, tmp_path):
    small, large = make_video("a.ts").read_bytes(), make_video("b.ts", size=(128, 96)).read_bytes()
    (tmp_path / "joined.ts").write_bytes(small + large + small)
    frames, warnings = frames_of(tmp_path / "joined.ts")
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert all(frames[index].after_gap for index in (10, 20))
    assert warnings == ["the picture changes its size: frames were scaled to the first one's, 64x48"]


def test_an_invalid_display_matrix_is_ignored_and_said(shared_file):
    frames, warnings = frames_of(shared_file("odd/m4p_no_timescale.mp4"), end=0.5)
    assert frames[0].image.shape == (240, 320, 3)
    assert warnings == ["a display matrix that is no turn by right angles was ignored"]
