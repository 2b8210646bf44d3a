"""The type that a network computes in: by its name, or the fastest where it is."""

import torch
from torch import Tensor

from lmaseg.models.lma import LocalMemoryNet


def choose_dtype(net: LocalMemoryNet) -> torch.dtype:
    """The fastest type for a network where it is.

    That is int8 on a CPU with 8-bit instructions and without bfloat16 ones, if the ranges of the network's activations
    are known; else what `fastest_dtype` says.
    """
    weight = next(net.parameters())
    wide = fastest_dtype(weight)
    return torch.int8 if wide == torch.float32 and net.ranges and has_int8(weight.device) else wide


def has_int8(device: torch.device) -> bool:
    """Whether a device has instructions for products of 8-bit numbers (VNNI) that are summed exactly."""
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


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
    # torch says this of CPUs under private names only; without them float32 is right everywhere.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = weight.device.type == "cpu" and any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return torch.bfloat16 if fast else torch.float32
