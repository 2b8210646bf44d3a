"""What is trained on: frames in memory, from one or several data sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaseg.errors import DatasetError
from lmaseg.train.store import FrameStore


@dataclass(frozen=True)
class ClipSource:
    """The frames of one data set, under the name by which its share is given."""

    name: str
    store: FrameStore


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

    def __len__(self) -> int:
        return sum(len(source.store) for source in self.sources)

    def frequencies(self, classes: int) -> Tensor:
        """(classes,) shares of the pixels a run will see."""
        each = torch.stack([source.store.frequencies(classes) for source in self.sources])
        return (self.shares[:, None] * each).sum(0).float()

    def describe(self) -> str:
        """The sources with their numbers of frames and shares, in one line."""
        parts = zip(self.sources, self.shares.tolist(), strict=True)
        return ", ".join(f"{source.name} {len(source.store)} frames ({share:.0%})" for source, share in parts)
