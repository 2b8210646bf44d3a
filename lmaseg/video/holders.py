"""Which containers can hold a stream of another file as it is."""

import io
from collections.abc import Sequence

import av
from av.stream import Stream

from lmaseg.video.encoders import MUXERS, either

UNUSUAL = (".m4v", ".avi", ".gif")  # never advised
COPIED = ("audio", "subtitle", "attachment")  # data, such as a camera's telemetry, FFmpeg writes for few formats only


def holders(streams: Sequence[Stream]) -> str:
    """Words on the suffixes of the outputs that could hold streams."""
    suffixes = [suffix for suffix, muxer in MUXERS.items() if suffix not in UNUSUAL and holds(muxer.name, streams)]
    return f"a name in {either(suffixes)} would hold it" if suffixes else "no kind of output holds it"


def holds(format_name: str, streams: Sequence[Stream]) -> bool:
    """Whether a file of streams can be begun."""
    kinds = {stream.type for stream in streams}
    if not kinds <= set(COPIED) or ("attachment" in kinds and format_name != "matroska"):
        return False
    with av.open(io.BytesIO(), "w", format=format_name) as trial:
        try:
            for stream in streams:
                trial.add_stream_from_template(stream)
            trial.start_encoding()
        except (ValueError, av.FFmpegError):
            return False
    return True
