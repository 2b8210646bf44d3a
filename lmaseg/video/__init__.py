"""Video files as frames with exact times: `VideoReader` takes them apart, `VideoWriter` puts them together."""

from lmaseg.video.frame import Frame
from lmaseg.video.labels import LabelVideoWriter
from lmaseg.video.reader import VideoReader
from lmaseg.video.writer import VideoWriter

__all__ = ["Frame", "LabelVideoWriter", "VideoReader", "VideoWriter"]
