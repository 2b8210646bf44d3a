"""ERFNet (Romera et al., "ERFNet: Efficient Residual Factorized ConvNet", T-ITS 2018), split into encoder and decoder.

Module names follow the released weights, so that converting them is a matter of the memory module's names only.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.folding import absorb, channels_of

BATCH_NORM_EPS = 1e-3


class Downsampler(nn.Module):
    """A strided convolution beside a max pooling, concatenated: halves the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.pool: nn.Module = nn.MaxPool2d(2)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(torch.cat([self.conv(x), self.pool(x)], dim=1)))

    def folded(self) -> nn.Module:
        """This module with the batch norm inside the convolution; what falls on the pooled channels stays a norm."""
        convolved = self.conv.out_channels
        self.conv = absorb(self.conv, channels_of(self.bn, slice(0, convolved)))
        self.pool = nn.Sequential(self.pool, channels_of(self.bn, slice(convolved, None)))
        self.bn = nn.Identity()
        return self


class NonBottleneck1d(nn.Module):
    """A residual block of two 3x3 convolutions, each factorised into 3x1 and 1x3; the second pair is dilated."""

    NORMS: ClassVar = {"conv1x3_1": "bn1", "conv1x3_2": "bn2"}

    def __init__(self, channels: int, dropout: float, dilation: int) -> None:
        super().__init__()
        d = dilation
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1: nn.Module = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.bn2: nn.Module = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv3x1_1(x))
        y = F.relu(self.bn1(self.conv1x3_1(y)))
        y = F.relu(self.conv3x1_2(y))
        y = self.bn2(self.conv1x3_2(y))
        return F.relu(self.dropout(y) + x)


class Upsampler(nn.Module):
    """A transposed convolution that doubles the size."""

    NORMS: ClassVar = {"conv": "bn"}

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Encoder(nn.Module):
    """(B, 3, H, W) frames, H and W divisible by 8 -> (B, 128, H/8, W/8) features."""

    channels = 128
    stride = 8

    def __init__(self) -> None:
        super().__init__()
        self.initial_block = Downsampler(3, 16)
        self.layers = nn.ModuleList(
            [
                Downsampler(16, 64),
                *(NonBottleneck1d(64, dropout=0.03, dilation=1) for _ in range(5)),
                Downsampler(64, 128),
                *(NonBottleneck1d(128, dropout=0.3, dilation=d) for d in (2, 4, 8, 16) * 2),
            ]
        )

    def forward(self, frames: Tensor) -> Tensor:
        x = self.initial_block(frames)
        for layer in self.layers:
            x = layer(x)
        return x


class Decoder(nn.Module):
    """(B, 128, h, w) features -> (B, classes, 8h, 8w) logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                Upsampler(128, 64),
                *(NonBottleneck1d(64, dropout=0.0, dilation=1) for _ in range(2)),
                Upsampler(64, 16),
                *(NonBottleneck1d(16, dropout=0.0, dilation=1) for _ in range(2)),
            ]
        )
        self.output_conv = nn.ConvTranspose2d(16, classes, 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        x = features
        for layer in self.layers:
            x = layer(x)
        return self.output_conv(x)
