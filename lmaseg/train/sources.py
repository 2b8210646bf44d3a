"""What is trained on: frames from files or drawn on the fly, and their mixture."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from lmaseg.datasets.augment import IGNORED
from lmaseg.datasets.clip import Picture
from lmaseg.datasets.street_pool import StreetClips, StreetPainters
from lmaseg.errors import DatasetError
from lmaseg.labels import CAMVID, LabelSet
from lmaseg.train.store import FrameStore, class_table


class ClipSource:
    """Frames that stay as they are."""

    def __init__(self, name: str, store: FrameStore) -> None:
        self.name, self.store = name, store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def advance(self, step: int) -> None:
        """Make ready for a step of training."""


class StreetSource(ClipSource):
    """A bounded pool of street clips; new ones keep taking the place of the oldest.

    Without workers a clip is replaced every `refresh` steps and the pool is a function of the step alone, so that a
    resumed run sees what an uninterrupted one would have seen. With workers clips are replaced as they are drawn.

    Args:
        series: the clips; of each, the frames from the `past`-th on are trained on.
        pool: clips held at a time.
        labels: the network's classes.
        workers: processes that draw; 0 draws in this one, when a clip's turn comes.
    """

    def __init__(
        self,
        series: StreetClips,
        pool: int,
        *,
        past: int,
        labels: LabelSet,
        device: torch.device,
        workers: int = 0,
        refresh: int = 10,
    ) -> None:
        super().__init__("street", _empty_store(series, pool, past, device))
        self._series, self._pool, self._workers, self._refresh = series, pool, workers, refresh
        self._table = class_table(CAMVID, labels)
        self._held = [-1] * pool  # number of the clip in each slot; below 0: none yet
        self._painters: StreetPainters | None = None
        self._taken = 0  # from the painters, after the first few

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._painters:
            self._painters.__exit__(kind, error, traceback)
            self._painters = None

    def advance(self, step: int) -> None:
        if not self._workers:
            self._draw_due(step)
        elif self._painters is None:
            # A resumed run goes on with streets that it has not seen: fewer are drawn than steps are taken.
            self._painters = StreetPainters(self._series, self._workers, first=step)
            self._fill_with_few(self._painters)
        else:
            self._take_what_is_ready(self._painters)

    def _draw_due(self, step: int) -> None:
        newest = self._pool + step // self._refresh  # clips 0 to newest - 1 have had their turn
        for number in range(newest - self._pool, newest):
            if self._held[number % self._pool] != number:
                self._put(number, *self._series.draw(number))

    def _fill_with_few(self, painters: StreetPainters) -> None:
        """Repeat the first few clips over the whole pool: nobody waits until all of it is drawn."""
        few = [painters.take() for _ in range(min(self._pool, 2 * self._workers))]
        for slot in range(self._pool):
            self._put(slot, *few[slot % len(few)])

    def _take_what_is_ready(self, painters: StreetPainters) -> None:
        while clip := painters.take_if_ready():
            self._put(self._taken, *clip)
            self._taken += 1

    def _put(self, number: int, images: Picture, labels: Picture) -> None:
        slot, device = number % self._pool, self.store.images.device
        where = slice(slot * len(images), (slot + 1) * len(images))
        self.store.images[where] = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
        self.store.labels[where] = torch.from_numpy(self._table[labels]).to(device)
        self._held[slot] = number


def _empty_store(series: StreetClips, pool: int, past: int, device: torch.device) -> FrameStore:
    count, numbers = pool * series.frames, torch.arange(pool * series.frames)
    before = numbers % series.frames
    return FrameStore(
        images=torch.zeros(count, 3, *series.size, dtype=torch.uint8, device=device),
        labels=torch.full((count, *series.size), IGNORED, dtype=torch.uint8, device=device),
        ends=numbers[before >= past],
        reach=before[before >= past],
    )


class Mixture:
    """Sources and the share of the clips each gives.

    Args:
        weights: one per source, in any unit; None means equal shares.

    Raises:
        DatasetError: no source, frames of different sizes, or weights that are not positive.
    """

    def __init__(self, sources: Sequence[ClipSource], weights: Sequence[float] | None = None) -> None:
        weights = weights or [1.0] * len(sources)
        if not sources or len(weights) != len(sources) or min(weights) <= 0:
            raise DatasetError("training takes at least one data set, and a positive weight for each")
        if len({source.store.images.shape[-2:] for source in sources}) > 1:
            raise DatasetError("the sources' frames differ in size: load all of them at one size")
        self.sources = list(sources)
        self.shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for source in self.sources:
            self._open.enter_context(source)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        return sum(len(source.store) for source in self.sources)

    def advance(self, step: int) -> None:
        """Make all sources ready for a step."""
        for source in self.sources:
            source.advance(step)

    def frequencies(self, classes: int) -> Tensor:
        """(classes,) shares of the pixels a run will see."""
        each = torch.stack([source.store.frequencies(classes) for source in self.sources])
        return (self.shares[:, None] * each).sum(0).float()

    def describe(self) -> str:
        """The sources with their numbers of frames and shares, in one line."""
        parts = zip(self.sources, self.shares.tolist(), strict=True)
        return ", ".join(f"{source.name} {len(source.store)} frames ({share:.0%})" for source, share in parts)
