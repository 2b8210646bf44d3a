"""The specification of local attention: a loop over the window's offsets in plain torch, differentiable."""

import torch
from torch import Tensor
from torch.nn import functional as F


def local_attention(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """See `lmaseg.attention.local_attention`; arguments are taken as checked.

    Holds the (B, T, window^2, H, W) weights, never copies of keys or values per neighbour.
    """
    height, width = query.shape[-2:]
    radius = window // 2
    border = (radius, radius, radius, radius)
    keys = F.pad(keys, border)  # (B, T, C, H + 2r, W + 2r)
    values = F.pad(values, border)
    offsets = [(y, x) for y in range(window) for x in range(window)]

    query = query.unsqueeze(1)  # (B, 1, C, H, W)
    logits = torch.stack(
        [(query * keys[..., y : y + height, x : x + width]).sum(2) for y, x in offsets], dim=2
    )  # (B, T, window^2, H, W)

    # Half precision is too coarse for a softmax over hundreds of neighbours.
    exact = torch.promote_types(logits.dtype, torch.float32)
    weights = logits.flatten(1, 2).softmax(1, dtype=exact).to(values.dtype).view_as(logits)

    attended = torch.zeros_like(values[:, 0, :, :height, :width])  # (B, D, H, W)
    for i, (y, x) in enumerate(offsets):
        neighbours = values[..., y : y + height, x : x + width]  # (B, T, D, H, W)
        attended = attended + (weights[:, :, i, None] * neighbours).sum(1)
    return attended
