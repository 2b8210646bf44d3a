"""One pass over a file's video frames, whatever damage there is on the way."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lmaseg.video.media import open_media, start_of, video_stream

MOST_THREADS = 8  # decoding gains little beyond, and every thread holds frames of its own
DEFAULT_RATE = Fraction(30)
LEAP_SECONDS, LEAP_FRAMES = 0.5, 10  # a step in time longer than both means that frames between were lost
READ_ATTEMPTS = 10  # broken reads in a row after which the rest of a file is given up


class SeekError(Exception):
    """The format, or this file's damage, allows reading from the beginning only."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as the decoder gave it, with its time put in order."""

    frame: VideoFrame
    pts: int
    after_gap: bool


class Decoder:
    """Frames of one video stream in order of time; an iterator for one pass.

    Args:
        source: a file, or a URL that FFmpeg reads.
        threads: decoding threads; None takes the machine's cores, 8 at most.
        seek_to: seconds as the file counts; decoding begins with the last keyframe before that as far as the format
            can tell, and may begin later where it cannot.

    Raises:
        VideoError: no such file, not a video, or a codec this build has no decoder for.
        SeekError: only with `seek_to`.
    """

    def __init__(self, source: str | Path, threads: int | None = None, seek_to: Fraction | None = None) -> None:
        self.source = source
        self.container = open_media(source)
        self.damaged = 0
        self.repaired = 0
        self._gap = False
        self._last_pts: int | None = None
        self._sought = seek_to is not None
        self._not_before: int | None = None
        self._suspect: set[int] = set()  # pts of packets that the container knows to be incomplete
        try:
            self.stream = video_stream(self.container, source)
            context = self.stream.codec_context
            context.thread_type = "AUTO"
            context.thread_count = threads or min(os.cpu_count() or 1, MOST_THREADS)
            self.time_base: Fraction = self.stream.time_base or Fraction(1, 90_000)
            self._usual_step = max(1, round(1 / (self.rate * self.time_base)))  # ticks from frame to frame
            if seek_to is not None:
                self._seek(seek_to)
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the file and the decoder's threads."""
        self.container.close()

    @property
    def started(self) -> bool:
        """Whether any frame has come."""
        return self._last_pts is not None

    @property
    def origin(self) -> Fraction:
        """Seconds at which the file begins, as it counts."""
        return start_of(self.container)

    @property
    def rate(self) -> Fraction:
        """Frames per second, as far as the file tells."""
        stream = self.stream
        rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        return next((Fraction(rate) for rate in rates if rate and rate > 0), DEFAULT_RATE)

    @property
    def duration(self) -> float | None:
        """Seconds; None if the file does not tell."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return self.container.duration / av.time_base if self.container.duration else None

    def __iter__(self) -> Iterator[DecodedFrame]:
        for packet in self._packets():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _seek(self, time: Fraction) -> None:
        try:
            self.container.seek(int(time // self.time_base), stream=self.stream)
        except av.FFmpegError as error:
            raise SeekError from error

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        """Packets with data; those before the first keyframe after a seek refer to frames that were not read."""
        for packet in self._read():
            if self._sought and not packet.is_keyframe:
                continue
            if self._sought:
                self._sought, self._not_before = False, packet.pts
            if packet.is_corrupt and packet.pts is not None:
                self._suspect.add(packet.pts)
            yield packet

    def _read(self) -> Iterator["Packet[VideoStream]"]:
        failures = 0
        while failures < READ_ATTEMPTS:
            try:
                for packet in self.container.demux(self.stream):
                    failures = 0
                    if packet.size:  # an empty packet would tell the decoder that the stream is over
                        yield packet
                return
            except av.FFmpegError:
                failures += 1
                self._damage()

    def _decode(self, packet: "Packet[VideoStream] | None") -> Iterator[DecodedFrame]:
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError:
            self._damage()
            return
        for frame in frames:
            if self._not_before is not None and frame.pts is not None and frame.pts < self._not_before:
                continue  # shown before the keyframe that reading began with: needs frames that were not read
            corrupt = frame.is_corrupt or frame.pts in self._suspect
            if corrupt:
                self._damage()
            pts = self._ordered(frame)
            after_gap, self._gap = self._gap, corrupt  # neither a corrupt frame nor the next can lean on the past
            yield DecodedFrame(frame, pts, after_gap)

    def _damage(self) -> None:
        self.damaged += 1
        self._gap = True

    def _ordered(self, frame: VideoFrame) -> int:
        """The frame's pts, or the nearest one that keeps time going forward; a leap in time is a gap."""
        last, pts = self._last_pts, frame.pts
        if pts is None:
            pts = 0 if last is None else last + (frame.duration or self._usual_step)
        if last is not None:
            leap = abs(pts - last)
            self._gap |= leap * self.time_base > LEAP_SECONDS and leap > LEAP_FRAMES * self._usual_step
            if pts <= last:
                pts = last + 1
                self.repaired += 1
        self._last_pts = pts
        return pts
