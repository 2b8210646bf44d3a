"""Fusions: how the query frame's value and the value read from the memory become the decoder's input (LMANet III-C).

Each takes two (B, value_channels, h, w) tensors, query first, and returns (B, channels, h, w). `BlendFusion`
takes the (B, channels, h, w) features themselves in the place of the query's value.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.kernels.blend import blend, fits
from lmaseg.models.folding import merge_convolutions

BATCH_NORM_EPS = 1e-3
WRONG_WIDTH = "this fusion takes values of {} channels, as the features have, not {}"


class Gates(nn.Module):
    """Logits of how much of each content passes, from both values: (B, in_channels, h, w) -> two of channels."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.query = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
        self.memory = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        return self.query(both), self.memory(both)

    def folded(self) -> nn.Module:
        """The same as one convolution."""
        return _MergedGates(merge_convolutions([self.query, self.memory]))


class _MergedGates(nn.Module):
    """`Gates` as one convolution, for inference."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, both: Tensor) -> tuple[Tensor, ...]:
        return self.conv(both).chunk(2, dim=1)


class SigmoidFusion(nn.Module):
    """Both values as contents, each weighed by a gate that sees both (`sigmoid` in the authors' code)."""

    def __init__(self, value_channels: int, channels: int) -> None:
        super().__init__()
        self.query_content = nn.Conv2d(value_channels, channels, 3, padding=1)
        self.memory_content = nn.Conv2d(value_channels, channels, 3, padding=1)
        self.gates = Gates(2 * value_channels, channels)
        self.bn = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query_gate, memory_gate = self.gates(torch.cat([query, memory], dim=1))
        fused = self.query_content(query) * query_gate.sigmoid() + self.memory_content(memory) * memory_gate.sigmoid()
        return F.relu(self.bn(fused))


class NormalizedSigmoidFusion(SigmoidFusion):
    """`SigmoidFusion` after batch norm, dropout and ReLU on each input (`sigmoid-do1` in the authors' code)."""

    def __init__(self, value_channels: int, channels: int, dropout: float = 0.3) -> None:
        super().__init__(value_channels, channels)
        self.query_bn = nn.BatchNorm2d(value_channels, eps=BATCH_NORM_EPS)
        self.memory_bn = nn.BatchNorm2d(value_channels, eps=BATCH_NORM_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query = F.relu(self.dropout(self.query_bn(query)))
        memory = F.relu(self.dropout(self.memory_bn(memory)))
        return super().forward(query, memory)


class ReducedSigmoidFusion(nn.Module):
    """Both values weighed by gates that see their reduced sum (`sigmoid-down1` in the authors' code).

    One convolution reduces both, as it does there.

    Raises:
        ValueError: values that are not as wide as the features they become.
    """

    def __init__(self, value_channels: int, channels: int, reduced_channels: int = 256) -> None:
        if value_channels != channels:
            raise ValueError(WRONG_WIDTH.format(channels, value_channels))
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.reduced_bn = nn.BatchNorm2d(reduced_channels, eps=BATCH_NORM_EPS)
        self.gates = Gates(reduced_channels, channels, kernel=1)
        self.bn = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        reduced = self.reduce(query) + self.reduce(memory)
        query_gate, memory_gate = self.gates(F.relu(self.reduced_bn(reduced)))
        return F.relu(self.bn(query * query_gate.sigmoid() + memory * memory_gate.sigmoid()))


class BlendFusion(nn.Module):
    """The features moved towards those read from the memory, at every cell by the share that a gate lets through.

    With keys that tell likeness this is an average over the places of past frames that look alike (non-local means,
    Buades et al. 2005, in time), which steadies any network without training. The gate closes where the features would
    move much farther than is usual in their frame: what is thin or new has nothing alike in the past. In a frame that
    is dark or blurred all of them move far, and it stays open. It also sees the features and the move themselves,
    which counts once it is trained.

    Raises:
        ValueError: values that are not the features.
    """

    recurrent = True  # what is remembered of a frame is what was made of it, so that averages run on through the video
    OPENNESS = 0.95  # of the gate where nothing moves
    CLOSING = 2.0  # by how much a move as far as usual lowers its logit; measured on two trained networks
    SPARING = 0.86, 0.5  # both where it is known which classes to spare (`lmaseg.models.start_gate`)
    HEAD_START = 0.4  # added to the logit of one that spares: regression on probabilities stays short of the openness
    STILL = 0.02  # squared moves, relative to the squared features, so small that they tell nothing

    def __init__(self, value_channels: int, channels: int) -> None:
        if value_channels != channels:
            raise ValueError(WRONG_WIDTH.format(channels, value_channels))
        super().__init__()
        self.gate = nn.Conv2d(2 * channels, 1, 1)
        self.log_closing = nn.Parameter(torch.tensor(math.log(self.CLOSING)))
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.fill_(math.log(self.OPENNESS / (1 - self.OPENNESS)))  # type: ignore[union-attr]

    def forward(self, features: Tensor, attended: Tensor) -> Tensor:
        if fits(features, attended):
            numbers = (*self.gate.bias.tolist(), self.log_closing.exp().item(), self.STILL)  # type: ignore[union-attr]
            return blend(features, attended, self.gate.weight.flatten(), *numbers)
        move = attended - features
        length, size = (torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32) for x in (move, features))
        distance = (length / size.clamp(min=1e-6)).square()  # (B, 1, h, w)
        unusual = distance / (distance.mean((2, 3), keepdim=True) + self.STILL)
        of_features, of_move = self.gate.weight.chunk(2, dim=1)  # one layer on both, without copying them side by side
        gate = F.conv2d(features, of_features, self.gate.bias) + F.conv2d(move, of_move)
        gate = gate - (self.log_closing.exp() * unusual).to(move.dtype)
        return torch.addcmul(features, gate.sigmoid(), move)
