"""Copying the sound and subtitles of a source beside a new picture track, packet by packet."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from lmaseg.video.about import About, is_repeated_metadata
from lmaseg.video.holders import holders, holds
from lmaseg.video.media import open_media, reason, start_of, stream_name, video_stream
from lmaseg.video.span import Span

AFTER_END = 10  # seconds past the span's end after which no packet before it is to be expected


class StreamCopier:
    """Packets of a source's audio and subtitle streams, in the order of the source, for an output to mux.

    Adds the streams and the metadata of the source to `output`, whose header must not have been written yet.

    Args:
        source: the file to copy from; read through a demuxer of its own.
        start, end: seconds after the file's start; packets outside are left out.
        non_negative: leave out packets before time 0, for containers that would move all streams to make room.

    Attributes:
        copies: the output's streams by their index in the source.
        about: the metadata that were copied.
        skipped: one line for each stream, or rest of a stream, that could not be copied, and why.
    """

    def __init__(
        self, source: str | Path, output: OutputContainer, start: float | None, end: float | None, non_negative: bool
    ) -> None:
        self.skipped: list[str] = []
        self._container = open_media(source)
        self._pictures = video_stream(self._container, source)
        self._span = Span(start, end, start_of(self._container))
        self._earliest = Fraction(0) if non_negative else None
        self.copies = {stream.index: copy for stream, copy in self._add_streams(output)}
        streams = {**self.copies, self._pictures.index: output.streams.video[0]}
        self.about = About.of(self._container, streams, self._span)
        self.about.write(output)
        self._strippers = {
            index: BitStreamFilterContext("aac_adtstoasc", self._container.streams[index])
            for index in self.copies
            if _carries_headers(self._container.streams[index])
        }
        self._last_dts: dict[int, int] = {}
        for stream in self._container.streams:
            if stream.index not in self.copies:
                stream.discard = Discard.all  # spares the demuxer their data
        self._packets = self._wanted()
        self._next = next(self._packets, None)

    def close(self) -> None:
        """Free the source."""
        self._packets.close()
        self._container.close()

    def until(self, time: Fraction | None, lift: Fraction) -> Iterator["Packet[Stream]"]:
        """Packets not yet yielded up to a time (seconds, as the source counts); None: all that are left.

        `lift`: seconds by which their own times are put off.
        """
        while self._next is not None and (time is None or _time(self._next) <= time):
            packet, self._next = self._next, next(self._packets, None)
            index, time_base = packet.stream.index, packet.time_base
            for copy in self._bare(packet):
                copy.stream, copy.time_base = self.copies[index], time_base
                ticks = round(lift / time_base)
                copy.pts = None if copy.pts is None else copy.pts + ticks
                copy.dts = None if copy.dts is None else copy.dts + ticks
                yield copy

    def _add_streams(self, output: OutputContainer) -> Iterator[tuple[Stream, Stream]]:
        for stream in self._container.streams:
            if stream.index == self._pictures.index or is_repeated_metadata(stream):
                continue
            if stream.type == "video":
                self.skipped.append(f"{stream_name(stream)}: only the main picture is drawn")
                continue
            if not holds(output.format.name, [stream]):
                self.skipped.append(f"{stream_name(stream)}: {holders([stream])}")
                continue
            copy: Stream = output.add_stream_from_template(stream)
            with suppress(AttributeError, ValueError):
                copy.disposition = stream.disposition
            yield stream, copy

    def _bare(self, packet: "Packet[Stream]") -> list["Packet[Stream]"]:
        """The packet without the AAC headers of broadcast formats, which files state once; none if it is damaged."""
        stripper = self._strippers.get(packet.stream.index)
        if stripper is None:
            return [packet]
        try:
            return stripper.filter(packet)
        except av.FFmpegError:
            stripper.flush()
            return []

    def _wanted(self) -> Generator["Packet[Stream]", None, None]:
        if not self._with_packets():
            return
        if self._span.start:
            time = self._span.origin + Fraction(self._span.start)
            with suppress(av.FFmpegError):  # then reading begins at the beginning
                self._container.seek(int(time * av.time_base))
        try:
            for packet in self._container.demux(self._with_packets()):
                if packet.size == 0 or not self._in_order(packet):
                    continue
                time = _time(packet)
                if self._span.is_past(time - AFTER_END):
                    return
                if not (self._span.is_before(time) or self._span.is_past(time)):
                    yield packet
        except av.FFmpegError as error:
            self.skipped.append(f"audio and subtitles from where the source is damaged ({reason(error)})")

    def _with_packets(self) -> list[Stream]:
        """The streams that are copied packet by packet; an attachment is part of the header."""
        streams = [self._container.streams[index] for index in self.copies]
        return [stream for stream in streams if stream.type != "attachment"]

    def _in_order(self, packet: "Packet[Stream]") -> bool:
        """Whether a muxer can take the packet: it has a time, and one after that of its predecessor."""
        if packet.pts is None and packet.dts is None:
            return False
        if self._earliest is not None and _time(packet) < self._earliest:
            return False
        if packet.dts is None:
            return True
        index = packet.stream.index
        last, self._last_dts[index] = self._last_dts.get(index), packet.dts
        return last is None or packet.dts > last


def _carries_headers(stream: Stream) -> bool:
    """Whether every packet of a stream repeats how it is coded (ADTS)."""
    context = stream.codec_context
    return context is not None and context.name == "aac" and not context.extradata


def _time(packet: "Packet[Stream]") -> Fraction:
    """Seconds as the source counts."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return (ticks or 0) * packet.time_base
