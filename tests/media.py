"""Small generated videos, and what is in them."""

from fractions import Fraction

import av
import numpy as np

from lmaseg.video import VideoReader, VideoWriter

BITS = 8
CLOCK = Fraction(1, 90_000)
TIMES = {
    "constant": [i * 3003 for i in range(70)],
    "variable": [0, 3003, 6000, 6001, 12_000, 15_000, 30_000, 90_001, 190_000, 190_900, 300_000],
    "late": [900_007 + i * 3600 for i in range(12)],
}


def numbered(index, width=64, height=48):
    """(height, width, 3) uint8: the index as eight black or white bars over a ramp that tells left from right."""
    image = np.empty((height, width, 3), np.uint8)
    image[...] = np.linspace(30, 220, width, dtype=np.uint8)[:, None]
    for bit in range(BITS):
        image[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 255 * (index >> bit & 1)
    return image


def number_of(image):
    """The index that `numbered` drew."""
    height, width = image.shape[:2]
    bars = [image[: height // 3, bit * width // BITS + 2 : (bit + 1) * width // BITS - 2].mean() for bit in range(BITS)]
    return sum((level > 128) << bit for bit, level in enumerate(bars))


def write_video(
    path,
    pts=range(10),
    time_base=Fraction(1, 25),
    *,
    size=(64, 48),
    rate=25,
    codec="libx264",
    audio=0.0,
    rotation=0,
    keyframes=250,
):
    """Write numbered frames with those pts by PyAV alone; `audio` seconds of a tone, `rotation` degrees to the left."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, width=size[0], height=size[1])
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = keyframes
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream("aac", rate=48000) if audio else None
        container.start_encoding()
        if tone:
            container.mux(packet for packet in encoded_tone(tone, audio))
        for index, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size)).reformat(format="yuv420p")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encoded_tone(stream, seconds):
    """AAC packets of a sine wave."""
    packets = []
    for start in range(0, int(48000 * seconds), 1024):
        wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode()


def writer_for(path, size=(64, 48), **options):
    return VideoWriter(path, width=size[0], height=size[1], **{"time_base": Fraction(1, 25), "rate": 25, **options})


def write(path, pts=range(10), size=(64, 48), **options):
    with writer_for(path, size, **options) as writer:
        for index, time in enumerate(pts):
            writer.write(numbered(index, *size), time)
    return writer


def read(path, **options):
    """(numbers drawn in the frames, their times, those of the frames that warm up)."""
    with VideoReader(path, **options) as reader:
        frames = list(reader)
    wanted = [frame for frame in frames if not frame.warm_up]
    assert [frame.name for frame in wanted] == [f"{i:06d}" for i in range(len(wanted))]
    warming = [number_of(frame.image) for frame in frames if frame.warm_up]
    return [number_of(frame.image) for frame in wanted], [frame.time for frame in wanted], warming


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2)))


def packets(path, kind="audio"):
    """[(seconds, bytes)] of the first stream of that kind."""
    with av.open(path) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * stream.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def copy_beginning(path, copy, count):
    """Copy the first packets of a video, as they are."""
    with av.open(path) as whole, av.open(copy, "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for packet, _ in zip(whole.demux(video=0), range(count), strict=False):
            packet.stream = stream
            part.mux(packet)


def broken_copy(path, name, first, last):
    data = bytearray(path.read_bytes())
    begin, end = int(first * len(data)), int(last * len(data))
    data[begin:end] = np.random.default_rng(0).bytes(end - begin)
    broken = path.with_name(name)
    broken.write_bytes(data)
    return broken
