"""A lean backbone for CPUs: dense 3x3 convolutions at strides 2 to 16, context at 16, features of all strides at 4.

The parts are published ideas put together anew: plain residual blocks, the later ones dilated (Gao, "Rethink Dilated
Convolution for Real-time Semantic Segmentation", 2021), pooled context at the coarsest stride (Hong et al., "Deep
Dual-resolution Networks", 2021), and a small head that reads one finer feature map (Howard et al., "Searching for
MobileNetV3", 2019, section 6.4). Grouped and depthwise convolutions are avoided: on a CPU they take longer than their
arithmetic says. The memory works on the features that the last layer reads, at stride 4: were it to stand at stride 8
with finer features going round it, those would flicker as before (measured: half of what it steadies was lost).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM, FINE, MIDDLE, COARSE = 16, 48, 96, 128  # channels at strides 2, 4, 8 and 16
DILATIONS = (1, 2, 4, 2, 4)  # of the second convolution of each block at stride 16
POOLS = ((5, 2), (9, 4), (17, 8))  # kernels and strides of the pooled context, in cells of stride 16
POOLED = 32  # channels of each pooled context


class ConvNorm(nn.Module):
    """A convolution, a batch norm and, unless `relu` is False, a ReLU."""

    NORMS: ClassVar = {"conv": "bn"}

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity; the second one dilated."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, dilation=dilation, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Context(nn.Module):
    """Features beside their averages over ever larger surroundings, up to the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pooled = nn.ModuleList(ConvNorm(channels, POOLED, 1) for _ in POOLS)
        self.whole = nn.Conv2d(channels, POOLED, 1)  # without a norm: a batch of one picture has one value a channel
        self.join = ConvNorm(channels + POOLED * (len(POOLS) + 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        parts = [x]
        for (kernel, stride), convolve in zip(POOLS, self.pooled, strict=True):
            mean = F.avg_pool2d(x, kernel, stride, kernel // 2, count_include_pad=False)
            parts.append(resized(convolve(mean), size))
        parts.append(resized(F.relu(self.whole(x.mean((2, 3), keepdim=True))), size))
        return self.join(torch.cat(parts, dim=1))


class Meet(nn.Module):
    """Fine features, (B, ., h, w), and coarse ones, brought to their size, as `channels` features of both."""

    def __init__(self, fine: int, coarse: int, channels: int) -> None:
        super().__init__()
        self.from_fine = ConvNorm(fine, channels, 1, relu=False)
        self.from_coarse = ConvNorm(coarse, channels, 1, relu=False)
        self.join = ConvNorm(channels, channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = resized(self.from_coarse(coarse), fine.shape[-2:])
        return self.join(F.relu(self.from_fine(fine) + coarse))


class Encoder(nn.Module):
    """(B, 3, H, W) frames, H and W divisible by 8 -> (B, 48, H/4, W/4) features."""

    channels = FINE
    stride = 4
    multiple = 8
    fewest_cells = POOLS[-1][1] * 4 + 1
    """Rows and columns from which on one exported program fits all sizes: the coarsest context has two of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, STEM, stride=2), ConvNorm(STEM, FINE, stride=2))
        self.fine = Residual(FINE)
        self.middle = nn.Sequential(ConvNorm(FINE, MIDDLE, stride=2), Residual(MIDDLE))
        self.coarse = nn.Sequential(ConvNorm(MIDDLE, COARSE, stride=2), *(Residual(COARSE, d) for d in DILATIONS))
        self.context = Context(COARSE)
        self.meet_middle = Meet(MIDDLE, COARSE, MIDDLE)
        self.meet_fine = Meet(FINE, MIDDLE, FINE)

    def forward(self, frames: Tensor) -> Tensor:
        fine = self.fine(self.stem(frames))
        middle = self.middle(fine)
        middle = self.meet_middle(middle, self.context(self.coarse(middle)))
        return self.meet_fine(fine, middle)


class Decoder(nn.Module):
    """(B, 48, h, w) features -> (B, classes, h, w) logits.

    One logit for 4x4 pixels: interpolating logits straight to the size of the picture is cheaper than computing more.
    """

    logit_stride = 4

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(0.1)
        self.output = nn.Conv2d(FINE, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.output(self.dropout(features))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, h, w) interpolated bilinearly to `size` (height, width)."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
