"""RGB images turned into frames as an encoder takes them."""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from lmaseg.errors import VideoError
from lmaseg.video.encoders import Encoder


class Canvas:
    """Converts (H, W, 3) uint8 RGB to an encoder's pixel format: BT.709, limited range, where that is YUV.

    With 4:2:0 chroma, H.264 and HEVC cannot even tell players to show an odd `width` or `height` (pixels): there the
    last column or row is repeated. Full chroma could, but few players show it. Raises VideoError for pictures too small
    for the encoder. `warnings` has a line on how the size changes, if it does.
    """

    def __init__(self, width: int, height: int, encoder: Encoder) -> None:
        if width < encoder.smallest[0] or height < encoder.smallest[1]:
            least = "{}x{}".format(*encoder.smallest)
            why = f"{encoder.name} takes pictures of {least} pixels or more, not {width}x{height}"
            raise VideoError(f"{why}: choose another codec")
        pad = 0 if encoder.any_size else 1
        self.width, self.height = width + width % 2 * pad, height + height % 2 * pad
        self._shape = height, width, 3
        self._right, self._below = self.width - width, self.height - height
        self._pixel_format = encoder.pixel_format
        self._reformatter = VideoReformatter()
        self._palettes = _palettes(self.width, self.height) if encoder.pixel_format == "pal8" else None
        self.warnings: list[str] = []
        if self._right or self._below:
            self.warnings.append(
                f"{encoder.name} takes even sizes only: {width}x{height} became {self.width}x{self.height} by "
                "repeating the edge; av1, vp9 and ffv1 keep the size"
            )

    def tag(self, context: VideoCodecContext) -> None:
        """Have a stream say what its pixels mean."""
        context.pix_fmt = self._pixel_format
        if self._pixel_format == "yuv420p":
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def __call__(self, image: np.ndarray) -> VideoFrame:
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"expected a {self._shape} uint8 image, got {image.shape} {image.dtype}")
        if self._right or self._below:
            image = np.pad(image, ((0, self._below), (0, self._right), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if self._palettes is not None:
            self._palettes.vpush(frame)
            return self._palettes.vpull()
        if self._pixel_format != "yuv420p":
            return self._reformatter.reformat(frame, format=self._pixel_format)
        return self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )


def _palettes(width: int, height: int) -> Graph:
    """Gives each picture the 256 colours that suit it best; without dithering, which would flicker."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=Fraction(1, 100))
    both, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    coloured, sink = graph.add("paletteuse", "new=1:dither=none"), graph.add("buffersink")
    source.link_to(both)
    both.link_to(palette, 0, 0)
    both.link_to(coloured, 1, 0)
    palette.link_to(coloured, 0, 1)
    coloured.link_to(sink)
    graph.configure()
    return graph
