"""A lean backbone for CPUs: dense 3x3 convolutions at strides 2 to 16, context at 16, a skip from stride 4.

The parts are published ideas put together anew: plain residual blocks, the later ones dilated (Gao, "Rethink Dilated
Convolution for Real-time Semantic Segmentation", 2021), pooled context at the coarsest stride (Hong et al., "Deep
Dual-resolution Networks", 2021), and a small head that reads one finer feature map (Howard et al., "Searching for
MobileNetV3", 2019, section 6.4). Grouped and depthwise convolutions are avoided: on a CPU they take longer than their
arithmetic says. The memory works at stride 8, where the fine and the coarse features have met.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.folding import absorb
from lmaseg.models.halves import Carrier, FirstHalf

STEM, FINE, MIDDLE, COARSE = 16, 48, 96, 128  # channels at strides 2, 4, 8 and 16
DILATIONS = (1, 2, 4, 2, 4)  # of the second convolution of each block at stride 16
POOLS = ((5, 2), (9, 4), (17, 8))  # kernels and strides of the pooled context, in cells of stride 16
POOLED = 32  # channels of each pooled context


class ConvNorm(nn.Module):
    """A convolution, a batch norm and, unless `relu` is False, a ReLU."""

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

    def folded(self) -> nn.Module:
        """This module with the batch norm inside the convolution."""
        self.conv, self.bn = absorb(self.conv, self.bn), nn.Identity()
        return self


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
        parts.append(F.relu(self.whole(x.mean((2, 3), keepdim=True))).expand(-1, -1, *size))
        return self.join(torch.cat(parts, dim=1))


class Encoder(FirstHalf):
    """(B, 3, H, W) frames, H and W divisible by 8 -> a carrier of (B, 96, H/8, W/8) features.

    With it go the (B, 48, H/4, W/4) features of stride 4, for the decoder.
    """

    channels = MIDDLE
    stride = 8
    fewest_cells = POOLS[-1][1] * 2 + 1
    """Rows and columns from which on one exported program fits all sizes: the coarsest context has two of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, STEM, stride=2), ConvNorm(STEM, FINE, stride=2))
        self.fine = Residual(FINE)
        self.middle = nn.Sequential(ConvNorm(FINE, MIDDLE, stride=2), Residual(MIDDLE))
        self.coarse = nn.Sequential(ConvNorm(MIDDLE, COARSE, stride=2), *(Residual(COARSE, d) for d in DILATIONS))
        self.context = Context(COARSE)
        self.from_coarse = ConvNorm(COARSE, MIDDLE, 1, relu=False)
        self.from_middle = ConvNorm(MIDDLE, MIDDLE, 1, relu=False)
        self.meet = ConvNorm(MIDDLE, MIDDLE)

    def forward(self, frames: Tensor) -> Carrier:
        fine = self.fine(self.stem(frames))
        middle = self.middle(fine)
        coarse = self.from_coarse(self.context(self.coarse(middle)))
        features = self.meet(F.relu(self.from_middle(middle) + resized(coarse, middle.shape[-2:])))
        return Carrier(features, fine)


class Decoder(nn.Module):
    """A carrier of (B, 96, h, w) features and (B, 48, 2h, 2w) finer ones -> (B, classes, 2h, 2w) logits.

    One logit for 4x4 pixels: interpolating logits straight to the size of the picture is cheaper than computing more.
    """

    logit_stride = 4

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.from_features = ConvNorm(MIDDLE, FINE, 1, relu=False)
        self.from_fine = ConvNorm(FINE, FINE, 1, relu=False)
        self.meet = ConvNorm(FINE, FINE)
        self.dropout = nn.Dropout2d(0.1)
        self.output = nn.Conv2d(FINE, classes, 1)

    def forward(self, carrier: Carrier) -> Tensor:
        fine = carrier.rest
        coarse = resized(self.from_features(carrier.tensor), fine.shape[-2:])
        return self.output(self.dropout(self.meet(F.relu(self.from_fine(fine) + coarse))))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, h, w) interpolated bilinearly to `size` (height, width)."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
