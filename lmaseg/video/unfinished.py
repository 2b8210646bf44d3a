"""The unfinished output that a killed run left: how much of it can be kept, and its packets."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from lmaseg.errors import VideoError
from lmaseg.paths import part_path

# Files hold the units of these codecs by length, encoders begin them with a mark.
AS_ENCODED = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


def taken_over_path(path: Path) -> Path:
    """Where an unfinished output is kept while the run that continues it writes a new one."""
    return part_path(part_path(path))


def resume_points(path: Path) -> list[int]:
    """Numbers of frames after which another encoder can continue an unfinished output, ascending from 0.

    One for each later key frame of its part: the frames before it. Frames after the last key frame do not count, as one
    among them may be lost. If the run that continued a part was killed, too, the longer part is kept.
    """
    part, older = part_path(path), taken_over_path(path)
    points = _points(part)
    if older.exists():
        if max(_points(older)) > max(points):
            older.replace(part)
            return _points(part)
        older.unlink()
    return points


def _points(part: Path) -> list[int]:
    points, before, latest = [0], 0, None
    with suppress(VideoError):
        for packet in packets_of(part):
            if packet.is_keyframe and latest is not None and packet.pts is not None and packet.pts > latest:
                points.append(before)
            before += 1
            latest = packet.pts if latest is None else max(latest, packet.pts or 0)
    return points


def packets_of(part: Path) -> "Iterator[Packet[VideoStream]]":
    """The video packets of an unfinished file up to where it breaks off, as an encoder gave them. Raises VideoError: it
    cannot be opened."""
    try:
        container = av.open(str(part))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{part} does not hold a video that can be continued: start anew") from error
    with container, suppress(av.FFmpegError):
        stream = container.streams.video[0]
        as_encoded = BitStreamFilterContext(AS_ENCODED.get(stream.codec_context.name, "null"), stream)
        for packet in container.demux(stream):
            if packet.size:
                yield from as_encoded.filter(packet)
