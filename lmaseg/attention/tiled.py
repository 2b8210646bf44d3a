"""Local attention over square tiles of queries, by dense products with each tile's whole neighbourhood: to train with.

Exact: pairs farther apart than the window are masked out. More multiplications than the definition asks for, (tile +
window)^2 instead of window^2 a query, but all of them in large matrix products, forward and backward alike.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.attention.shapes import near_pairs

TILE = 8  # cells a side


def local_attention(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """See `lmaseg.attention.local_attention`; arguments are taken as checked."""
    height, width = query.shape[-2:]
    border = (window // 2, window // 2 - width % -TILE, window // 2, window // 2 - height % -TILE)
    side = TILE + window - 1
    asking = _tiles(F.pad(query, (0, -width % TILE, 0, -height % TILE)).unsqueeze(1), TILE)  # (N, t^2, C)
    exact = torch.promote_types(values.dtype, torch.float32)  # half precision is too coarse for the softmax
    with torch.autocast(query.device.type, enabled=False):
        logits = torch.bmm(asking, _tiles(F.pad(keys, border), side).transpose(1, 2)).to(exact)  # (N, t^2, T * s^2)
        near = near_pairs(TILE, window, query.device).repeat(1, keys.shape[1])
        weights = logits.masked_fill(~near, float("-inf")).softmax(-1).to(values.dtype)
        attended = torch.bmm(weights, _tiles(F.pad(values, border), side))  # (N, t^2, D)
    rows, columns = -(-height // TILE), -(-width // TILE)
    attended = attended.view(-1, rows, columns, TILE, TILE, values.shape[2]).permute(0, 5, 1, 3, 2, 4)
    return attended.reshape(len(query), -1, rows * TILE, columns * TILE)[..., :height, :width]


def _tiles(frames: Tensor, side: int) -> Tensor:
    """(B, T, C, H, W) -> (B * tiles, T * side^2, C): every TILE cells a square of `side` cells, overlapping."""
    squares = frames.unfold(3, side, TILE).unfold(4, side, TILE)  # (B, T, C, rows, columns, s, s)
    squares = squares.permute(0, 3, 4, 1, 5, 6, 2)
    return squares.reshape(-1, frames.shape[1] * side * side, frames.shape[2])
