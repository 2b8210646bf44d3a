"""Bilinear interpolation of logits and the decision for a class in one pass, straight to uint8 labels, on the CPU."""

import ctypes

import torch
from torch import Tensor

from lmaseg import kernels
from lmaseg.kernels.operator import operator

DTYPES = (torch.float32, torch.bfloat16)
MOST_CLASSES = 256


def fits(logits: Tensor) -> bool:
    """Whether `upsample_argmax` can take these logits: on the CPU, in a type it knows, at most 256 classes."""
    return (
        logits.device.type == "cpu"
        and logits.dtype in DTYPES
        and 0 < logits.shape[1] <= MOST_CLASSES
        and kernels.available()
    )


def _empty_labels(logits: Tensor, height: int, width: int, align_corners: bool = False, level: str = "") -> Tensor:
    return logits.new_empty((logits.shape[0], height, width), dtype=torch.uint8)


@operator("lmaseg::upsample_argmax", fake=_empty_labels)
def upsample_argmax(logits: Tensor, height: int, width: int, align_corners: bool = False, level: str = "") -> Tensor:
    """(B, classes, h, w) logits, float32 or bfloat16, of any strides -> (B, height, width) uint8 class ids.

    The same as `torch.nn.functional.interpolate(mode="bilinear")` and `argmax` in float32, rounding aside: of equal
    logits the lowest class wins. A class whose logit is NaN never wins, but for class 0. `level` asks for one of
    `kernels.levels()` in place of the fastest.

    Raises:
        ValueError: an empty map, more than 256 classes, a size under 1, another dtype or device.
        BackendError: the C kernels are missing.
    """
    _check(logits, height, width)
    index = kernels.level_index(level)
    labels = _empty_labels(logits, height, width)
    if labels.numel() == 0:
        return labels
    call = kernels.Upsample(
        logits.data_ptr(),
        labels.data_ptr(),
        (ctypes.c_int64 * 4)(*(stride * logits.element_size() for stride in logits.stride())),
        *logits.shape,
        height,
        width,
        logits.dtype == torch.bfloat16,
        align_corners,
    )
    failed = kernels.library().lmaseg_label(call, index, torch.get_num_threads())
    if failed:
        raise MemoryError("no memory for upsampling the logits")
    return labels


def _check(logits: Tensor, height: int, width: int) -> None:
    if logits.ndim != 4 or 0 in logits.shape[1:] or logits.shape[1] > MOST_CLASSES:
        raise ValueError(f"logits are (B, 1..{MOST_CLASSES} classes, h, w), h and w above 0, not {tuple(logits.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"labels of {height} x {width} pixels have none")
    if logits.dtype not in DTYPES or not logits.is_cpu:
        raise ValueError(f"the C kernel takes float32 or bfloat16 logits on the CPU, not {logits.dtype}")
