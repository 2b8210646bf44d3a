"""Tone mapping: high dynamic range (PQ, HLG) to the standard range of screens and networks.

Light is computed as ITU-R BT.2100 says, for a screen of 1000 cd/m2, on which BT.2408 puts white paper at 203; its
brightest channel is then rolled off, which keeps hues, and the colours are taken from BT.2020 to BT.709.
"""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter

TRANSFERS = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
PEAK, PAPER = 1000.0, 203.0  # cd/m2
KNEE = 0.5  # of the light of paper: below it nothing changes
GAMMA = 2.4  # of a standard screen, BT.1886
FORMAT = "rgb48le"
LEVEL = 8  # the table holds LEVEL ** 2 steps of each channel
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020 primaries


def is_hdr(frame: VideoFrame) -> bool:
    """Whether a frame's tags say PQ or HLG."""
    return frame.color_trc in TRANSFERS


class ToneMapper:
    """Frames of a PQ or HLG video as 48-bit RGB of standard range, by a table that FFmpeg's haldclut interpolates.

    Args:
        like: a frame whose tags tell the transfer function and the primaries.
        width, height: of the result.
    """

    def __init__(self, like: VideoFrame, width: int, height: int) -> None:
        self._reformatter = VideoReformatter()
        self._size = width, height
        self._frames = 0
        self._graph = Graph()
        self._pictures, table = self._buffer(width, height), self._buffer(LEVEL**3, LEVEL**3)
        clut = self._graph.add("haldclut")
        self._pictures.link_to(clut, 0, 0)
        table.link_to(clut, 0, 1)
        clut.link_to(self._graph.add("buffersink"))
        self._graph.configure()
        values = _table(TRANSFERS[like.color_trc], like.color_primaries != ColorPrimaries.BT709)
        table.push(_at(0, VideoFrame.from_ndarray(values, FORMAT)))
        table.push(None)  # it stays as it is

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """A frame of this mapper's size in format rgb48le."""
        self._frames += 1
        self._pictures.push(_at(self._frames, self._reformatter.reformat(frame, *self._size, FORMAT)))
        return self._graph.vpull()

    def _buffer(self, width: int, height: int) -> FilterContext:
        return self._graph.add_buffer(width=width, height=height, format=VideoFormat(FORMAT), time_base=Fraction(1))


def _at(pts: int, frame: VideoFrame) -> VideoFrame:
    frame.pts, frame.time_base = pts, Fraction(1)
    return frame


def tone_mapped(signal: np.ndarray, transfer: str, wide: bool = True) -> np.ndarray:
    """(..., 3) PQ or HLG signals 0 to 1 -> (..., 3) BT.709 signals 0 to 1; `wide`: the primaries are BT.2020's."""
    light = (_pq_light(signal) if transfer == "PQ" else _hlg_light(signal)) / PAPER
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    light = light * (_rolled_off(brightest) / brightest)
    if wide:
        light = light @ TO_BT709.T
    return light.clip(0, 1) ** (1 / GAMMA)


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """cd/m2; SMPTE ST 2084."""
    power = signal ** (32 / 2523)
    return 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """cd/m2 on a screen of `PEAK`; ARIB STD-B67 and the system gamma 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return PEAK * (scene @ LUMINANCE)[..., None] ** 0.2 * scene


def _rolled_off(light: np.ndarray) -> np.ndarray:
    """1 for `PEAK`, unchanged up to the knee and smooth there: the curve of Reinhard et al. 2002 (eq. 4) above it."""
    beyond = np.maximum(light - KNEE, 0) / (1 - KNEE)
    peak = (PEAK / PAPER - KNEE) / (1 - KNEE)
    return np.minimum(light, KNEE) + (1 - KNEE) * beyond * (1 + beyond / peak**2) / (1 + beyond)


def _table(transfer: str, wide: bool) -> np.ndarray:
    """(LEVEL ** 3, LEVEL ** 3, 3) uint16, red running fastest, then green, then blue."""
    steps = np.linspace(0, 1, LEVEL**2)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    mapped = tone_mapped(np.stack([red, green, blue], axis=-1), transfer, wide)
    return np.round(65535 * mapped).astype(np.uint16).reshape(LEVEL**3, LEVEL**3, 3)
