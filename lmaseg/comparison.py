"""Memory off and on side by side: the same frames labelled both ways, with the pixels that flicker marked.

No ground truth is needed. A pixel *flickers* in a frame if its label differs from that in the frame before although the
picture there hardly changes: no channel of its RGB by more than `still` levels of 255. Pixels whose picture changes are
left out, as their labels may have a reason to; so the share of flickering pixels is that among the still ones. A steady
label may be wrong all the same, and noise above `still` hides flicker: compare shares of one video only.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops

from lmaseg.decision import ALONE, LABELS, Decided
from lmaseg.labels import LabelSet
from lmaseg.models import Encoded
from lmaseg.models.halves import Features
from lmaseg.render import captioned, overlay
from lmaseg.sinks import Labelled, Sink
from lmaseg.stream import Segmenter
from lmaseg.video import Frame, VideoWriter

STILL = 8  # levels of 255: above what a decoder's noise does to a still picture, below what an edge passing by does
MARK = (255, 255, 255)


class ComparingSegmenter(Segmenter):
    """A `Segmenter` that also computes the labels of each frame without its past; frames are encoded once."""

    def _read(self, group: Encoded, features: Features, working: Sequence[int], size: tuple[int, int]) -> Decided:
        alone = super()._read(group, group.features, working, size)
        return {**super()._read(group, features, working, size), ALONE: alone[LABELS]}


def still_pixels(before: np.ndarray, now: np.ndarray, still: int = STILL) -> np.ndarray:
    """(H, W) bool: where two pictures (H, W, 3) uint8 RGB differ by at most `still` levels in every channel."""
    change = ImageChops.difference(Image.fromarray(before), Image.fromarray(now))
    red, green, blue = change.split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue)) <= still


class ComparisonVideo(Sink):
    """A video with memory off at the left and on at the right; for frames labelled by a `ComparingSegmenter`.

    Args:
        writer: of frames twice as wide as the source's.
        label_set, opacity: the classes' colours, and how they cover the picture.
        still: levels of 255 by which a still pixel may change from one frame to the next.
    """

    CAPTIONS = "memory off", "memory on"

    def __init__(self, writer: VideoWriter, label_set: LabelSet, *, opacity: float = 0.5, still: int = STILL) -> None:
        super().__init__(writer)
        self._writer, self._label_set = writer, label_set
        self._opacity, self._still = opacity, still
        self._before: Labelled | None = None
        self.compared = 0
        self.flickering = [0, 0]

    @property
    def shares(self) -> tuple[float, float]:
        """Flickering pixels among the still ones, memory off and on, from 0 to 1."""
        off, on = (count / max(1, self.compared) for count in self.flickering)
        return off, on

    def write(self, seen: Labelled) -> None:
        still = self._still_pixels(seen.frame)
        before, self._before = self._before or seen, seen
        compared = int(still.sum())
        self.compared += compared
        halves = []
        for side, (now, then) in enumerate(((seen.alone, before.alone), (seen.labels, before.labels))):
            assert now is not None
            mark = still & (now != then)
            flickering = int(mark.sum())
            self.flickering[side] += flickering
            caption = f"{self.CAPTIONS[side]}: {flickering / max(1, compared):.2%} flicker"
            shown = np.array(overlay(seen.frame.image, now, self._label_set, self._opacity))
            shown[mark] = MARK
            halves.append(captioned(shown, caption))
        self._writer.write(np.concatenate(halves, axis=1), seen.frame.pts)

    def _still_pixels(self, frame: Frame) -> np.ndarray:
        """(H, W) bool: pixels that are as in the frame before; none after a gap or in the first frame."""
        if self._before is None or frame.after_gap:
            return np.zeros(frame.image.shape[:2], bool)
        return still_pixels(self._before.frame.image, frame.image, self._still)
