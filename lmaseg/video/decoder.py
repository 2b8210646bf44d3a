"""One pass over a source's video frames, whatever damage there is on the way."""

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lmaseg.errors import VideoError
from lmaseg.pictures import MOST_PIXELS
from lmaseg.video.encoders import DEFAULT_RATE
from lmaseg.video.inputs import display_name, is_endless, is_remote
from lmaseg.video.media import TIMEOUT, decoder_for, open_media, reason, start_of, video_stream

MOST_THREADS = 8  # decoding gains little beyond, and every thread holds frames of its own
LEAP_SECONDS, LEAP_FRAMES = 0.5, 10  # a step in time longer than both means that frames between were lost
READ_ATTEMPTS = 10  # broken reads in a row after which the rest of a file is given up
PAUSES = (0.5, 1, 2, 4, 8)  # seconds before each attempt to open a lost connection anew
REORDERED = ("h264", "hevc")  # in AVI, which has no presentation times, what FFmpeg makes up for them is in disorder
NEXT_LOOK = 0.005  # seconds until a camera without a picture is asked again


class SeekError(Exception):
    """The file can be read from its beginning only, because of its format or damage."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as the decoder gave it, with its time put in order."""

    frame: VideoFrame
    pts: int
    after_gap: bool


class Decoder(AbstractContextManager["Decoder"]):
    """Frames of one video stream in order of time; an iterator for one pass.

    Args:
        source, threads, strict, timeout: as in `VideoReader`.
        seek_to: seconds as the file counts; decoding begins with the last keyframe before that as far as the format
            can tell, and may begin later where it cannot.
        live: whether to reopen a lost connection for every address, also for http://, where a file may lie.

    Raises:
        VideoError: no such source, not a video, or a codec this build has no decoder for; later, a lost connection to
            what is not live, and with `strict` any damage.
        SeekError: only with `seek_to`.
    """

    def __init__(
        self,
        source: str | Path,
        threads: int | None = None,
        seek_to: Fraction | None = None,
        *,
        strict: bool = False,
        live: bool = False,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self.source, self.name = source, display_name(source)
        self.damaged = 0
        self.repaired = 0
        self.warnings: dict[str, None] = {}  # each line once
        self._strict, self._timeout = strict, timeout
        self._threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
        self._remote = is_remote(source)
        self._lasting = self._remote and (live or is_endless(source)) and not strict
        self._closing = threading.Event()
        self._gap = False
        self._last_pts: int | None = None
        self._epoch = math.inf  # when time 0 was by the monotonic clock, as the promptest frame tells
        self._shift = 0  # ticks that a connection opened anew lags behind
        self._reopened = False
        self._sought = seek_to is not None
        self._not_before: int | None = None
        self._suspect: set[int] = set()  # pts of packets that the container knows to be incomplete
        self._open()
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 90_000)
        self._usual_step = max(1, round(1 / (self.rate * self.time_base)))  # ticks from frame to frame
        if seek_to is not None:
            self._seek(seek_to)

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stop(self) -> None:
        """Make a thread that iterates stop waiting for a lost connection."""
        self._closing.set()

    def close(self) -> None:
        """Free the source and the decoder's threads."""
        self.stop()
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

    def _open(self) -> None:
        self.container = open_media(self.source, self._timeout)
        try:
            self.stream = video_stream(self.container, self.source)
            self._context = decoder_for(self.stream)
            self._context.thread_type = "AUTO"
            self._context.thread_count = self._threads
            self._context.options = {"max_pixels": str(MOST_PIXELS)}
            self._unordered = self.container.format.name == "avi" and self._context.name in REORDERED
        except BaseException:
            self.container.close()
            raise

    def _seek(self, time: Fraction) -> None:
        try:
            self.container.seek(int(time // self.time_base), stream=self.stream)
        except (av.FFmpegError, OverflowError) as error:
            self.close()
            raise SeekError from error

    def _packets(self) -> Iterator["Packet[VideoStream] | None"]:
        """Packets with data, None to empty the decoder; those before the first keyframe after a seek refer to frames
        that were not read."""
        for packet in self._read():
            if packet is None:
                yield None
                continue
            if self._sought and not packet.is_keyframe:
                continue
            if self._sought:
                self._sought, self._not_before = False, packet.pts
            if packet.is_corrupt and packet.pts is not None:
                self._suspect.add(packet.pts)
            yield packet

    def _read(self) -> Iterator["Packet[VideoStream] | None"]:
        failures = waits = 0
        while failures < READ_ATTEMPTS:
            why = "the other side ended it"
            try:
                for packet in self.container.demux(self.stream):
                    failures = waits = 0
                    if packet.size:  # an empty packet would tell the decoder that the stream is over
                        yield packet
                if not (self._lasting and is_endless(self.source)) or self.duration:
                    return
            except av.FFmpegError as error:
                if isinstance(error, av.BlockingIOError) and waits * NEXT_LOOK < self._timeout[1]:
                    waits += 1
                    time.sleep(NEXT_LOOK)
                    continue
                if not self._remote or isinstance(error, av.InvalidDataError):
                    failures += 1
                    self._damage(error)
                    continue
                if not self._lasting:
                    lost = f"the connection to {self.name} was lost ({reason(error)})"
                    raise VideoError(f"{lost}: try again, or copy the video first") from error
                why = reason(error)
            failures += 1
            yield None
            if not self._reopen(why):
                return

    def _reopen(self, why: str) -> bool:
        """Connect again after a loss; whether that succeeded."""
        self.container.close()
        lost = f"the connection to {self.name} was lost"
        for pause in PAUSES:
            if self._closing.wait(pause):
                return False
            with suppress(VideoError):
                self._open()
                self._reopened = self._gap = True
                self._suspect.clear()
                self.warnings[f"{lost} and opened anew: frames between are missing"] = None
                return True
        self.warnings[f"{lost} for good ({why}): the rest is missing"] = None
        return False

    def _decode(self, packet: "Packet[VideoStream] | None") -> Iterator[DecodedFrame]:
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            self._damage(error)
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

    def _damage(self, error: Exception | None = None) -> None:
        self.damaged += 1
        self._gap = True
        if self._strict:
            where = "at its beginning"
            if self._last_pts is not None:
                where = f"after {float(self._last_pts * self.time_base):.3f} s"
            why = reason(error) if error else "a frame with errors"
            raise VideoError(f"{self.name} is damaged {where} ({why}): copy it again, or be not strict") from error

    def _ordered(self, frame: VideoFrame) -> int:
        """The frame's pts, or the nearest one that keeps time going forward; a leap in time is a gap."""
        last, pts = self._last_pts, frame.dts if self._unordered else frame.pts
        if pts is None:
            pts = 0 if last is None else last - self._shift + (frame.duration or self._usual_step)
        if self._remote:
            self._keep_clock(pts)
        pts += self._shift
        if last is not None:
            leap = abs(pts - last)
            self._gap |= leap * self.time_base > LEAP_SECONDS and leap > LEAP_FRAMES * self._usual_step
            if pts <= last:
                pts = last + 1
                self.repaired += 1
        self._last_pts = pts
        return pts

    def _keep_clock(self, pts: int) -> None:
        """After a new connection, whose clock may start again at 0, continue at the time that has passed meanwhile."""
        now = time.monotonic()
        if self._reopened and self._last_pts is not None:
            self._shift = max(self._last_pts + 1, round((now - self._epoch) / self.time_base)) - pts
        self._reopened = False
        self._epoch = min(self._epoch, now - float((pts + self._shift) * self.time_base))
