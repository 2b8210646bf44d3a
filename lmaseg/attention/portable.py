"""Local attention in few plain operators that other runtimes have, for networks that leave torch.

Exact, over square tiles of queries like `tiled`, but made of gathers instead of views, so that it can be traced once
for all sizes: no operator asks whether a size is a multiple of another. An empty memory gives zeros.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.attention.shapes import near_pairs

TILE = 4  # cells a side


def local_attention(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """See `lmaseg.attention.local_attention`; arguments are taken as checked, on the CPU, T from 0."""
    height, width = query.shape[-2:]
    corners = torch.arange(0, height, TILE), torch.arange(0, width, TILE)
    side = TILE + window - 1
    border = (window // 2, window // 2 + TILE - 1) * 2
    asking = _squares(F.pad(query, (0, TILE - 1) * 2).unsqueeze(1), corners, TILE)  # (B, rows, columns, t^2, C)
    logits = asking @ _squares(F.pad(keys, border), corners, side).transpose(-1, -2)  # (B, rows, columns, t^2, T * s^2)
    near = near_pairs(TILE, window, query.device).repeat(1, keys.shape[1])
    weights = logits.masked_fill(~near, float("-inf")).softmax(-1)
    attended = weights @ _squares(F.pad(values, border), corners, side)  # (B, rows, columns, t^2, D)
    y, x = torch.arange(height).unsqueeze(1), torch.arange(width)
    return attended[:, y // TILE, x // TILE, y % TILE * TILE + x % TILE].permute(0, 3, 1, 2)


def _squares(frames: Tensor, corners: tuple[Tensor, Tensor], side: int) -> Tensor:
    """(B, T, C, H, W) -> (B, rows, columns, T * side^2, C): at every corner a square of `side` cells."""
    down, across = (corner.unsqueeze(1) + torch.arange(side) for corner in corners)
    squares = frames[:, :, :, down][..., across]  # (B, T, C, rows, s, columns, s)
    return squares.permute(0, 3, 5, 1, 4, 6, 2).flatten(3, 5)
