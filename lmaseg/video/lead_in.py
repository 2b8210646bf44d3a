"""Where to begin decoding so that reading starts right to the frame, with frames before it to warm up on."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile

from lmaseg.errors import NoFrameError
from lmaseg.video.decoder import DecodedFrame, Decoder, SeekError
from lmaseg.video.span import Since, Span

SEEK_MARGINS = (1, 8, 64)  # seconds before the earliest frame needed; after these, reading starts at the beginning

Open = Callable[[Fraction | None], Decoder]
"""A decoder of the source that begins near a time, or at the beginning."""


def find_lead_in(
    open_decoder: Open, span: Span, needed: int, since: Since | None = None
) -> tuple[Fraction | None, int]:
    """Where to begin decoding to have `needed` frames before the span's start, and all that lead in by `since`
    (seconds as the file counts; None: at the beginning), and how many there then are.

    Found by decoding, not by looking at the container's index: formats differ in what their seeking promises.

    Raises:
        NoFrameError: no frame lies in the span.
    """
    with open_decoder(None) as decoder:
        name = decoder.name
        span = replace(span, origin=decoder.origin)
        earliest = min(span.first - needed / decoder.rate, since(span.first) if since else span.first)
    places = takewhile(lambda place: place > span.origin, (earliest - margin for margin in SEEK_MARGINS))
    for seek_to in (*places, None):
        with suppress(SeekError):
            before, found, first = _frames_before(open_decoder, span, seek_to)
            overshot = before < max(1, needed) or span.leads_in(first, since)
            if not overshot or seek_to is None:
                break
    if not found:
        raise NoFrameError(f"{name} has no frame between {span}: give times within it")
    return seek_to, before


def hold_back(
    frames: Iterable[DecodedFrame], span: Span, time_base: Fraction, needed: int, since: Since | None = None
) -> list[DecodedFrame]:
    """The first frame not before the span, preceded by up to `needed` that are, and by all that lead in by `since`;
    for sources that cannot be reread."""
    held: deque[DecodedFrame] = deque()
    for decoded in frames:
        held.append(decoded)
        while len(held) > needed + 1 and not span.leads_in(held[0].pts * time_base, since):
            held.popleft()
        if not span.is_before(decoded.pts * time_base):
            return list(held)
    return []


def _frames_before(open_decoder: Open, span: Span, seek_to: Fraction | None) -> tuple[int, bool, Fraction]:
    """How many frames precede the span when decoding begins there, whether one lies in it, and the first one's time."""
    before, first = 0, span.origin
    with open_decoder(seek_to) as decoder:
        for decoded in decoder:
            time = decoded.pts * decoder.time_base
            first = first if before else time
            if not span.is_before(time):
                return before, not span.is_past(time), first
            before += 1
    return before, False, first
