"""The metadata of a source: titles, chapters, languages."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer, OutputContainer
from av.stream import Stream

from lmaseg.video.media import open_media
from lmaseg.video.span import Span

# How the file is coded, which is no longer true of the output, or what every muxer writes by itself.
TECHNICAL = re.compile(
    r"major_brand|minor_version|compatible_brands|encoder|encoded_by|software|duration|handler_name|vendor_id|"
    r"alpha_mode|rotate|bps.*|number_of_.*|_statistics.*|source_id|variant_bitrate|id3v2_priv.*",
    re.IGNORECASE,
)
UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True)
class About:
    """The metadata of a source.

    Args:
        file: its tags, such as title, artist and creation_time, in lower case.
        streams: those of the streams that have a counterpart in the output, by their index there.
        chapters: as PyAV has them, those in the span that is taken.
    """

    file: Mapping[str, str]
    streams: Mapping[int, Mapping[str, str]]
    chapters: list[Any]

    @classmethod
    def of(cls, source: InputContainer, copies: Mapping[int, Stream], span: Span) -> "About":
        """The metadata of a source to keep, given the output's streams by their index in the source."""
        streams = {copy.index: _kept(source.streams[index].metadata) for index, copy in copies.items()}
        for tags in streams.values():
            tags.pop("creation_time", None)  # that of the file
        return cls(_kept(source.metadata), streams, [*_chapters(source, span)])

    def write(self, output: OutputContainer) -> None:
        """Write it into an output, whose header must not have been written yet."""
        output.metadata.update(self.file)
        for index, tags in self.streams.items():
            output.streams[index].metadata.update(tags)
        if self.chapters:
            output.set_chapters(self.chapters)

    def lost(self, path: Path) -> list[str]:
        """What of it is missing in a written file, a few words on each."""
        with open_media(path) as written:
            gone = [f"the file's {key}" for key in _missing(self.file, written.metadata)]
            for index, tags in self.streams.items():
                stream = written.streams[index]
                gone += [f"the {stream.type} stream's {key}" for key in _missing(tags, stream.metadata)]
            if len(written.chapters()) < len(self.chapters):
                gone.append("chapters")
        return gone


def is_repeated_metadata(stream: Stream) -> bool:
    """Whether a stream only repeats chapters or a time code, as in MP4 and MOV."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or (bool(stream.container.chapters()) and not stream.disposition)


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    tags = {key.lower(): value for key, value in metadata.items() if not TECHNICAL.fullmatch(key)}
    if "name" in tags:  # what MP4 and MOV call the title of a track
        tags.setdefault("title", tags.pop("name"))
    if tags.get("language") == UNKNOWN_LANGUAGE:
        del tags["language"]
    return tags


def _missing(wanted: Mapping[str, str], metadata: Mapping[str, str]) -> list[str]:
    return sorted(wanted.keys() - _kept(metadata).keys())


def _chapters(source: InputContainer, span: Span) -> Iterator[Any]:
    for chapter in source.chapters():
        time_base = chapter["time_base"] or Fraction(1)
        start, end = chapter["start"] * time_base, chapter["end"] * time_base
        if not (span.is_before(end) or span.is_past(start)):
            yield chapter
