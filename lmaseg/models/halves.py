"""The two halves of a network that was not made for a memory, and how the memory fits between them.

A `Carrier` takes the features from the first half to the second, and takes along what else the second needs (skip
connections, sizes): the memory works on the one and leaves the other alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from lmaseg.models.projections import Encoded


@dataclass(frozen=True)
class Carrier:
    """A (B, ., h, w) tensor on its way from the first half to the second, and what goes with it."""

    tensor: Tensor
    rest: Any
    """A tree of tensors, batch first, and of anything else."""

    def __getitem__(self, frames: slice) -> "Carrier":
        """The same for some frames of the batch."""
        batch = len(self.tensor)

        def part(leaf: Any) -> Any:
            return leaf[frames] if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == batch else leaf

        return Carrier(self.tensor[frames], tree_map(part, self.rest))

    def float(self) -> "Carrier":
        """The same with the tensor, not what goes with it, in float32."""
        return Carrier(self.tensor.float(), self.rest)


Features = Tensor | Carrier
"""What an encoder returns and a decoder takes."""


def tensor_of(features: Features) -> Tensor:
    """The (B, ., h, w) tensor of what an encoder returns, an attached network's or another's."""
    return features.tensor if isinstance(features, Carrier) else features


def where(condition: Tensor, features: Features, others: Features) -> Features:
    """`torch.where` for what decoders take, in attached networks and in others."""
    if isinstance(features, Carrier) and isinstance(others, Carrier):
        return Carrier(torch.where(condition, features.tensor, others.tensor), features.rest)
    assert isinstance(features, Tensor)
    assert isinstance(others, Tensor)
    return torch.where(condition, features, others)


class CarryingProjections(nn.Module):
    """Projections of a carrier's tensor; the features and the query's value stay with what goes with them."""

    def __init__(self, projections: nn.Module) -> None:
        super().__init__()
        self.projections = projections

    def forward(self, features: Carrier) -> Encoded:
        encoded: Encoded = self.projections(features.tensor)
        carried: Any = {"features": features, "query_value": Carrier(encoded.query_value, features.rest)}
        return encoded._replace(**carried)


class CarryingFusion(nn.Module):
    """(query value in its carrier, memory value) -> the fused features in that carrier."""

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.fusion = fusion
        self.recurrent = bool(getattr(fusion, "recurrent", False))

    def forward(self, query_value: Carrier, attended: Tensor) -> Carrier:
        return Carrier(self.fusion(query_value.tensor, attended), query_value.rest)


def inner(part: nn.Module) -> nn.Module:
    """The projections or the fusion themselves, without what unpacks a carrier for them."""
    if isinstance(part, CarryingProjections):
        return part.projections
    return part.fusion if isinstance(part, CarryingFusion) else part


class FirstHalf(nn.Module):
    """Base of first halves, (B, 3, H, W) -> Carrier of (B, channels, H/stride, W/stride)."""

    channels: int
    stride: int
    multiple: int
    """The sides of frames must be multiples of this: the stride, or of that if the network is coarser elsewhere."""


class SecondHalf(nn.Module):
    """Base of second halves, Carrier of (B, channels, h, w) -> logits (B, classes, h*stride, w*stride).

    Each side is divided by `logit_stride`, for networks that leave so many pixels to one logit.
    """

    logit_stride = 1

    def __init__(self, first: FirstHalf) -> None:
        super().__init__()
        self._first = (first,)  # in a tuple, so that its parameters do not count twice

    def forward(self, carrier: Carrier) -> Tensor:
        return self.finished(self.output(carrier), carrier.tensor)

    def output(self, carrier: Carrier) -> Any:
        """What the network itself returns."""
        raise NotImplementedError

    def finished(self, output: Any, features: Tensor) -> Tensor:
        """The logits of what the network returned, resized if their size is not that of every frame."""
        logits = logits_of(output)
        rows, columns = features.shape[-2:]
        stride, logit_stride = self._first[0].stride, self.logit_stride
        size = rows * stride // logit_stride, columns * stride // logit_stride
        if logits.shape[-2:] == size:
            return logits
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


class WholeEncoder(FirstHalf):
    """An encoder module; `feature` is the index or key of the memory's tensor where it returns several."""

    def __init__(self, encoder: nn.Module, feature: int | str | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature = feature

    def forward(self, frames: Tensor) -> Carrier:
        output = self.encoder(frames)
        try:
            features = output if self.feature is None else output[self.feature]
        except (KeyError, IndexError) as error:
            raise ValueError(f"the encoder returns {described(output)}, without feature={self.feature!r}") from error
        leaves, structure = tree_flatten(output)
        return Carrier(features, (leaves, [leaf is features for leaf in leaves], structure))


class WholeDecoder(SecondHalf):
    """A decoder module, called with what the encoder returned, in the same form."""

    def __init__(self, first: FirstHalf, decoder: nn.Module) -> None:
        super().__init__(first)
        self.decoder = decoder

    def output(self, carrier: Carrier) -> Any:
        leaves, from_memory, structure = carrier.rest
        leaves = [carrier.tensor if here else leaf for leaf, here in zip(leaves, from_memory, strict=True)]
        return self.decoder(tree_unflatten(leaves, structure))


def logits_of(output: Any) -> Tensor:
    """The logits in what a network returns. Raises ValueError: no 4-d tensor, nor a mapping that has one under "logits"
    or "out"."""
    logits = output.get("logits", output.get("out")) if isinstance(output, Mapping) else output
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        forms = 'logits (B, classes, H, W), or a mapping with them under "logits" or "out"'
        raise ValueError(f"the network returns {described(output)}: it must be {forms}")
    return logits


def described(value: Any) -> str:
    """A tensor's shape, a container's make-up: for messages."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(repr, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
