"""Local attention by torch's flex_attention, as a rival to time: block-sparse, with a mask for the window."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

ROWS, COLUMNS = 8, 16  # cells: a tile is one block of the mask
BLOCK = ROWS * COLUMNS


@dataclass(frozen=True)
class _Grid:
    """A map of cells cut into tiles, those of a row side by side."""

    rows: int
    columns: int

    @staticmethod
    def over(height: int, width: int) -> "_Grid":
        return _Grid(-(-height // ROWS), -(-width // COLUMNS))

    @property
    def cells(self) -> int:
        return self.rows * self.columns * BLOCK

    def flatten(self, maps: Tensor) -> Tensor:
        """(B, T, C, <=H, <=W) -> (B, 1, T * cells, C), tile by tile, padded by zeros."""
        height, width = maps.shape[-2:]
        maps = F.pad(maps, (0, self.columns * COLUMNS - width, 0, self.rows * ROWS - height))
        tiles = maps.reshape(*maps.shape[:3], self.rows, ROWS, self.columns, COLUMNS)
        return tiles.permute(0, 1, 3, 5, 4, 6, 2).flatten(1, 5).unsqueeze(1)

    def unflatten(self, cells: Tensor) -> Tensor:
        """(B, 1, cells, D) -> (B, D, H, W)."""
        tiles = cells.reshape(len(cells), self.rows, self.columns, ROWS, COLUMNS, -1)
        return tiles.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def position(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of a cell, by its place in `flatten`."""
        tile, inside = index // BLOCK, index % BLOCK
        return tile // self.columns * ROWS + inside // COLUMNS, tile % self.columns * COLUMNS + inside % COLUMNS


def tiled_flex(
    height: int, width: int, frames: int, window: int, device: torch.device, *, compiled: bool = True
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A function (query, keys, values) -> attended for maps of this size, like `lmaseg.attention.local_attention`."""
    radius = window // 2
    asking, asked = _Grid.over(height, width), _Grid.over(height + 2 * radius, width + 2 * radius)

    def in_window(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        (y, x), (key_y, key_x) = asking.position(query), asked.position(key % asked.cells)
        down, right = key_y - y, key_x - x
        return (down >= 0) & (down < window) & (right >= 0) & (right < window)

    near = _near_tiles(asking, asked, window).repeat(1, frames)
    mask = BlockMask.from_kv_blocks(
        near.sum(1, dtype=torch.int32)[None, None].to(device),
        near.int().argsort(dim=1, descending=True, stable=True).int()[None, None].to(device),
        BLOCK_SIZE=BLOCK,
        mask_mod=in_window,
    )
    attend: Any = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention

    def call(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        keys, values = (F.pad(x, (radius, radius, radius, radius)) for x in (keys, values))
        parts = asking.flatten(query.unsqueeze(1)), asked.flatten(keys), asked.flatten(values)
        return asking.unflatten(attend(*parts, block_mask=mask, scale=1.0))[..., :height, :width]

    return call


def _near_tiles(asking: _Grid, asked: _Grid, window: int) -> Tensor:
    """(tiles, tiles) bool: which tiles of the padded map the windows of a tile's queries reach."""

    def reached(tiles: int, padded_tiles: int, side: int) -> Tensor:
        first, other = torch.arange(tiles)[:, None] * side, torch.arange(padded_tiles)[None] * side
        return (other + side > first) & (other < first + side + window - 1)

    rows = reached(asking.rows, asked.rows, ROWS)
    columns = reached(asking.columns, asked.columns, COLUMNS)
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2, 3).flatten(0, 1)
