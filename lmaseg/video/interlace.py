"""Interlaced frames made whole: two fields of half the lines, an instant apart, become one picture."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from lmaseg.video.decoder import DecodedFrame

SMALLEST = (3, 4)  # pixels that the filter needs
CLOCK = Fraction(1, 90_000)  # any would do: the times that come out of the filter are not used


def deinterlaced(frames: Iterable[DecodedFrame], warnings: list[str]) -> Iterator[DecodedFrame]:
    """The same frames at the same times, those marked as interlaced filtered; progressive video passes untouched.

    A line is added to `warnings` with the first interlaced frame. Neighbouring frames are used, but none across a gap.
    """
    fields: _Bwdif | None = None
    for decoded in frames:
        if fields is not None and (decoded.after_gap or not fields.fits(decoded.frame)):
            yield from fields.finish()
            fields = None
        frame = decoded.frame
        if fields is None and frame.interlaced_frame and frame.width >= SMALLEST[0] and frame.height >= SMALLEST[1]:
            if not warnings:
                warnings.append("interlaced frames were deinterlaced")
            fields = _Bwdif(decoded.frame)
        yield from fields.take(decoded) if fields is not None else (decoded,)
    if fields is not None:
        yield from fields.finish()


class _Bwdif:
    """FFmpeg's bwdif filter, one frame out for each one in, one frame late."""

    def __init__(self, first: VideoFrame) -> None:
        self._shape = _shape(first)
        self._graph = Graph()
        source = self._graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=CLOCK)
        self._graph.link_nodes(
            source, self._graph.add("bwdif", "mode=send_frame:deint=interlaced"), self._graph.add("buffersink")
        ).configure()
        self._waiting: deque[DecodedFrame] = deque()

    def fits(self, frame: VideoFrame) -> bool:
        """Whether a frame is of the size and format the filter was made for."""
        return _shape(frame) == self._shape

    def take(self, decoded: DecodedFrame) -> Iterator[DecodedFrame]:
        """Put a frame in; get those that are done."""
        self._waiting.append(decoded)
        self._graph.vpush(decoded.frame)
        return self._done()

    def finish(self) -> Iterator[DecodedFrame]:
        """Get what is left."""
        self._graph.vpush(None)
        return self._done()

    def _done(self) -> Iterator[DecodedFrame]:
        while self._waiting:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield replace(self._waiting.popleft(), frame=frame)


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
