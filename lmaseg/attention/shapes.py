"""What several ways to compute the attention share: the check of shapes, and which cells see each other."""

import torch
from torch import Tensor


def check_shapes(query: Tensor, keys: Tensor, values: Tensor, window: int) -> None:
    """Raise ValueError unless query (B, C, H, W), keys (B, T, C, H, W) and values (B, T, D, H, W) fit, T and C >= 1."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the attention window must be an odd number of cells, not {window}")
    shapes = tuple(query.shape), tuple(keys.shape), tuple(values.shape)
    if [len(shape) for shape in shapes] != [4, 5, 5]:
        raise ValueError(
            "local attention takes query (B, C, H, W), keys (B, T, C, H, W) and values (B, T, D, H, W), "
            "not {}, {} and {}".format(*shapes)
        )
    batch, channels, height, width = query.shape
    frames, depth = values.shape[1:3]
    if frames == 0 or channels == 0:
        raise ValueError("the memory is empty: decode the encoder's features directly instead of attending")
    if keys.shape != (batch, frames, channels, height, width) or values.shape != (batch, frames, depth, height, width):
        raise ValueError("keys {1} and values {2} do not fit a query {0}".format(*shapes))


def near_pairs(tile: int, window: int, device: torch.device) -> Tensor:
    """(t^2, s^2) bool: which cells of a square of s = tile + window - 1 are in the window of each query of its tile."""
    ahead = torch.arange(tile + window - 1, device=device) - torch.arange(tile, device=device).unsqueeze(1)
    inside = (ahead >= 0) & (ahead < window)  # (t, s)
    return (inside[:, None, :, None] & inside[None, :, None, :]).flatten(2, 3).flatten(0, 1)
