"""Decoded frames turned into upright RGB pictures of one size."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

from lmaseg.video.orientation import Orientation, orientation_of
from lmaseg.video.tone import TRANSFERS, ToneMapper, is_hdr

UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED


class Pictures:
    """Converts a video's frames to (H, W, 3) uint8 RGB, upright, at the first one's size; transparent over black.

    Attributes:
        transposed: whether width and height changed places.
        width, height: of the pictures, in pixels.
        warnings: what had to be changed or ignored, a line for each kind.
    """

    def __init__(self, first: VideoFrame) -> None:
        self.warnings: dict[str, None] = {}
        self._stored_size = first.width, first.height
        orientation = orientation_of(first)
        if orientation is None:
            self.warnings["a display matrix that is no turn by right angles was ignored"] = None
        self._orientation = orientation or Orientation()
        self.transposed = self._orientation.transposed
        self.width, self.height = self._stored_size[::-1] if self.transposed else self._stored_size
        self._reformatter = VideoReformatter()
        self._tone_mappers: dict[tuple[int, int], ToneMapper] = {}

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        if (frame.width, frame.height) != self._stored_size:
            width, height = self._stored_size
            changed = f"the picture changes its size: frames were scaled to the first one's, {width}x{height}"
            self.warnings[changed] = None
        if is_hdr(frame):
            self.warnings[f"HDR ({TRANSFERS[frame.color_trc]}) tone-mapped to SDR"] = None
            kind = frame.color_trc, frame.color_primaries
            if kind not in self._tone_mappers:
                self._tone_mappers[kind] = ToneMapper(frame, *self._stored_size)
            frame = self._tone_mappers[kind](frame)
        return self._orientation.apply(self._rgb(frame))

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 as stored."""
        see_through = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
        converted = self._reformatter.reformat(
            frame,
            *self._stored_size,
            "rgba" if see_through else "rgb24",
            src_colorspace=_assumed_colorspace(frame),
        ).to_ndarray()
        if not see_through:
            return converted
        alpha = converted[..., 3:].astype(np.uint16)
        return ((converted[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _assumed_colorspace(frame: VideoFrame) -> int | None:
    """None to obey the frame's tags; BT.709 for untagged HD, as players assume."""
    high_definition = frame.width >= 1280 or frame.height > 576
    untagged = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb
    return int(Colorspace.ITU709) if untagged and high_definition else None
