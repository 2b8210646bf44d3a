"""Opening media files, with errors that say what is wrong with them."""

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from lmaseg.errors import VideoError


def is_url(source: str | Path) -> bool:
    """Whether FFmpeg is to resolve a source by protocol (rtsp://, https://, pipe:0) rather than as a file."""
    return "://" in str(source) or str(source).startswith("pipe:")


def open_media(source: str | Path) -> InputContainer:
    """Open a file or URL for reading.

    Raises:
        VideoError: it is missing, a folder, empty, or nothing FFmpeg knows.
    """
    if not is_url(source):
        _check_file(Path(source))
    try:
        return av.open(str(source), "r", metadata_errors="replace")
    except av.InvalidDataError as error:
        raise VideoError(
            f"{source} is not a video, or was cut off before its index was written: see if it plays, or copy it again"
        ) from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{source} cannot be opened ({reason(error)}): check that it can be read") from error


def video_stream(container: InputContainer, source: str | Path) -> VideoStream:
    """The main video stream of an open file.

    Raises:
        VideoError: it has none (a cover picture is not a video), or no decoder for it is built in.
    """
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise VideoError(f"{source} has no video in it: give a file with a picture track")
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:
        raise VideoError(f"{source} is coded in a way no decoder here reads: convert it first, to H.264 for instance")
    return stream


def start_of(container: InputContainer) -> Fraction:
    """Seconds at which a file begins, as it counts."""
    return Fraction(container.start_time or 0, av.time_base)


def reason(error: Exception) -> str:
    """What the system or FFmpeg says is wrong, without the file name and number around it."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).strip().rstrip(".")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give a file in it")
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the name")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path} is empty: copy or record it again")
