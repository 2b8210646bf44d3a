"""The type that a network computes in: by its name, or the fastest where it is."""

import os

import torch
from torch import Tensor

from lmaseg.models.lma import LocalMemoryNet


def choose_dtype(net: LocalMemoryNet) -> torch.dtype:
    """The fastest type for a network where it is.

    That is int8 on a CPU with instructions for it, if the ranges of the network's activations are known, unless the CPU
    multiplies whole tiles of bfloat16 (AMX); else what `fastest_dtype` says.
    """
    weight = next(net.parameters())
    quick = has_int8(weight.device) and not has_tiles()
    return torch.int8 if quick and net.ranges and weight.dtype == torch.float32 else fastest_dtype(weight)


def has_int8(device: torch.device) -> bool:
    """Whether a device has instructions for products of 8-bit numbers (VNNI) that are summed exactly."""
    return device.type == "cpu" and _has("_is_vnni_supported")


def has_tiles() -> bool:
    """Whether the CPU multiplies whole tiles of bfloat16 (AMX)."""
    return _has("_is_amx_tile_supported")


def _has(probe: str) -> bool:
    """What torch says of this CPU under a private name; False without it."""
    return bool(getattr(torch.cpu, probe, bool)())


def named_dtype(name: str) -> torch.dtype | None:
    """The type of that name; None for "auto"."""
    return None if name == "auto" else getattr(torch, name)


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a type: torch.float32 -> "float32"."""
    return str(dtype).removeprefix("torch.")


def fastest_dtype(weight: Tensor) -> torch.dtype:
    """bfloat16 where the device of a network's float32 weights has instructions for it, else that of the weights."""
    if weight.dtype != torch.float32:
        return weight.dtype
    if weight.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = _has("_is_avx512_bf16_supported") or has_tiles()
    return torch.bfloat16 if fast and weight.device.type == "cpu" and not _held_back() else torch.float32


def _held_back() -> bool:
    """Whether oneDNN is held to instructions without those for bfloat16, which it replaces by very slow ones."""
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    return not any(name in most for name in ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10"))
