"""The fixed-length memory of past keys and values that whoever streams frames owns."""

from torch import Tensor


class FeatureMemory:
    """A preallocated ring of the last `frames` keys and values.

    The ring is never rolled: local attention does not depend on the order of the memory's frames.
    """

    def __init__(self, frames: int) -> None:
        if frames < 0:
            raise ValueError(f"a memory holds 0 frames or more, not {frames}")
        self.frames = frames
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
        if not (_fits(self._keys, key) and _fits(self._values, value)):
            self._keys = key.new_empty(key.shape[0], self.frames, *key.shape[1:])
            self._values = value.new_empty(value.shape[0], self.frames, *value.shape[1:])
            self._seen = 0
        assert self._keys is not None
        assert self._values is not None
        slot = self._seen % self.frames
        self._keys[:, slot] = key
        self._values[:, slot] = value
        self._seen += 1

    def read(self) -> tuple[Tensor | None, Tensor | None]:
        """Keys (B, T, C, h, w) and values (B, T, D, h, w) held now, as views in any order; None while empty."""
        held = len(self)
        if held == 0 or self._keys is None or self._values is None:
            return None, None
        return self._keys[:, :held], self._values[:, :held]

    def clear(self) -> None:
        """Forget everything, as at a new shot; the storage is kept."""
        self._seen = 0


def _fits(ring: Tensor | None, entry: Tensor) -> bool:
    return (
        ring is not None
        and ring[:, 0].shape == entry.shape
        and ring.dtype == entry.dtype
        and ring.device == entry.device
    )
