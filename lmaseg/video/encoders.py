"""Which encoder and which container an output's name and options mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from lmaseg.errors import VideoError


@dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg's and how this library drives it."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    crf: float | None = None
    """The default constant rate factor; None: the encoder has none."""
    best_to_worst: tuple[int, int] = (0, 51)
    """The range of its constant rate factor."""
    pixel_format: str = "yuv420p"
    any_size: bool = False
    """Takes odd widths and heights."""
    smallest: tuple[int, int] = (1, 1)
    """The least width and height it takes."""


ENCODERS = {
    "h264": Encoder("libx264", {"preset": "veryfast"}, crf=20),
    # Up to a width of 48 it writes beyond its memory, as valgrind shows, and crashes whatever comes next.
    "hevc": Encoder("libx265", {"preset": "veryfast", "x265-params": "log-level=none"}, crf=23, smallest=(50, 32)),
    # Below, its threads wait for each other for ever: at 96x16 or 24x96, for instance.
    "av1": Encoder("libsvtav1", {"preset": "8"}, crf=30, best_to_worst=(0, 63), any_size=True, smallest=(32, 32)),
    "vp9": Encoder(
        "libvpx-vp9",
        {"deadline": "good", "cpu-used": "5", "row-mt": "1"},
        crf=30,
        best_to_worst=(0, 63),
        any_size=True,
    ),
    "ffv1": Encoder("ffv1", {"slicecrc": "1"}, pixel_format="bgr0", any_size=True),
    "gif": Encoder("gif", pixel_format="pal8", any_size=True),
}


@dataclass(frozen=True)
class Muxer:
    """A container format of FFmpeg's."""

    name: str
    default_codec: str
    tick: Fraction | None = None
    """Seconds between two times it can tell apart; None: it takes any time base."""
    one_rate: bool = False
    """Holds no times but the numbers of frames at one rate, in the order in which they are shown."""
    shortest: int = 1
    """Ticks between two frames at least; those that come sooner are left out."""


MUXERS = {
    ".mp4": Muxer("mp4", "h264"),
    ".m4v": Muxer("mp4", "h264"),
    ".mov": Muxer("mov", "h264"),
    ".mkv": Muxer("matroska", "h264", tick=Fraction(1, 1000)),
    ".webm": Muxer("webm", "vp9", tick=Fraction(1, 1000)),
    ".avi": Muxer("avi", "h264", one_rate=True),
    ".gif": Muxer("gif", "gif", tick=Fraction(1, 100), shortest=2),  # browsers show what is shorter for 10
}
LIKELY_RATES = (1, 240)  # frames per second; outside, a container's rate is a mistake that encoders refuse
DEFAULT_RATE = Fraction(30)
DAY = 86_400  # seconds
FINEST_TIMESCALE = 2**31 - 1  # ticks a second in the field MP4 has for it
FALLBACK_TIMESCALE = 90_000


def muxer_for(path: Path) -> Muxer:
    """The container a file name asks for. Raises VideoError: no suffix, or one that stands for none of them."""
    muxer = MUXERS.get(path.suffix.lower())
    if muxer is None:
        raise VideoError(f"{path} cannot be written: give a name that ends in {either(MUXERS)}")
    return muxer


def encoder_for(codec: str, muxer: Muxer) -> Encoder:
    """The encoder for a codec's name. Raises VideoError: an unknown codec, one this build lacks, or one the container
    cannot hold."""
    present = [name for name, encoder in ENCODERS.items() if encoder.name in av.codecs_available]
    if codec.lower() not in present:
        raise VideoError(f"there is no encoder for {codec!r} here: choose {either(present)}")
    encoder = ENCODERS[codec.lower()]
    if codec.lower() not in HOLDS[muxer.name]:
        raise VideoError(f"a {muxer.name} file cannot hold {codec}: choose {either(HOLDS[muxer.name])}, or write .mkv")
    return encoder


# Narrower than FFmpeg allows: FFV1 in MP4 plays nowhere else.
HOLDS = {
    "mp4": ("h264", "hevc", "av1", "vp9"),
    "mov": ("h264", "hevc", "av1"),
    "webm": ("vp9", "av1"),
    "matroska": ("h264", "hevc", "av1", "vp9", "ffv1"),
    "avi": ("h264", "ffv1"),
    "gif": ("gif",),
}


def options_for(encoder: Encoder, crf: float | None) -> dict[str, str]:
    """The encoder's options, its constant rate factor among them where it has one. Raises VideoError: a factor out of
    the encoder's range."""
    if encoder.crf is None:
        return dict(encoder.options)
    best, worst = encoder.best_to_worst
    factor = encoder.crf if crf is None else crf
    if not best <= factor <= worst:
        raise VideoError(f"a crf of {factor:g} is out of range for {encoder.name}: give one from {best} to {worst}")
    return {**encoder.options, "crf": f"{factor:g}"}


def likely_rate(rate: Fraction | float) -> Fraction:
    """The rate (frames per second) if encoders accept it, else a common one."""
    lowest, highest = LIKELY_RATES
    return Fraction(rate).limit_denominator(100_000) if lowest <= rate <= highest else DEFAULT_RATE


def output_time_base(muxer: Muxer, wanted: Fraction, rate: Fraction) -> Fraction:
    """The wanted time base (seconds) where the container can hold it, else the finest near it that it can."""
    if muxer.one_rate:
        return 1 / rate
    if muxer.tick is not None:
        return muxer.tick
    return wanted if wanted.denominator <= FINEST_TIMESCALE else Fraction(1, FALLBACK_TIMESCALE)


def container_options(muxer: Muxer, time_base: Fraction) -> dict[str, str]:
    """Options that keep times exact, and leave a file that plays if the process is killed."""
    if muxer.name in ("matroska", "webm"):
        return {"flush_packets": "1", "cluster_time_limit": "2000"}
    if muxer.name in ("avi", "gif"):
        return {"flush_packets": "1"}
    timescale = time_base.denominator
    return {
        # Fragments while writing, an ordinary file once closed. The index is delayed to the first fragment and edit
        # lists are forced on, as without either the times shift by the encoder's reordering.
        "movflags": "hybrid_fragmented+delay_moov",
        "use_editlist": "1",
        "frag_duration": "2000000",
        "flush_packets": "1",
        "video_track_timescale": str(timescale),
        # Edit lists, hence the times at which video and sound begin, count in this: exact for one, fine for the other.
        "movie_timescale": str(timescale * max(1, FALLBACK_TIMESCALE // timescale)),
    }


def last_packets(packets: "list[Packet[VideoStream]]", usual_duration: int) -> "list[Packet[VideoStream]]":
    """An encoder's last packets, mended: x265 does not set the dts of a video shorter than its reordering.

    And the MP4 muxer takes the last packet's end for the video's, after which it shows nothing.
    """
    shown = sorted(packet.pts or 0 for packet in packets)
    if packets and abs((packets[0].dts or 0) - shown[0]) * packets[0].time_base > DAY:
        late = max(first - (packet.pts or 0) for first, packet in zip(shown, packets, strict=True))
        for first, packet in zip(shown, packets, strict=True):
            packet.dts = first - late
    if packets and packets[-1].pts is not None:
        packets[-1].duration = shown[-1] - packets[-1].pts + usual_duration
    return packets


def either(names: object) -> str:
    """Names as a choice: "a, b or c"."""
    *others, last = map(str, names)  # type: ignore[call-overload]
    return f"{', '.join(others)} or {last}" if others else last
