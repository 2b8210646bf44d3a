"""Global motion compensation: past frames moved to where the camera looks now, in whole cells.

In a turn the picture moves farther between two frames than the attention's window reaches, and it reads the wrong
places.
"""

import torch
from torch import Tensor

LINES = 16  # rows, or columns, of a frame that are compared
PLACES = 96  # along each of them
REACH = 4  # the picture moves by at most one part in so many from frame to frame
MARGIN = 0.005  # by which the mean cosine must be better than at rest for the picture to have moved


def compensate_motion(key: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Past keys and values moved as the picture as a whole has moved since: across first, then down.

    What has come into view takes the cells at the edge of what was seen. All have their channels last in memory.

    Args:
        key: (B, C, h, w) of length 1, of frames.
        keys, values: (B, T, C, h, w) and (B, T, D, h, w) of T past ones of each.
    """
    across = _shift(key, keys)
    level = _moved(keys, torch.zeros_like(across), across)
    down = _shift(key.mT, level.mT)
    return _moved(keys, down, across), _moved(values, down, across)


def _shift(now: Tensor, past: Tensor) -> Tensor:
    """By how many columns the past, (B, T, C, h, w), is to move so that it is most like what is seen now, (B, C, h, w):
    (B, T)."""
    height, width = now.shape[-2:]
    rows = torch.arange(LINES, device=now.device) * height // LINES
    columns = torch.arange(PLACES, device=now.device) * width // PLACES
    now, past = (line.index_select(-2, rows).index_select(-1, columns).float() for line in (now, past))
    products = now.flatten(1, 2).mT.unsqueeze(1) @ past.flatten(2, 3)  # (B, T, places of now, places of the past)
    most = PLACES // REACH
    shifts = torch.arange(-most, most + 1, device=now.device)
    here = torch.arange(PLACES, device=now.device).unsqueeze(-1)
    there = here - shifts  # (places, shifts)
    seen = (there >= 0) & (there < PLACES)
    cosines = products[:, :, here, there.clamp(0, PLACES - 1)]  # (B, T, places, shifts)
    likeness = (cosines * seen).sum(-2) / (LINES * seen.sum(0)) + MARGIN * (shifts == 0)
    places = likeness.argmax(-1) - most
    return torch.div(2 * places * width + PLACES, 2 * PLACES, rounding_mode="floor")  # the nearest whole number


def _moved(line: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(B, T, ., h, w) moved by (B, T) cells, channels last in memory."""
    batch, frames, channels, height, width = line.shape
    rows, columns = (
        (torch.arange(side, device=line.device) - by.unsqueeze(-1)).clamp(0, side - 1)
        for side, by in ((height, down), (width, across))
    )
    frame = torch.arange(batch * frames, device=line.device).view(batch, frames, 1, 1)
    cells = (frame * height + rows.unsqueeze(-1)) * width + columns.unsqueeze(-2)  # (B, T, h, w)
    found = line.permute(0, 1, 3, 4, 2).reshape(-1, channels).index_select(0, cells.flatten())
    return found.view(batch, frames, height, width, channels).permute(0, 1, 4, 2, 3)
