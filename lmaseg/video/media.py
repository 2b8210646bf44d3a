"""Opening media, with errors that say what is wrong with it."""

import sys
import time
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from lmaseg.errors import VideoError
from lmaseg.pictures import check_size
from lmaseg.video.inputs import camera_device, display_name, is_camera, is_standard_input, is_url

TIMEOUT = (10.0, 10.0)  # seconds to wait for an address or camera to open, and for its next packet
PIPE_REMEDY = "pipe MKV or MPEG-TS, and give an MP4 whose index is at its end by name"
LOCAL = {"protocol_whitelist": "file,crypto,data"}  # a playlist among files must not reach for the network
HTTP = {"reconnect": "1", "reconnect_delay_max": "4"}  # resumes at the byte where it broke off
RTSP = {"rtsp_flags": "prefer_tcp"}  # over UDP lost packets smear the picture
NO_ANSWER = "no answer in time"
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders leave transparency out


def open_media(source: str | Path, timeout: tuple[float, float] = TIMEOUT) -> InputContainer:
    """Open a file, an address, a camera or "-", standard input, for reading; `timeout` as in `VideoReader`. Raises
    VideoError: it is missing, a folder, empty, does not answer, or is nothing FFmpeg knows."""
    if is_camera(source):
        return _open_camera(source, timeout)
    if is_url(source):
        return _open_url(str(source), timeout)
    if is_standard_input(source):
        try:
            return av.open(sys.stdin.buffer, "r", options=LOCAL, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"standard input cannot be read as it comes ({reason(error)}): {PIPE_REMEDY}") from error
    return _open_file(Path(source))


def video_stream(container: InputContainer, source: str | Path) -> VideoStream:
    """The main video stream of an open file. Raises VideoError: it has none (a cover picture is not a video), no
    decoder for it is built in, it is too large, or in tiles."""
    name = display_name(source)
    if (tiles := sum(bool(part.disposition & Disposition.dependent) for part in container.streams.video)) > 1:
        raise VideoError(f"{name} is a picture in {tiles} tiles, as phones store HEIC: convert it to JPEG or PNG first")
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise VideoError(f"{name} has no video in it: give a file with a picture track")
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:
        raise VideoError(f"no decoder here reads {name}, as some Dolby Vision: convert it first, to H.264 for instance")
    check_size(stream.codec_context.width, stream.codec_context.height, name)
    return stream


def decoder_for(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder, or where it is transparent the one that knows."""
    context = stream.codec_context
    name = ALPHA_DECODERS.get(context.name)
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return context
    transparent = CodecContext.create(name, "r")
    assert isinstance(transparent, VideoCodecContext)
    return transparent


def stream_name(stream: Stream) -> str:
    """The name of a stream in messages."""
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    return f"{stream.type} stream {stream.index} ({codec})"


def start_of(container: InputContainer) -> Fraction:
    """Seconds at which a file begins, as it counts."""
    return Fraction(container.start_time or 0, av.time_base)


def reason(error: Exception) -> str:
    """The message of the system or of FFmpeg, without the file name and the error number."""
    if isinstance(error, av.ExitError | TimeoutError):  # PyAV raises ExitError when the timeout has passed
        return NO_ANSWER
    return str(getattr(error, "strerror", None) or error or type(error).__name__).strip().rstrip(".")


def _open_file(path: Path) -> InputContainer:
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give a file in it")
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the name")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path} is empty: copy or record it again")
    try:
        return av.open(f"file:{path}", options=LOCAL, metadata_errors="replace")
    except av.InvalidDataError as error:
        why = "is not a video, or was cut off before its index was written"
        raise VideoError(f"{path} {why}: see if it plays, or copy it again") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be opened ({reason(error)}): check that it can be read") from error


def _open_url(url: str, timeout: tuple[float, float]) -> InputContainer:
    options = HTTP if url.startswith("http") else {}
    if url.startswith("rtsp"):  # otherwise its demuxer waits once more after the timeout
        options = {**RTSP, "timeout": str(round(timeout[1] * 1_000_000))}
    began = time.monotonic()
    try:
        return av.open(url, options=options, timeout=timeout, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        late = time.monotonic() - began >= min(timeout)  # RTSP may call it invalid data that nothing came
        if isinstance(error, av.InvalidDataError) and not late:
            raise VideoError(f"{display_name(url)} is not a video: check the address") from error
        why = NO_ANSWER if late else reason(error)
        raise VideoError(f"{display_name(url)} cannot be opened ({why}): check the address and the network") from error


def _open_camera(source: str | Path, timeout: tuple[float, float]) -> InputContainer:
    device, form = camera_device(source)
    try:
        return av.open(device, format=form, timeout=timeout)
    except av.FileNotFoundError as error:
        raise VideoError(f"there is no camera {device}: plug it in, or give another, as in camera:1") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"the camera {device} cannot be opened ({reason(error)}): see who else holds it") from error
