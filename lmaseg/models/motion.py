"""Motion compensation: past frames moved to where the camera looks now, in whole cells.

In a turn the picture moves farther between two frames than the attention's window reaches, and it reads the wrong
places. What is near moves farther than the rest, so each block of the picture may differ a little from the whole
(block matching, as in Jain and Jain, "Displacement Measurement and Its Application in Interframe Image Coding", 1981).
"""

import torch
from torch import Tensor

LINES = 16  # rows, or columns, of a frame that are compared
PLACES = 96  # along each of them
REACH = 4  # the picture moves by at most one part in so many from frame to frame
MARGIN = 0.005  # by which the mean cosine must be better than at rest for the picture to have moved
BLOCKS = 2, 4  # rows and columns of them
NEAR = 4  # places by which a block may move farther than the picture, or less
GAIN = 0.1  # of what its mean cosine lacks, so much must be won by that: frames that are spoilt fit nowhere


def compensate_motion(key: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Past keys and values moved as the blocks of the picture have moved since: across first, then down.

    What has come into view takes the cells at the edge of what was seen. All have their channels last in memory.

    Args:
        key: (B, C, h, w) of length 1, of frames.
        keys, values: (B, T, C, h, w) and (B, T, D, h, w) of T past ones of each.
    """
    height, width = key.shape[-2:]
    frame, still = key.unsqueeze(1), torch.zeros(1, 1, *BLOCKS, dtype=torch.long, device=key.device)
    cells = _spread(height, LINES, key), _spread(width, PLACES, key)
    now, past = _moved(frame, still, still, *cells), _moved(keys, still, still, *cells)
    across = _shift(now, past, BLOCKS, width)
    cells = _spread(height, PLACES, key), _spread(width, LINES, key)
    now, past = _moved(frame, still, still, *cells), _moved(keys, still, across, *cells)
    down = _shift(now.mT, past.mT, BLOCKS[::-1], height).mT
    cells = _spread(height, height, key), _spread(width, width, key)
    return _moved(keys, down, across, *cells), _moved(values, down, across, *cells)


def _spread(side: int, count: int, like: Tensor) -> Tensor:
    """So many rows or columns, as far apart as they can be."""
    return torch.arange(count, device=like.device) * side // count


def _moved(past: Tensor, down: Tensor, across: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What lies at some rows and columns once the blocks of (B, T, C, h, w) are moved by (B, T, *BLOCKS) cells.

    Channels are last in memory."""
    batch, frames, channels, height, width = past.shape
    of_row, of_column = rows * BLOCKS[0] // height, columns * BLOCKS[1] // width
    down, across = (by.index_select(3, of_column).index_select(2, of_row) for by in (down, across))
    frame = torch.arange(batch * frames, device=past.device).view(batch, frames, 1, 1)
    row, column = (rows.unsqueeze(-1) - down).clamp(0, height - 1), (columns - across).clamp(0, width - 1)
    cells = (frame * height + row) * width + column  # (B, T, rows, columns)
    found = past.permute(0, 1, 3, 4, 2).reshape(-1, channels).index_select(0, cells.flatten())
    return found.view(*cells.shape, channels).permute(0, 1, 4, 2, 3)


def _shift(now: Tensor, past: Tensor, blocks: tuple[int, int], width: int) -> Tensor:
    """By how many of `width` cells to the right each block of the past is to move so that it is most like what is seen
    now, (B, T, *blocks), given lines of (B, 1, C, LINES, PLACES) and (B, T, C, LINES, PLACES) cells."""
    (batch, frames, channels), (rows, columns) = past.shape[:3], blocks
    size = channels, rows, LINES // rows, PLACES
    now, past = (x.float().reshape(*x.shape[:2], *size).movedim(3, 1).flatten(3, 4).flatten(0, 1) for x in (now, past))
    products = now.mT @ past  # (B * rows, T, places of now, places of the past)
    most = PLACES // REACH
    shifts = torch.arange(-most, most + 1, device=now.device)
    here = torch.arange(PLACES, device=now.device).unsqueeze(-1)
    there = here - shifts  # (places, shifts)
    inside = ((there >= 0) & (there < PLACES)).float()
    cosines = products[:, :, here, there.clamp(0, PLACES - 1)] * (inside * rows / LINES)
    split = columns, PLACES // columns, len(shifts)
    sums = cosines.view(batch, rows, frames, *split).sum(-2).transpose(1, 2)
    counts = inside.view(*split).sum(1)  # (columns, shifts)
    picture = sums.sum((2, 3)) / (rows * counts.sum(0)) + MARGIN * (shifts == 0)
    usual = (picture.argmax(-1) - most)[..., None, None, None]
    likeness = sums / counts.clamp(min=1)  # (B, T, rows, columns, shifts)
    likeness = likeness + GAIN * (1 - likeness) * (shifts == usual)
    half = 2 * columns * counts >= PLACES  # of the block is inside
    allowed = (shifts == usual) | ((shifts - usual).abs() <= NEAR) & half
    places = torch.where(allowed, likeness, -2).argmax(-1) - most
    return torch.div(2 * places * width + PLACES, 2 * PLACES, rounding_mode="floor")  # the nearest whole number
