"""Which clips a step takes: every data set in its own shuffled rounds, in the shares of the mixture."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from lmaseg.train.mixture import Mixture


class ClipBatch(NamedTuple):
    """Clips as they are kept, before augmentation."""

    images: Tensor
    """(B, T, 3, H, W) uint8 RGB in the order of time."""
    labels: Tensor
    """(B, H, W) uint8 class ids of the last frames, 255 where there is none."""
    still: Tensor
    """(B,) bool on the CPU: clips that repeat one frame."""


class Sampler:
    """Draws the batches of one process out of `world`; all processes must draw every step.

    Args:
        batch: clips per process.
        rank, world: this process and how many there are.
    """

    def __init__(self, mixture: Mixture, *, batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self._mixture, self._batch, self._seed, self._rank, self._world = mixture, batch, seed, rank, world
        self._rounds: dict[tuple[int, int], Tensor] = {}
        self.drawn = [0] * len(mixture.stores)
        """Clips drawn from each data set so far, by all processes: all there is to remember."""

    def draw(self, step: int, past: int) -> ClipBatch:
        """The batch of a step, with `past` frames before each labelled one."""
        generator = step_generator(self._seed, step, stream=-1)
        choice = torch.multinomial(
            self._mixture.shares, self._batch * self._world, replacement=True, generator=generator
        )
        own = slice(self._rank * self._batch, (self._rank + 1) * self._batch)
        parts = []
        for number, store in enumerate(self._mixture.stores):
            before = int((choice[: own.start] == number).sum())
            mine = int((choice[own] == number).sum())
            if mine:
                positions = self._positions(number, self.drawn[number] + before, mine)
                indices, still = store.pick(positions, past)
                at = indices.to(store.images.device, non_blocking=True)
                parts.append(ClipBatch(store.images[at], store.labels[at[:, -1]], still))
            self.drawn[number] += int((choice == number).sum())
        return parts[0] if len(parts) == 1 else ClipBatch(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _positions(self, number: int, first: int, count: int) -> Tensor:
        """Where draws first to first + count - 1 of a data set lie among its labelled frames."""
        size = len(self._mixture.stores[number])
        draws = (divmod(draw, size) for draw in range(first, first + count))
        return torch.tensor([int(self._round(number, turn, size)[place]) for turn, place in draws])

    def _round(self, number: int, turn: int, size: int) -> Tensor:
        """The order in which a data set is gone through for the turn-th time."""
        if (number, turn) not in self._rounds:
            self._rounds = {key: order for key, order in self._rounds.items() if key[0] != number or key[1] >= turn - 1}
            generator = step_generator(self._seed, turn, stream=-2 - number)
            self._rounds[number, turn] = torch.randperm(size, generator=generator)
        return self._rounds[number, turn]


def step_seed(seed: int, step: int, stream: int) -> int:
    """A number that depends on all three and is unlike that of any neighbour; streams may be negative."""
    state = np.random.SeedSequence((seed, step, stream + 1000)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def step_generator(seed: int, step: int, stream: int) -> Generator:
    """A generator on the CPU for one purpose (`stream`) in one step."""
    return Generator().manual_seed(step_seed(seed, step, stream))
