"""The fixed-length memory of past keys and values, owned by the code that streams frames."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple

import torch
from torch import Tensor

from lmaseg.models.halves import Features
from lmaseg.models.lma import LocalMemoryNet
from lmaseg.models.projections import Encoded

SECOND = 16
"""Frames that count as a second where frames have no time."""
PERIOD = 4
"""Seconds for which an average of a `RecurrentMemory` speaks. The one after it begins in the last of them."""


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
    def reach(self) -> int:
        """Frames before one that its label may draw on."""
        return self.frames

    since: Callable[[Fraction], Fraction] | None = None
    """From a frame's time to that (seconds) from which on its label draws on frames, where that is a matter of time."""

    def settled(self, seconds: Sequence[int]) -> int:
        """How many memories work on frames of these seconds, if that leaves them the same but for what they hold; else
        0. This one is full up to its last slot then, and there are as many frames as it has room for."""
        return int(self.frames == 0 or (self._held == self.frames and self._end == self._keys.shape[1]))

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

    def recall(
        self, net: LocalMemoryNet, encoded: Encoded, seconds: Sequence[int]
    ) -> Iterator[tuple[Encoded, Features]]:
        """Remember successive frames of one video, in groups, each with what the decoder is to read of it.

        Args:
            encoded: N frames, as in `follow`.
            seconds: of no matter here, see `RecurrentMemory`.
        """
        done = 0
        for frames, keys, values in self.follow(encoded.key, encoded.value):
            group = encoded.part(done, done + frames)
            done += frames
            yield group, net.recall(group, keys, values)[0]

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
                for slot in range(held):  # one after the other, as old and new places may overlap
                    line[:, slot] = line[:, self._end - held + slot]
            self._end = held
        self._keys[:, self._end : self._end + new] = keys
        self._values[:, self._end : self._end + new] = values
        self._end += new
        self._held = min(held + new, self.frames)
        return held


class RecurrentMemory:
    """For networks whose values are what the memory made of the features: a label draws on all frames since it began.

    So that a piece of a video still gets the labels of the whole, an average must begin somewhere. In the last second
    of each period a second memory begins beside the one that speaks, and takes over when the next period begins. So a
    label draws on the frames of its own period and of the second before that, and on no others.

    Args:
        frames: past frames that each holds, at least 1.
    """

    reach = (PERIOD + 1) * SECOND

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._speaking, self._growing = _Recent(frames), _Recent(frames)
        self._second: int | None = None

    @property
    def storage(self) -> tuple[Tensor, ...]:
        """As in `FeatureMemory`."""
        return (*self._speaking.storage, *self._growing.storage)

    @staticmethod
    def since(time: Fraction) -> Fraction:
        """As in `FeatureMemory`."""
        return Fraction(floor(time / PERIOD) * PERIOD - 1)

    def settled(self, seconds: Sequence[int]) -> int:
        """As in `FeatureMemory`: those that work on all of these frames are full, and none begins or takes over."""
        if self._second is None or {second // PERIOD for second in seconds} != {self._second // PERIOD}:
            return 0
        growing = [_is_last(second) for second in seconds]
        working = [self._speaking, self._growing] if all(growing) else [self._speaking]
        alike = any(growing) == all(growing) and all(len(memory) == self.frames for memory in working)
        return len(working) if alike else 0

    def recall(
        self, net: LocalMemoryNet, encoded: Encoded, seconds: Sequence[int]
    ) -> Iterator[tuple[Encoded, Features]]:
        """As in `FeatureMemory`, one frame after the other, as each value depends on those before.

        Args:
            seconds: the whole second that each frame lies in.
        """
        for index, second in enumerate(seconds):
            frame = encoded.part(index, index + 1)
            self._enter(second)
            features = self._speaking.recall(net, frame)
            if _is_last(second):
                self._growing.recall(net, frame)
            yield frame, features

    def clear(self) -> None:
        """As in `FeatureMemory`."""
        self._speaking.clear()
        self._growing.clear()

    def _enter(self, second: int) -> None:
        """At the first frame of a period the growing memory takes over; it is empty if the second before had none."""
        before, self._second = self._second, second
        if before is None or before // PERIOD == second // PERIOD:
            return
        if before != second - 1:
            self._growing.clear()
        self._speaking.take(self._growing)
        self._growing.clear()


def _is_last(second: int) -> bool:
    """Whether it is the one of its period in which the next average begins."""
    return second % PERIOD == PERIOD - 1


def memory_for(net: LocalMemoryNet, frames: int, room: int = 4) -> FeatureMemory | RecurrentMemory:
    """The memory that a network's values need, of so many past frames; for `room` see `FeatureMemory`."""
    return RecurrentMemory(frames) if frames and net.recurrent else FeatureMemory(frames, room)


class _Recent:
    """The last `frames` keys and values, oldest first, always in the same places."""

    def __init__(self, frames: int) -> None:
        # Keys and values, (1, frames, ., h, w) once a frame has been seen.
        self.storage: tuple[Tensor, ...] = (torch.empty(0), torch.empty(0))
        self._frames, self._held = frames, 0

    def __len__(self) -> int:
        return self._held

    def recall(self, net: LocalMemoryNet, frame: Encoded) -> Features:
        """What the decoder is to read of a frame, which is remembered."""
        if not all(map(_fits, self.storage, (frame.key[:, None], frame.value[:, None]))):
            self.storage = tuple(_storage(line[:, None], self._frames) for line in (frame.key, frame.value))
            self._held = 0
        keys, values = (line[:, : self._held] for line in self.storage)
        features, value = net.recall(frame, keys, values)
        full = self._held == self._frames
        self._held += not full
        for line, entry in zip(self.storage, (frame.key, value), strict=True):
            for slot in range(self._frames - 1) if full else ():
                line[:, slot] = line[:, slot + 1]
            line[:, self._held - 1] = entry
        return features

    def take(self, other: "_Recent") -> None:
        """Hold what another one holds, in the same places as before."""
        if other._held:
            if not all(map(_fits, self.storage, other.storage)):
                self.storage = tuple(map(torch.empty_like, other.storage))
            for line, held in zip(self.storage, other.storage, strict=True):
                line.copy_(held)
        self._held = other._held

    def clear(self) -> None:
        """Forget everything; the storage is kept."""
        self._held = 0


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
