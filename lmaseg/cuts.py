"""Detects where a video cuts to another shot, without looking ahead."""

import numpy as np


class CutDetector:
    """Detects whether a frame opens a new shot, from that frame and the one before it.

    A frame that is merely dark, unsharp or covered in part is none: its labels need the memory most.
    """

    GRID = 24  # thumbnail side: coarse enough that driving hardly changes it
    THRESHOLD = 0.17  # measured: neighbours stay under 0.08, of a fire under 0.16, dark or covered frames under 0.14
    BRIGHTEST = 10.0  # times as bright as another frame of its shot

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """True when (H, W, 3) uint8 RGB shows another scene than the frame before it; False for the first frame."""
        last, self._last = self._last, _thumbnail(frame, self.GRID)
        return last is not None and self.distance(last, self._last) > self.THRESHOLD

    @classmethod
    def distance(cls, a: np.ndarray, b: np.ndarray) -> float:
        """From 0, the same: the median of how far the cells of two thumbnails differ, as they are or once the darker is
        as bright as the other."""
        dark, bright = sorted((a, b), key=np.mean)
        gain = min(cls.BRIGHTEST, (dark * bright).sum() / max(1.0, (dark * dark).sum()))
        return float(min(np.median(np.abs(bright - scale * dark).mean(2)) for scale in (1.0, gain)) / 128)


def _thumbnail(frame: np.ndarray, grid: int) -> np.ndarray:
    """(grid, grid, 3) float32 means over blocks, sampled sparsely so that large frames cost no more than small ones."""
    rows = np.linspace(0, frame.shape[0] - 1, grid * 4).astype(int)
    columns = np.linspace(0, frame.shape[1] - 1, grid * 4).astype(int)
    samples = frame[rows][:, columns].astype(np.float32)
    return samples.reshape(grid, 4, grid, 4, 3).mean((1, 3))
