"""Reading a video as upright RGB frames with exact times."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

from lmaseg.errors import NoFrameError, VideoError
from lmaseg.video.decoder import DecodedFrame, Decoder
from lmaseg.video.frame import Frame, FrameSource
from lmaseg.video.inputs import display_name, is_repeatable, is_standard_input
from lmaseg.video.interlace import deinterlaced
from lmaseg.video.lead_in import find_lead_in, hold_back
from lmaseg.video.media import PIPE_REMEDY, TIMEOUT, stream_name
from lmaseg.video.newest import Newest
from lmaseg.video.picture import Pictures
from lmaseg.video.span import Since, Span


@dataclass(frozen=True)
class _Chosen:
    decoded: DecodedFrame
    warm_up: bool
    after_gap: bool


class VideoReader(FrameSource):
    """The frames of a video, in one pass.

    Open from construction on; a context manager. A source without frames is refused here. Interlaced frames are
    deinterlaced, HDR is tone-mapped to SDR, and transparent pixels are shown over black. A connection to a camera, to
    rtsp:// and the like, or with `live`, is opened anew when it is lost; the time goes on meanwhile, and the next frame
    has `after_gap`. One to http:// resumes where it broke off.

    Args:
        path: a video file, an address that FFmpeg reads (rtsp://, https://), a camera (camera:0, camera:NAME,
            /dev/video0), or - for standard input.
        start, end: seconds after the source's own start; a frame is wanted when start <= its time < end, to the
            microsecond.
        stride: take every Nth frame, counted from the first wanted one; times are kept.
        warm_up: frames to yield before the first wanted one where the source has them, `stride` apart, marked
            `warm_up`. What cannot be read twice (a pipe, a camera) has stride * warm_up frames held in memory for it.
        warm_up_since: from the start to the time from which on all frames before it warm up, too (seconds, as the file
            counts).
        threads: decoding threads; None takes the machine's cores, 8 at most.
        deinterlace: whether frames marked as interlaced are filtered.
        strict: whether the first damage raises instead of costing the frames it hit.
        live: keep up with the source: a thread decodes as frames come, and those not taken in time are dropped.
        timeout: seconds to wait for an address or a camera to open, and for each packet.

    Attributes:
        width, height: of the upright frames, in pixels; frames of another size are scaled to the first one's.
        time_base: seconds, the unit of every frame's pts.
        rate: frames per second, average or guessed: a hint for an encoder's rate control, never a clock.
        frames: how many frames to expect, without warm-up; None if the source does not tell.
        start_time: seconds of the source's start as it counts.
        sample_aspect_ratio: width over height of a pixel of the upright frames; None if unknown.
        repeatable: whether the source can be opened again, to copy its sound for instance.

    Raises:
        VideoError: a source that is missing, is not a video, does not answer, or has no frame that can be decoded
            between start and end (NoFrameError where it has others). Later: a lost connection; if `strict`, any damage.
        ValueError: a stride under 1, or fewer than no frames to warm up.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        start: float | None = None,
        end: float | None = None,
        stride: int = 1,
        warm_up: int = 0,
        warm_up_since: Since | None = None,
        threads: int | None = None,
        deinterlace: bool = True,
        strict: bool = False,
        live: bool = False,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        if stride < 1 or warm_up < 0:
            raise ValueError(f"stride {stride} must be at least 1 and warm_up {warm_up} at least 0")
        self.path = path
        self.repeatable = is_repeatable(path) and not live
        self._stride, self._warm_up, self._warm_up_since = stride, warm_up, warm_up_since
        self._timeout = timeout
        self._newest: Newest[_Chosen] | None = None
        span, seek_to, before = Span(start, end), None, 0
        open_decoder = partial(Decoder, path, threads, timeout=timeout)
        if start and self.repeatable:
            seek_to, before = find_lead_in(open_decoder, span, stride * warm_up, warm_up_since)
        self._decoder = open_decoder(seek_to, strict=strict, live=live)
        try:
            self.start_time = self._decoder.origin
            self.time_base = self._decoder.time_base
            self._span = Span(start, end, self.start_time)
            self._interlacing: list[str] = []
            frames = deinterlaced(self._decoder, self._interlacing) if deinterlace else iter(self._decoder)
            self._chosen = self._choose(frames, before)
            self._next = next(self._chosen, None)
            if self._next is None:
                raise self._why_empty()
            self._describe(self._next.decoded)
            if live:
                self._newest = Newest(self._chosen, _merged)
        except BaseException:
            self._decoder.close()
            raise

    def stop(self) -> None:
        self._decoder.stop()

    def close(self) -> None:
        self._decoder.stop()
        if self._newest is None or self._newest.close(sum(self._timeout)):
            self._chosen.close()
            self._decoder.close()

    @property
    def other_streams(self) -> list[str]:
        """The source's audio and subtitle streams, a few words on each."""
        streams = self._decoder.container.streams
        return [stream_name(stream) for stream in streams if stream.type in ("audio", "subtitle")]

    @property
    def damaged(self) -> int:
        """Packets lost and frames decoded with errors so far."""
        return self._decoder.damaged

    @property
    def repaired(self) -> int:
        """Frames so far whose pts did not increase and was replaced by the one before plus 1."""
        return self._decoder.repaired

    @property
    def dropped(self) -> int:
        """Frames so far that `live` left out because they were not taken in time."""
        return self._newest.dropped if self._newest else 0

    @property
    def warnings(self) -> list[str]:
        """What had to be changed, ignored or left out so far, a line for each kind."""
        return [*self._decoder.warnings, *self._interlacing, *self._pictures.warnings]

    def __iter__(self) -> Iterator[Frame]:
        written = 0
        first, self._next = self._next, None
        for chosen in chain([first] if first else [], self._newest or self._chosen):
            decoded = chosen.decoded
            name = "" if chosen.warm_up else f"{written:06d}"
            written += not chosen.warm_up
            image = self._pictures(decoded.frame)
            yield Frame(image, decoded.pts, self.time_base, name, chosen.warm_up, chosen.after_gap)

    def _choose(self, frames: Iterator[DecodedFrame], before: int) -> Generator[_Chosen, None, None]:
        """The frames to yield; the first wanted one comes after `before` others."""
        if self._span.start and not self.repeatable:
            held = hold_back(frames, self._span, self.time_base, self._warm_up * self._stride, self._warm_up_since)
            frames, before = chain(held, frames), max(0, len(held) - 1)
        gap, size = False, None
        for index, decoded in enumerate(frames, start=-before):
            if self._span.is_past(decoded.pts * self.time_base):
                return
            last_size, size = size, (decoded.frame.width, decoded.frame.height)
            gap |= decoded.after_gap or last_size not in (None, size)
            warms_up = index >= -self._warm_up * self._stride or self._span.leads_in(
                decoded.pts * self.time_base, self._warm_up_since
            )
            if index % self._stride == 0 and warms_up:
                yield _Chosen(decoded, index < 0, gap)
                gap = False

    def _why_empty(self) -> VideoError:
        name = display_name(self.path)
        if self._decoder.started:
            return NoFrameError(f"{name} has no frame between {self._span}: give times within it")
        remedy = PIPE_REMEDY if is_standard_input(self.path) else "check that it plays"
        return VideoError(f"no frame of {name} can be decoded, as it is empty or damaged: {remedy}")

    def _describe(self, first: DecodedFrame) -> None:
        """Set what the first frame decides for all of them."""
        decoder, stream = self._decoder, self._decoder.stream
        self._pictures = Pictures(first.frame)
        self.width, self.height = self._pictures.width, self._pictures.height
        self.rate = decoder.rate
        ratio = stream.sample_aspect_ratio
        turned = self._pictures.transposed
        self.sample_aspect_ratio = None if not ratio else 1 / Fraction(ratio) if turned else Fraction(ratio)
        self.frames = self._expected_frames(stream.frames, decoder.duration)

    def _expected_frames(self, counted: int, duration: float | None) -> int | None:
        if not counted and not duration:
            return None
        total = counted or round((duration or 0) * self.rate)
        if self._span.start or self._span.end is not None:
            seconds = self._span.length(duration or float(total / self.rate))
            total = min(total, round(seconds * self.rate))
        return max(1, math.ceil(total / self._stride))


def _merged(dropped: _Chosen, successor: _Chosen) -> _Chosen:
    """The frame after a dropped one, with the gap before that one."""
    return replace(successor, after_gap=successor.after_gap or dropped.after_gap)
