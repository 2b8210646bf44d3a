"""Fusions: how the query frame's value and the value read from the memory become the decoder's input (LMANet III-C).

Each takes two (B, value_channels, h, w) tensors, query first, and returns (B, channels, h, w).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_NORM_EPS = 1e-3


class SigmoidFusion(nn.Module):
    """Both values as contents, each weighed by a gate that sees both (`sigmoid` in the authors' code)."""

    def __init__(self, value_channels: int, channels: int) -> None:
        super().__init__()
        self.query_content = nn.Conv2d(value_channels, channels, 3, padding=1)
        self.memory_content = nn.Conv2d(value_channels, channels, 3, padding=1)
        self.query_gate = nn.Conv2d(2 * value_channels, channels, 3, padding=1)
        self.memory_gate = nn.Conv2d(2 * value_channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        both = torch.cat([query, memory], dim=1)
        fused = self.query_content(query) * self.query_gate(both).sigmoid()
        fused = fused + self.memory_content(memory) * self.memory_gate(both).sigmoid()
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
