"""The fixed-length memory of past keys and values that whoever streams frames owns."""

from torch import Tensor


class FeatureMemory:
    """The last `frames` keys and values, preallocated, read oldest first.

    Local attention does not depend on the order of the memory's frames, but its rounding does. Always the same order
    makes a piece of a video, warmed up on the frames before it, give the labels of the whole bit for bit.
    """

    def __init__(self, frames: int) -> None:
        if frames < 0:
            raise ValueError(f"a memory holds 0 frames or more, not {frames}")
        self.frames = frames
        # Rings written twice, `frames` slots apart, so that the last frames always lie side by side in order.
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._seen = 0

    def __len__(self) -> int:
        return min(self._seen, self.frames)

    def push(self, key: Tensor, value: Tensor) -> None:
        """Remember a frame's key (B, C, h, w) and value (B, D, h, w) in place of the oldest one's.

        A change of shape, dtype or device starts an empty memory: past features of another size are no guide.
        """
        if self.frames == 0:
            return
        if self._keys is None or self._values is None or not (_fits(self._keys, key) and _fits(self._values, value)):
            self._keys = key.new_empty(key.shape[0], 2 * self.frames, *key.shape[1:])
            self._values = value.new_empty(value.shape[0], 2 * self.frames, *value.shape[1:])
            self._seen = 0
        for slot in (self._seen % self.frames, self._seen % self.frames + self.frames):
            self._keys[:, slot] = key
            self._values[:, slot] = value
        self._seen += 1

    def read(self) -> tuple[Tensor | None, Tensor | None]:
        """Keys (B, T, C, h, w) and values (B, T, D, h, w) held now, as views, oldest first; None while empty."""
        held = len(self)
        if held == 0 or self._keys is None or self._values is None:
            return None, None
        end = (self._seen - 1) % self.frames + self.frames + 1
        return self._keys[:, end - held : end], self._values[:, end - held : end]

    def clear(self) -> None:
        """Forget everything, as at a new shot; the storage is kept."""
        self._seen = 0


def _fits(ring: Tensor, entry: Tensor) -> bool:
    return ring[:, 0].shape == entry.shape and ring.dtype == entry.dtype and ring.device == entry.device
