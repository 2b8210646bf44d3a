"""The bytes of quantized networks on the CPU: of floating point numbers, and interpolated bilinearly."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg import kernels

DTYPES = (torch.float32, torch.bfloat16)


def to_bytes(x: Tensor, scale: float, zero: int, level: str = "") -> Tensor:
    """The nearest bytes that mean (B, C, H, W) floating point numbers by `scale * (byte - zero)`, channels last.

    `level` asks for one of `kernels.levels()` in place of the fastest.
    """
    if x.dtype not in DTYPES or not kernels.available() or not x.numel():
        levels = x.to(torch.float32, copy=True).mul_(1 / scale).add_(zero + 0.5).clamp_(0, 255)
        return levels.to(torch.uint8).contiguous(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    made = torch.empty_like(x, dtype=torch.uint8)
    half = x.dtype == torch.bfloat16
    _run("lmaseg_quantize", kernels.Quantize, level, x, made, x.numel(), half, 1 / scale, zero + 0.5)
    return made


def interpolate(x: Tensor, size: Sequence[int], *, align_corners: bool = False, level: str = "") -> Tensor:
    """(B, C, h, w) bytes, interpolated bilinearly to `size` (height, width) and rounded, channels last.

    Other numbers are left to torch, which takes ten times as long for bytes of many channels. Shares are in parts of
    256 here: a byte may be the next but one. `level` is as in `to_bytes`.
    """
    if x.dtype != torch.uint8 or not kernels.available() or not x.numel():
        return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    x = x.contiguous(memory_format=torch.channels_last)
    made = torch.empty((*x.shape[:2], *size), dtype=torch.uint8, memory_format=torch.channels_last)
    _run("lmaseg_resize", kernels.Resize, level, x, made, *x.shape, *size, align_corners)
    return made


def _run(name: str, call: type[ctypes.Structure], level: str, x: Tensor, made: Tensor, *settings: Any) -> None:
    index, run = kernels.level_index(level), getattr(kernels.library(), name)
    if run(call(x.data_ptr(), made.data_ptr(), *settings), index, torch.get_num_threads()):
        raise MemoryError("no memory for the bytes of a quantized network")
