"""Reading a video as upright RGB frames with exact times."""

import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

from lmaseg.errors import VideoError
from lmaseg.video.decoder import DecodedFrame, Decoder, SeekError
from lmaseg.video.frame import Frame
from lmaseg.video.orientation import orientation_of
from lmaseg.video.span import Span

UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
SEEK_MARGINS = (1, 8, 64)  # seconds before the earliest frame needed; after these, reading starts at the beginning


@dataclass(frozen=True)
class _LeadIn:
    """Where decoding begins (seconds as the file counts; None: at the beginning), and how many frames precede the
    first wanted one from there."""

    seek_to: Fraction | None = None
    frames: int = 0


@dataclass(frozen=True)
class _Chosen:
    decoded: DecodedFrame
    warm_up: bool
    after_gap: bool


class VideoReader:
    """The frames of a video, in one pass.

    Open from construction on; a context manager. The first frame is decoded at once, so that the size is known and a
    file without frames is refused here.

    Args:
        path: a video file, or a URL that FFmpeg reads.
        start: seconds after the file's own start; a frame is wanted when start <= its time < end, to the microsecond.
        end: seconds after the file's own start.
        stride: take every Nth frame, counted from the first wanted one; times are kept.
        warm_up: frames to yield before the first wanted one where the file has them, `stride` apart, marked `warm_up`.
        threads: decoding threads; None takes the machine's cores, 8 at most.

    Attributes:
        width, height: of the upright frames, in pixels. A frame of another size is scaled to that of the first.
        time_base: seconds, the unit of every frame's pts.
        rate: frames per second, average or guessed: a hint for an encoder's rate control, never a clock.
        frames: how many frames to expect, without warm-up; an estimate, None if the file does not tell.
        start_time: seconds of the file's start as the file counts; `start` and `end` count from there.
        sample_aspect_ratio: width over height of a pixel of the upright frames; None if unknown.

    Raises:
        VideoError: a file that is missing, is not a video, or has no frame that can be decoded between start and end.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        start: float | None = None,
        end: float | None = None,
        stride: int = 1,
        warm_up: int = 0,
        threads: int | None = None,
    ) -> None:
        if stride < 1 or warm_up < 0:
            raise ValueError(f"stride {stride} must be at least 1 and warm_up {warm_up} at least 0")
        self.path = path
        self._stride, self._warm_up = stride, warm_up
        span = Span(start, end)
        lead = _lead_in(path, span, stride * warm_up, threads) if start else _LeadIn()
        self._decoder = Decoder(path, threads, lead.seek_to)
        try:
            self.start_time = self._decoder.origin
            self._span = Span(start, end, self.start_time)
            self._reformatter = VideoReformatter()
            self.time_base = self._decoder.time_base
            self._chosen = self._choose(lead.frames)
            self._next = next(self._chosen, None)
            if self._next is None:
                raise VideoError(self._why_empty())
            self._describe(self._next.decoded.frame)
        except BaseException:
            self._decoder.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the file; frames already yielded stay valid."""
        self._chosen.close()
        self._decoder.close()

    @property
    def damaged(self) -> int:
        """Packets lost and frames decoded with errors so far."""
        return self._decoder.damaged

    @property
    def repaired(self) -> int:
        """Frames so far whose pts did not increase and was replaced by the one before plus 1."""
        return self._decoder.repaired

    def __iter__(self) -> Iterator[Frame]:
        written = 0
        chosen, self._next = self._next, None
        while chosen is not None:
            decoded = chosen.decoded
            name = "" if chosen.warm_up else f"{written:06d}"
            written += not chosen.warm_up
            image = self._picture(decoded.frame)
            yield Frame(image, decoded.pts, self.time_base, name, chosen.warm_up, chosen.after_gap)
            chosen = next(self._chosen, None)

    def _choose(self, before: int) -> Generator[_Chosen, None, None]:
        """The frames to yield; the first wanted one comes after `before` others."""
        gap, size = False, None
        for index, decoded in enumerate(self._decoder, start=-before):
            if self._span.is_past(decoded.pts * self.time_base):
                return
            last_size, size = size, (decoded.frame.width, decoded.frame.height)
            gap |= decoded.after_gap or last_size not in (None, size)
            if index % self._stride == 0 and index >= -self._warm_up * self._stride:
                yield _Chosen(decoded, index < 0, gap)
                gap = False

    def _why_empty(self) -> str:
        if self._span.end is not None and self._decoder.started:
            return f"{self.path} has no frame between {self._span}: give times within it"
        return f"no frame of {self.path} can be decoded: it is empty or damaged, so check that it plays"

    def _describe(self, frame: VideoFrame) -> None:
        """Fix what holds for every frame from the first one."""
        decoder, stream = self._decoder, self._decoder.stream
        self._stored_size = frame.width, frame.height
        self._orientation = orientation_of(frame)
        turned = self._orientation.transposed
        self.width, self.height = (frame.height, frame.width) if turned else self._stored_size
        self.rate = decoder.rate
        ratio = stream.sample_aspect_ratio
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

    def _picture(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, at the first frame's size; transparent pixels over black."""
        width, height = self._stored_size
        see_through = any(component.is_alpha for component in frame.format.components)
        converted = self._reformatter.reformat(
            frame, width, height, "rgba" if see_through else "rgb24", src_colorspace=_assumed_colorspace(frame)
        ).to_ndarray()
        if see_through:
            alpha = converted[..., 3:].astype(np.uint16)
            converted = ((converted[..., :3] * alpha + 127) // 255).astype(np.uint8)
        return self._orientation.apply(converted)


def _assumed_colorspace(frame: VideoFrame) -> int | None:
    """None to obey the frame's tags; BT.709 for untagged HD, as players assume."""
    high_definition = frame.width >= 1280 or frame.height > 576
    untagged = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb
    return int(Colorspace.ITU709) if untagged and high_definition else None


def _lead_in(path: str | Path, span: Span, needed: int, threads: int | None) -> _LeadIn:
    """Where to begin decoding to have `needed` frames before the span's start, and how many there then are.

    Found by decoding, not by looking at the container's index: formats differ in what their seeking promises.

    Raises:
        VideoError: no frame lies in the span.
    """
    with Decoder(path, threads) as decoder:
        span = replace(span, origin=decoder.origin)
        earliest = span.origin + Fraction(span.start or 0) - needed / decoder.rate
    nothing = VideoError(f"{path} has no frame between {span}: give times within it")
    for margin in SEEK_MARGINS:
        seek_to = earliest - margin
        if seek_to <= span.origin:
            break
        with suppress(SeekError):
            before, found = _frames_before(path, span, threads, seek_to)
            if before >= max(1, needed):  # the start was not overshot
                if not found:
                    raise nothing
                return _LeadIn(seek_to, before)
    before, found = _frames_before(path, span, threads, None)
    if not found:
        raise nothing
    return _LeadIn(None, before)


def _frames_before(path: str | Path, span: Span, threads: int | None, seek_to: Fraction | None) -> tuple[int, bool]:
    """How many frames precede the span when decoding begins there, and whether one lies in it."""
    before = 0
    with Decoder(path, threads, seek_to) as decoder:
        for decoded in decoder:
            time = decoded.pts * decoder.time_base
            if not span.is_before(time):
                return before, not span.is_past(time)
            before += 1
    return before, False
