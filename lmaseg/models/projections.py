"""Projections: from a frame's features to what the memory keeps of it and asks with (LMANet III-A)."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.folding import merge_convolutions


class Encoded(NamedTuple):
    """What the encoder and the projections make of one frame.

    h and w are H and W over the stride, rounded up; of an encoder with a remainder, one more where they divide evenly.
    """

    features: Tensor  # (B, F, h, w)
    query: Tensor  # (B, C, h, w): asks the memory
    query_value: Tensor  # (B, D, h, w), or the features: goes into the fusion beside the memory's answer
    key: Tensor  # (B, C, h, w): what later frames compare their queries with
    value: Tensor  # (B, D, h, w): what later frames receive, unless the network is `recurrent`

    def part(self, start: int, end: int) -> "Encoded":
        """The same of some frames of the batch."""
        return Encoded(*(part[start:end] for part in self))


class KeyProjections(nn.Module):
    """Keys of a frame in its two roles, being remembered and asking: 3x3 convolutions of the features.

    Values are the features themselves.
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.memory_key = nn.Conv2d(channels, key_channels, 3, padding=1)
        self.query_key = copy.deepcopy(self.memory_key)  # alike places match from the first step of training on

    def forward(self, features: Tensor) -> Encoded:
        return Encoded(features, self.query_key(features), features, self.memory_key(features), features)


class Projections(KeyProjections):
    """Keys and values of a frame in both roles: what the authors' fusions take."""

    def __init__(self, channels: int, key_channels: int, value_channels: int) -> None:
        super().__init__(channels, key_channels)
        self.memory_value = nn.Conv2d(channels, value_channels, 3, padding=1)
        self.query_value = nn.Conv2d(channels, value_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Encoded:
        query, key = self.query_key(features), self.memory_key(features)
        return Encoded(features, query, self.query_value(features), key, self.memory_value(features))

    def folded(self) -> nn.Module:
        """The same as one convolution."""
        return _MergedProjections([self.query_key, self.query_value, self.memory_key, self.memory_value])


class _MergedProjections(nn.Module):
    """`Projections` as one convolution, for inference."""

    def __init__(self, parts: list[nn.Conv2d]) -> None:
        super().__init__()
        self.conv = merge_convolutions(parts)
        self._channels = [part.out_channels for part in parts]

    def forward(self, features: Tensor) -> Encoded:
        return Encoded(features, *self.conv(features).split(self._channels, dim=1))


class LikenessProjections(nn.Module):
    """Keys that say what a cell looks like; values are the features themselves.

    A key is a 1x1 projection of the features, scaled to length 1, so that the product of two keys is their cosine. A
    query is the key times a learned factor: the larger it is, the fewer neighbours share in what is read. Fresh
    projections turn the features at random, always in the same way; `lmaseg.models.start_keys` knows better.
    """

    SHARPNESS = 80.0  # measured on two trained networks: below it thin things wash out, above it less is steadied

    def __init__(self, channels: int, key_channels: int, value_channels: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, key_channels, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(self.SHARPNESS)))
        with torch.no_grad():
            nn.init.orthogonal_(self.key.weight, generator=torch.Generator().manual_seed(0))
            nn.init.zeros_(self.key.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Encoded:
        key = F.normalize(self.key(features), dim=1, eps=1e-6)  # larger than the smallest number of half precision
        return Encoded(features, key * self.log_sharpness.exp(), features, key, features)


class NoProjections(nn.Module):
    """In place of projections where there is no memory: keys and values have no channels."""

    def forward(self, features: Tensor) -> Encoded:
        nothing = features[:, :0]
        return Encoded(features, nothing, nothing, nothing, nothing)
