"""What is trained on: frames in memory, from one or several data sets."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lmaseg.errors import DatasetError
from lmaseg.train.store import FrameStore


class Mixture:
    """Data sets by name, and the share of the clips that each gives: `weights` in any unit, 1 where none is given.

    Raises:
        DatasetError: no data set, or frames of different sizes.
        ValueError: a weight that is not positive, or for a name that is none.
    """

    def __init__(self, stores: Mapping[str, FrameStore], weights: Mapping[str, float] | None = None) -> None:
        weights = weights or {}
        if not stores:
            raise DatasetError("there is nothing to train on: give a data set, or a folder of pictures and label maps")
        for name, weight in weights.items():
            if name not in stores or weight <= 0:
                raise ValueError(f"shares are positive and of {', '.join(stores)}, not {weight:g} of {name}")
        if len({store.images.shape[-2:] for store in stores.values()}) > 1:
            raise DatasetError("the data sets' frames differ in size: load all of them at one size")
        self.names, self.stores = tuple(stores), tuple(stores.values())
        shares = torch.tensor([weights.get(name, 1.0) for name in stores], dtype=torch.float64)
        self.shares = shares / shares.sum()

    def __len__(self) -> int:
        """Labelled frames."""
        return sum(map(len, self.stores))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, in pixels."""
        height, width = self.stores[0].images.shape[-2:]
        return height, width

    def frequencies(self, classes: int) -> Tensor:
        """(classes,) shares of the pixels a run will see."""
        each = torch.stack([store.frequencies(classes) for store in self.stores])
        return (self.shares[:, None] * each).sum(0).float()

    def describe(self) -> str:
        """The data sets with their numbers of frames and shares, in one line."""
        parts = zip(self.names, self.stores, self.shares.tolist(), strict=True)
        return ", ".join(f"{name} {len(store)} frames ({share:.0%})" for name, store, share in parts)
