"""Label maps as a video for a pipe: Matroska that needs no going back, FFV1 that loses nothing."""

from fractions import Fraction
from typing import Any, BinaryIO, Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lmaseg.errors import VideoError
from lmaseg.video.media import reason

RATE = 30  # frames per second, a hint: every frame carries its time


class LabelVideoWriter:
    """Label maps as the grey levels of a lossless video in Matroska; a context manager.

    Args:
        stream: takes bytes and need not seek; VideoError if it takes no more.
        width, height: in pixels.
        time_base: seconds, the unit of the pts given to `write`; Matroska keeps milliseconds.
    """

    def __init__(self, stream: BinaryIO, *, width: int, height: int, time_base: Fraction) -> None:
        self._stream, self._size, self._time_base = stream, (width, height), time_base

    def __enter__(self) -> Self:
        self._container = av.open(self._stream, "w", format="matroska")
        video = self._container.add_stream("ffv1", RATE)
        assert isinstance(video, VideoStream)
        video.width, video.height = self._size
        video.pix_fmt = "gray"
        video.codec_context.time_base = Fraction(1, 1000)
        self._video = video
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            self._container.mux(self._video.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as broken:
            if error is None:
                raise _gone(broken) from broken

    def write(self, labels: np.ndarray, pts: int) -> None:
        """Append (height, width) uint8 class ids."""
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(labels), format="gray")
        frame.pts, frame.time_base = round(pts * self._time_base * 1000), Fraction(1, 1000)
        try:
            self._container.mux(self._video.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise _gone(error) from error


def write_raw(stream: BinaryIO, labels: np.ndarray) -> None:
    """Write (H, W) uint8 class ids, a byte per pixel, without any header; VideoError if the stream takes no more."""
    try:
        stream.write(np.ascontiguousarray(labels).data)
        stream.flush()
    except OSError as error:
        raise _gone(error) from error


def _gone(error: Exception) -> VideoError:
    return VideoError(f"the pipe takes no more ({reason(error)}): see why its reader ended")
