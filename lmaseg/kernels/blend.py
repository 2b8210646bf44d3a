"""The `blend` fusion on the CPU in two passes over its features; forward only."""

import torch
from torch import Tensor

from lmaseg import kernels

DTYPES = (torch.float32, torch.bfloat16)
SMALLEST = 1e-12  # squared features, in place of smaller ones


def fits(features: Tensor, attended: Tensor) -> bool:
    """Whether `blend` can take this call: on the CPU, in a type it knows, without gradients or tracing."""
    return (
        all(x.device.type == "cpu" and x.numel() for x in (features, attended))
        and features.dtype == attended.dtype
        and features.dtype in DTYPES
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and kernels.available()
    )


def blend(
    features: Tensor, attended: Tensor, weights: Tensor, bias: float, closing: float, still: float, level: str = ""
) -> Tensor:
    """What `BlendFusion` makes of (B, C, h, w) features and attended ones, channels last in memory.

    `weights` are the (2 * C) of its gate, `closing` is what an unusual move lowers the gate's logit by and `still` the
    squared move, relative to the squared features, that counts as usual at least. `level` asks for one of
    `kernels.levels()` in place of the fastest.
    """
    index = kernels.level_index(level)
    features, attended = (x.contiguous(memory_format=torch.channels_last) for x in (features, attended))
    weights, out = weights.float().contiguous(), torch.empty_like(features)
    batch, channels, height, width = features.shape
    call = kernels.Blend(
        *(x.data_ptr() for x in (features, attended, out, weights)),
        *(batch, height * width, channels, features.dtype == torch.bfloat16),
        *(bias, closing, still, SMALLEST),
    )
    if kernels.library().lmaseg_blend(call, index, torch.get_num_threads()):
        raise MemoryError("no memory for blending features")
    return out
