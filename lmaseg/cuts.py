"""Detects where a video cuts to another shot, without looking ahead."""

import numpy as np


class CutDetector:
    """Detects whether a frame opens a new shot, from that frame and the one before it."""

    GRID = 24  # thumbnail side: coarse enough that driving hardly changes it
    THRESHOLD = 0.2  # measured: neighbouring frames of driving stay under 0.1, of a fire under 0.16; cuts are over 0.25

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """True when (H, W, 3) uint8 RGB shows another scene than the frame before it; False for the first frame."""
        thumbnail = _thumbnail(frame, self.GRID)
        current = thumbnail, _histogram(thumbnail)
        last, self._last = self._last, current
        return last is not None and self.distance(last, current) > self.THRESHOLD

    @staticmethod
    def distance(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
        """0 (the same) .. 1: the geometric mean of how far layout and colours of two thumbnails differ."""
        layout = np.abs(a[0] - b[0]).mean() / 128
        colours = np.abs(a[1] - b[1]).sum() / 2
        return float(np.sqrt(layout * colours))


def _thumbnail(frame: np.ndarray, grid: int) -> np.ndarray:
    """(grid, grid, 3) float32 means over blocks, sampled sparsely so that large frames cost no more than small ones."""
    rows = np.linspace(0, frame.shape[0] - 1, grid * 4).astype(int)
    columns = np.linspace(0, frame.shape[1] - 1, grid * 4).astype(int)
    samples = frame[rows][:, columns].astype(np.float32)
    return samples.reshape(grid, 4, grid, 4, 3).mean((1, 3))


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    """Share of cells per colour, 4 levels a channel: (64,) float32 summing to 1."""
    levels = (thumbnail / 64).astype(int).clip(0, 3)
    codes = levels[..., 0] * 16 + levels[..., 1] * 4 + levels[..., 2]
    return np.bincount(codes.ravel(), minlength=64).astype(np.float32) / codes.size
