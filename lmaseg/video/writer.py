"""Writing frames with exact times into a video that appears under its name when it is complete."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lmaseg.errors import VideoError
from lmaseg.paths import REMEDY, check_places, part_path, publish
from lmaseg.video import encoders
from lmaseg.video.canvas import Canvas
from lmaseg.video.copier import StreamCopier
from lmaseg.video.media import reason
from lmaseg.video.ticks import Ticks
from lmaseg.video.unfinished import packets_of, taken_over_path

KEY_FRAME_SECONDS = 4  # at most between two: where players can jump to and a killed run can go on from
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EPIPE}


class VideoWriter:
    """A video file made of RGB frames; a context manager.

    Written as NAME.part.EXT and renamed when left without an exception. Left with one, the part is closed so that it
    plays, and kept if a frame was written. A killed process leaves an MP4 or MOV part that plays but for its last
    seconds.

    Times are those given, to the tick, in MP4 and MOV; to the nearest millisecond in MKV and WebM. They are not shifted
    when only part of a source is written: copied sound stays in step, and the video begins at its time in the source.
    Only a first frame before time 0 moves everything up to 0. AVI and GIF begin at 0 and have coarser times.

    Colours are converted to BT.709, limited range, and tagged so. H.264 and HEVC take even sizes only: the last column
    or row of an odd one is repeated.

    Args:
        path: the output; its suffix chooses the container: .mp4 .m4v .mov .mkv .webm .avi .gif.
        width, height: of the frames, in pixels.
        time_base: seconds, the unit of the pts given to `write`.
        rate: frames per second, a hint for rate control.
        codec: h264, hevc, av1, vp9 or ffv1 (lossless); None: vp9 for .webm, gif for .gif, else h264.
        crf: constant rate factor, lower is better and larger; None takes the encoder's default. FFV1 has none.
        sample_aspect_ratio: width over height of a pixel.
        copy_from, start, end: a file whose audio and subtitles are copied, and the seconds after its start to copy.
        overwrite: whether the output may replace a file.
        keep: frames to take over from the part that a killed run with the same settings left: one of its
            `resume_points`. `skip` must be called for as many before the first `write`.

    Attributes:
        part_path: where the output is until it is complete.
        skipped_streams: one line for each stream of `copy_from` that could not be copied.

    Raises:
        VideoError: an output that cannot be written, a codec that is unknown, or one the container cannot hold.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        rate: Fraction | float,
        codec: str | None = None,
        crf: float | None = None,
        sample_aspect_ratio: Fraction | None = None,
        copy_from: str | Path | None = None,
        start: float | None = None,
        end: float | None = None,
        overwrite: bool = False,
        keep: int = 0,
    ) -> None:
        self.path = Path(path)
        self.part_path = part_path(self.path)
        self.skipped_streams: list[str] = []
        self._lost: list[str] = []
        if copy_from is not None and self.path.exists() and self.path.resolve() == Path(copy_from).resolve():
            raise VideoError(f"{self.path} is the source itself: write to another name")
        check_places([self.path], overwrite=overwrite)
        self._muxer = encoders.muxer_for(self.path)
        self._encoder = encoders.encoder_for(codec or self._muxer.default_codec, self._muxer)
        self._options = encoders.options_for(self._encoder, crf)
        self._rate = encoders.likely_rate(rate)
        unit = encoders.output_time_base(self._muxer, time_base, self._rate)
        self._ticks = Ticks(time_base, unit, shortest=self._muxer.shortest, from_zero=self._muxer.one_rate)
        self._sample_aspect_ratio = sample_aspect_ratio
        self._copy_from, self._start, self._end = copy_from, start, end
        self._canvas = Canvas(width, height, self._encoder)
        self._copier: StreamCopier | None = None
        self._last_dts: int | None = None
        self._appended = False
        self._keep, self._kept = keep, taken_over_path(self.path)
        self.frames = 0

    def __enter__(self) -> Self:
        if self._keep:
            with self._guard():
                os.replace(self.part_path, self._kept)
        try:
            with self._guard():
                self._open(self._copy_from is not None)
            if self._keep:
                self.append(self._kept, self._keep)
        except VideoError:
            with suppress(AttributeError, av.FFmpegError, OSError):  # opening may have got anywhere
                self._close()
            self.part_path.unlink(missing_ok=True)
            if self._keep:
                self._kept.replace(self.part_path)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            self._complete()
        else:
            self._abandon()

    def write(self, image: np.ndarray, pts: int) -> None:
        """Append a frame (height, width, 3) uint8 RGB; `pts`, in units of `time_base`, comes after that of the one
        before.

        Raises:
            ValueError: another shape or dtype, or a time that does not increase.
            VideoError: the encoder or the disk failed.
        """
        if self._ticks.last is not None and pts <= self._ticks.last[0]:
            raise ValueError(f"pts {pts} does not come after {self._ticks.last[0]}")
        if not self.part_path.exists():  # an open file takes all that comes, and is not found in the end
            raise VideoError(f"cannot write {self.path} (its folder was moved or removed meanwhile): {REMEDY}")
        ticks = self._ticks(pts)
        if ticks is None:
            return
        frame = self._canvas(image)
        frame.pts, frame.time_base = ticks, self._ticks.unit
        with self._guard():
            self._encode(frame)
        self.frames += 1

    @property
    def warnings(self) -> list[str]:
        """What of the source is missing or changed in the output, a line for each kind."""
        lost = [f"not kept: {', '.join(self._lost)}"] if self._lost else []
        if self._ticks.left_out:
            most = f"a {self._muxer.name} file shows at most {1 / (self._ticks.unit * self._muxer.shortest)} a second"
            lost.append(f"{self._ticks.left_out} frames were left out: {most}")
        return [*self._canvas.warnings, *(f"not copied: {line}" for line in self.skipped_streams), *lost]

    def skip(self, pts: int) -> None:
        """Pass over a frame that was taken over."""
        self._ticks(pts)

    def append(self, piece: Path, frames: int | None = None) -> None:
        """Append the first `frames` frames of a video that was written with the same settings, as they were encoded.
        Raises VideoError: the piece cannot be read, or the disk failed."""
        self._appended = True
        with self._guard():
            for packet in islice(packets_of(piece), frames):
                packet.stream = self._stream
                self._mux_video([packet])  # sound is copied anew between them
                self.frames += 1

    def _open(self, copy: bool) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder otherwise writes its settings to stderr
        options = encoders.container_options(self._muxer, self._ticks.unit)
        self._container = av.open(str(self.part_path), "w", format=self._muxer.name, container_options=options)
        self._stream = self._add_video()
        if copy and self._copy_from is not None:
            negative_moves_all = self._muxer.tick is not None or self._muxer.one_rate
            self._copier = StreamCopier(
                self._copy_from, self._container, self._start, self._end, non_negative=negative_moves_all
            )
            self.skipped_streams = self._copier.skipped
        try:
            self._container.start_encoding()
        except av.FFmpegError as error:
            if self._copier is None or not self._copier.copies:
                raise
            self._close()
            self.skipped_streams.append(f"all audio and subtitles: {reason(error)}")
            self._open(copy=False)

    def _add_video(self) -> VideoStream:
        canvas = self._canvas
        stream = self._container.add_stream(
            self._encoder.name, self._rate, self._options, width=canvas.width, height=canvas.height
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        canvas.tag(context)
        context.time_base = self._ticks.unit
        context.gop_size = round(self._rate * KEY_FRAME_SECONDS)
        if self._muxer.one_rate:
            context.max_b_frames = 0
        if self._sample_aspect_ratio:
            context.sample_aspect_ratio = self._sample_aspect_ratio
        if self._encoder.name == "libx265" and self._muxer.tick is None:
            context.codec_tag = "hvc1"  # the one of HEVC's two tags that Apple's players know
        return stream

    def _encode(self, frame: VideoFrame) -> None:
        self._mux_video(self._stream.encode(frame))

    def _flush(self) -> None:
        """Encode what the encoder holds back."""
        usual_duration = max(1, round(1 / (self._rate * self._ticks.unit)))
        self._mux_video(encoders.last_packets(self._stream.encode(None), usual_duration))

    def _mux_video(self, packets: "Sequence[Packet[VideoStream]]") -> None:
        """Mux encoded packets, each after the sound that precedes it."""
        for packet in packets:
            if self._appended and packet.dts is not None:  # each encoder reckons its first times afresh
                packet.dts = packet.dts if self._last_dts is None else max(packet.dts, self._last_dts + 1)
                self._last_dts = packet.dts
            ticks = packet.pts if packet.dts is None else packet.dts
            self._copy_until(((ticks or 0) - self._ticks.lift) * packet.time_base)
            self._mux(packet)

    def _copy_until(self, time: Fraction | None) -> None:
        if self._copier is None:
            return
        for packet in self._copier.until(time, lift=self._ticks.lift * self._ticks.unit):
            if not (self._muxer.one_rate and (packet.pts or 0) < 0):  # would move all pictures but the first
                self._mux(packet)

    def _mux(self, packet: "Packet[Any]") -> None:
        try:
            self._container.mux(packet)
        except av.FFmpegError as error:
            # The muxer interleaves: what it refuses now is an older, copied packet, and this one is in its queue.
            if self._copier is None or not self._copier.copies or error.errno in DISK_ERRORS:
                raise
            line = f"parts of audio or subtitles: {reason(error)}"
            if line not in self.skipped_streams:
                self.skipped_streams.append(line)

    def _complete(self) -> None:
        if not self.frames:
            self._abandon()
            raise VideoError(f"{self.path} was not written, as no frame came: check the source and the times asked for")
        try:
            with self._guard():
                self._flush()
                self._copy_until(None)
                about = self._copier.about if self._copier else None
                self._close()
                self._lost = about.lost(self.part_path) if about else []
                publish(self.path)
                self._kept.unlink(missing_ok=True)
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Make what there is play; errors while doing so would hide the one that led here."""
        with suppress(av.FFmpegError, OSError, ValueError):
            self._flush()
        with suppress(av.FFmpegError, OSError, ValueError):
            self._close()
        with suppress(OSError):
            if not self.frames:
                self.part_path.unlink(missing_ok=True)
            self._kept.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._copier is not None:
            self._copier.close()
            self._copier = None
        self._container.close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turns errors of FFmpeg or the system within this into a VideoError about the output."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            refused = isinstance(error, av.FFmpegError) and not isinstance(error, OSError)
            remedy = "try another codec or size" if refused else REMEDY
            raise VideoError(f"cannot write {self.path} ({reason(error)}): {remedy}") from error
