"""Turning pictures upright by the display matrix a camera wrote into its file."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

UNNAMED = range(28, 64)  # kinds of data beside a frame that PyAV 18 has no names for; FFmpeg 8 ends at 33


@dataclass(frozen=True)
class Orientation:
    """A transposition followed by flips: every right-angled way to hold a camera."""

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) as stored -> upright, C-contiguous; (W, H, C) in shape when transposed."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.flipped_x:
            image = image[:, ::-1]
        if self.flipped_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def orientation_of(frame: VideoFrame) -> Orientation | None:
    """How to show a frame: as stored when there is no display matrix; None when there is one that is not a right angle.

    The matrix (a b u / c d v / x y w, ISO 14496-12) sends pixel (p, q) to (a p + c q, b p + d q), q counting down.
    """
    matrix = _with_known_data(frame).side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d = (int(entry) for entry in np.frombuffer(matrix, np.int32)[:5])  # type: ignore[call-overload]
    if a and d and not b and not c:
        return Orientation(False, flipped_x=a < 0, flipped_y=d < 0)
    if b and c and not a and not d:
        return Orientation(True, flipped_x=c < 0, flipped_y=b < 0)
    return None


def _with_known_data(frame: VideoFrame) -> VideoFrame:
    """The frame without data beside it that PyAV has no name for: at one of those it gives up on all others, too."""
    try:
        len(frame.side_data)
        return frame
    except ValueError:
        graph = Graph()
    time_base = frame.time_base or Fraction(1)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    removed = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in UNNAMED]
    graph.link_nodes(source, *removed, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()
