"""Dilated ResNet with the deep stem, as semseg's PSPNet uses it (He et al. 2016; Zhao et al., CVPR 2017).

Module names follow the released weights (github.com/hszhao/semseg, `model/resnet.py` and `model/pspnet.py`).
"""

from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.folding import absorb

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""From the number of layers in the network's name to the blocks of its four stages."""


class Chain(nn.Sequential):
    """A sequence in which a batch norm follows its convolution."""

    def folded(self) -> nn.Module:
        """This sequence with each batch norm inside the convolution before it."""
        for i, module in enumerate(self):
            if isinstance(module, nn.BatchNorm2d):
                self[i - 1], self[i] = absorb(cast(nn.Conv2d, self[i - 1]), module), nn.Identity()
        return self


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions; the stride and the dilation are the 3x3 one's."""

    NORMS: ClassVar = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"}

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, *, downsample: bool) -> None:
        super().__init__()
        channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(channels)
        shortcut = (nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))
        self.downsample: nn.Module = Chain(*shortcut) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x))


class Encoder(nn.Module):
    """(B, 3, H, W) frames -> (B, 2048, H/8, W/8) features, sizes rounded up.

    Cell (i, j) is centred on pixel (8i, 8j), so that frames of 8n + 1 pixels have a cell in every corner.
    """

    channels = 2048
    stride = 8
    remainder = 1

    def __init__(self, layers: int) -> None:
        super().__init__()
        blocks = BLOCKS[layers]
        self.layer0 = Chain(
            *(nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU()),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.layer1 = _stage(128, 64, blocks[0])
        self.layer2 = _stage(256, 128, blocks[1], stride=2)
        self.layer3 = _stage(512, 256, blocks[2], dilation=2)
        self.layer4 = _stage(1024, 512, blocks[3], dilation=4)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.layer0(frames)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(in_channels: int, width: int, blocks: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride, dilation, downsample=True)
    rest = (Bottleneck(4 * width, width, 1, dilation, downsample=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
