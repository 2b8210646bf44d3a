"""Local attention on the CPU by the C kernel: forward only, for float32 and bfloat16."""

import ctypes

import torch
from torch import Tensor

from lmaseg import kernels
from lmaseg.attention.shapes import check_shapes
from lmaseg.kernels.operator import operator

DTYPES = (torch.float32, torch.bfloat16)


def fits(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the kernel can take this call: on the CPU, in a type it knows, with nobody asking for gradients."""
    tensors = (query, keys, values)
    return (
        all(x.device.type == "cpu" and x.dtype == query.dtype for x in tensors)
        and query.dtype in DTYPES
        and not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))
        and kernels.available()
    )


def _empty_attended(query: Tensor, keys: Tensor, values: Tensor, window: int, level: str = "") -> Tensor:
    batch, _, depth, height, width = values.shape
    return query.new_empty((batch, height, width, depth)).permute(0, 3, 1, 2)


@operator("lmaseg::local_attention", fake=_empty_attended)
def attend(query: Tensor, keys: Tensor, values: Tensor, window: int, level: str = "") -> Tensor:
    """See `lmaseg.attention.local_attention`; the result is channels last in memory.

    Any strides are read. Keys are repacked at each call, values only unless they are channels last already and their
    channels a multiple of 32 (then they are read where they lie). `level` asks for one of `kernels.levels()` in place
    of the fastest.

    Raises:
        ValueError: shapes that do not fit, an even window, an empty memory, another dtype or device.
        BackendError: the C kernels are missing.
    """
    check_shapes(query, keys, values, window)
    if query.dtype not in DTYPES or any(x.dtype != query.dtype or not x.is_cpu for x in (query, keys, values)):
        raise ValueError("the C kernel attends to float32 or bfloat16 tensors of one type on the CPU")
    index = kernels.level_index(level)
    attended = _empty_attended(query, keys, values, window)
    if attended.numel() == 0:
        return attended
    call = kernels.Attention(
        query.data_ptr(),
        keys.data_ptr(),
        values.data_ptr(),
        attended.data_ptr(),
        *((ctypes.c_int64 * x.ndim)(*(side * x.element_size() for side in x.stride())) for x in (query, keys, values)),
        *(keys.shape[0], keys.shape[1], keys.shape[2], values.shape[2], keys.shape[3], keys.shape[4], window),
        query.dtype == torch.bfloat16,
    )
    failed = kernels.library().lmaseg_attend(call, index, torch.get_num_threads())
    if failed:
        raise MemoryError("no memory for the local attention's keys and values")
    return attended
