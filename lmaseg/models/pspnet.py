"""PSPNet's decoder (Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017); its encoder is `resnet.Encoder`.

Module names follow the released weights (github.com/hszhao/semseg, `model/pspnet.py`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.resnet import Chain

BINS = (1, 2, 3, 6)
STRIDE = 8


class PyramidPooling(nn.Module):
    """(B, C, h, w) features -> (B, 2C, h, w): beside them, their means over grids of `BINS` cells a side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = channels // len(BINS)
        self.features = nn.ModuleList(
            Chain(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(channels, reduced, 1, bias=False),
                nn.BatchNorm2d(reduced),
                nn.ReLU(),
            )
            for bins in BINS
        )

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-2:]
        pooled = [F.interpolate(pool(features), size, mode="bilinear", align_corners=True) for pool in self.features]
        return torch.cat([features, *pooled], dim=1)


class Decoder(nn.Module):
    """(B, channels, h, w) features -> (B, classes, 8h, 8w) logits.

    Those of the first 8(h - 1) + 1 rows and 8(w - 1) + 1 columns lie between cells, as in the original; the last seven
    repeat the edge.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.ppm = PyramidPooling(channels)
        self.cls = Chain(
            nn.Conv2d(2 * channels, 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(512, classes, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        height, width = (STRIDE * side for side in features.shape[-2:])
        cells = F.pad(self.cls(self.ppm(features)), (0, 1, 0, 1), mode="replicate")
        logits = F.interpolate(cells, (height + 1, width + 1), mode="bilinear", align_corners=True)
        return logits[..., :height, :width]
