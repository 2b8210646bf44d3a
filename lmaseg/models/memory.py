"""The fixed-length memory of past keys and values, owned by the code that streams frames."""

from typing import NamedTuple

import torch
from torch import Tensor


class Past(NamedTuple):
    """The past of some successive frames: T frames each, oldest first; None where nothing came before."""

    frames: int
    keys: Tensor | None  # (frames, T, C, h, w)
    values: Tensor | None  # (frames, T, D, h, w)


class FeatureMemory:
    """The last `frames` keys and values, preallocated, read oldest first.

    Local attention does not depend on the order of the memory's frames, but its rounding does. Always the same order
    makes a piece of a video, warmed up on the frames before it, give the labels of the whole bit for bit.

    Args:
        frames: past frames to hold.
        room: slots for newer frames behind them. New frames are written one after the other; when they reach the end,
            the last `frames` move to the front.

    Raises:
        ValueError: fewer than no frames, or no room.
    """

    def __init__(self, frames: int, room: int = 4) -> None:
        if frames < 0 or room < 1:
            raise ValueError(f"a memory holds 0 frames or more and has room for 1 or more, not {frames} and {room}")
        self.frames = frames
        self.room = room
        self._keys = self._values = torch.empty(0)  # (B, slots, ., h, w) once a frame has been seen
        self._end = 0  # the slot after the newest frame
        self._held = 0

    def __len__(self) -> int:
        return self._held

    @property
    def storage(self) -> tuple[Tensor, Tensor]:
        """The tensors that hold keys and values; they are replaced when their shape, dtype or device changes."""
        return self._keys, self._values

    @property
    def settled(self) -> bool:
        """Whether it is full up to its last slot: adding as many frames as it has room for then leaves it the same."""
        return self.frames == 0 or (self._held == self.frames and self._end == self._keys.shape[1])

    def push(self, key: Tensor, value: Tensor) -> None:
        """Remember a frame's key (B, C, h, w) and value (B, D, h, w), and forget the oldest one's.

        A change of shape, dtype or device starts an empty memory: past features of another size are no guide.
        """
        if self.frames:
            self._write(key.unsqueeze(1), value.unsqueeze(1))

    def read(self) -> tuple[Tensor | None, Tensor | None]:
        """Keys (B, T, C, h, w) and values (B, T, D, h, w) held now, as views, oldest first; None while empty."""
        if self._held == 0:
            return None, None
        held = slice(self._end - self._held, self._end)
        return self._keys[:, held], self._values[:, held]

    def follow(self, keys: Tensor, values: Tensor) -> list[Past]:
        """Remember N successive frames of one video, and return the past of each of them.

        Args:
            keys, values: (N, C, h, w) and (N, D, h, w), N up to `room`; changes of shape as in `push`.

        Returns:
            Groups of successive frames that have equally many past frames; their tensors are views.
        """
        if not self.frames:
            return [Past(len(keys), None, None)]
        held = self._write(keys.unsqueeze(0), values.unsqueeze(0))
        groups = []
        first = self._end - len(keys)  # the slot of the first new frame
        short = min(len(keys), self.frames - held)
        for i in range(short):
            past = slice(first - held, first + i)
            groups.append(Past(1, self._keys[:, past], self._values[:, past]) if held + i else Past(1, None, None))
        if short < len(keys):
            past = slice(first + short - self.frames, self._end - 1)
            windows = (line[0, past].unfold(0, self.frames, 1).movedim(-1, 1) for line in (self._keys, self._values))
            groups.append(Past(len(keys) - short, *windows))
        return groups

    def clear(self) -> None:
        """Forget everything, as at a new shot; the storage is kept."""
        self._held = self._end = 0

    def _write(self, keys: Tensor, values: Tensor) -> int:
        """Append (B, N, ., h, w); returns how many frames there were before."""
        if not (_fits(self._keys, keys) and _fits(self._values, values)):
            self._keys, self._values = (_storage(entry, self.frames + self.room) for entry in (keys, values))
            self.clear()
        held, new = self._held, keys.shape[1]
        if self._end + new > self._keys.shape[1]:
            for line in (self._keys, self._values):
                line[:, :held] = line[:, self._end - held : self._end].clone()
            self._end = held
        self._keys[:, self._end : self._end + new] = keys
        self._values[:, self._end : self._end + new] = values
        self._end += new
        self._held = min(held + new, self.frames)
        return held


class OwnPast(FeatureMemory):
    """A control: each frame's own key and value stand in the place of every past one.

    What a network still gains with it is the work of its layers, not of the past.
    """

    def follow(self, keys: Tensor, values: Tensor) -> list[Past]:
        groups, done = [], 0
        for frames, past, _ in super().follow(keys, values):
            own = [line[done : done + frames, None] for line in (keys, values)]
            done += frames
            if past is None:
                groups.append(Past(frames, None, None))
            else:
                groups.append(Past(frames, *(line.expand(-1, past.shape[1], -1, -1, -1) for line in own)))
        return groups


def _storage(entry: Tensor, slots: int) -> Tensor:
    """(B, slots, C, h, w), channels last in memory, as the attention kernels like to read them."""
    batch, _, channels, height, width = entry.shape
    return entry.new_empty(batch, slots, height, width, channels).permute(0, 1, 4, 2, 3)


def _fits(line: Tensor, entry: Tensor) -> bool:
    return (
        line.ndim == entry.ndim
        and line[:, :1].shape == entry[:, :1].shape
        and line.dtype == entry.dtype
        and line.device == entry.device
    )
