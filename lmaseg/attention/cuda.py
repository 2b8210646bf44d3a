"""Local attention on CUDA devices by Triton, forward and backward; the kernels are compiled when first called."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lmaseg.attention.shapes import check_shapes
from lmaseg.errors import BackendError

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MOST_CHANNELS = 128  # of a key: all of a block's lie in shared memory at once
HAS_TRITON = importlib.util.find_spec("triton") is not None and torch.version.hip is None


def fits(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the kernels can take this call: Triton is there, and the tensors on one GPU, in one type it knows."""
    return (
        HAS_TRITON
        and query.device.type == "cuda"
        and query.dtype in DTYPES
        and all(x.device == query.device and x.dtype == query.dtype for x in (keys, values))
        and query.shape[1] <= MOST_CHANNELS
    )


def local_attention(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """See `lmaseg.attention.local_attention`; the result is channels last in memory.

    Differentiable once. Any strides are read where they lie; sums are float32. A value that is not finite may spoil
    the queries next to those whose window holds it, too: they share a tile.

    Raises:
        ValueError: shapes that do not fit, an even window, an empty memory, another dtype or several devices.
        BackendError: Triton is missing.
    """
    return attend(query, keys, values, window)[0]


@torch.library.custom_op("lmaseg::local_attention_cuda", mutates_args=())
def attend(query: Tensor, keys: Tensor, values: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The operator: attended (B, D, H, W), and (B, H, W) float32, the log2 of every softmax's sum, to go back with."""
    kernels = _kernels_for(query, keys, values, window)
    attended, normaliser = _empty_attended(query, keys, values, window)
    if attended.numel() == 0:
        return attended, normaliser
    batch, frames, channels, height, width = keys.shape
    depth = values.shape[2]
    block_d = _block(depth, 128)
    with torch.cuda.device(query.get_device()):
        kernels.forward[lambda c: (_tiles(height, width, c), -(-depth // block_d), batch)](
            *_with_strides(query.unsqueeze(1), keys, values, attended.unsqueeze(1)),
            normaliser,
            frames,
            height,
            width,
            window=window,
            channels=channels,
            depth=depth,
            block_c=_block(channels, MOST_CHANNELS),
            block_d=block_d,
            align=_alignment(keys, values),
        )
    return attended, normaliser


@attend.register_fake
def _empty_attended(query: Tensor, keys: Tensor, values: Tensor, window: int) -> tuple[Tensor, Tensor]:
    batch, _, depth, height, width = values.shape
    attended = query.new_empty((batch, height, width, depth)).permute(0, 3, 1, 2)
    return attended, query.new_empty((batch, height, width), dtype=torch.float32)


@torch.library.custom_op("lmaseg::local_attention_cuda_backward", mutates_args=())
def attend_backward(
    query: Tensor, keys: Tensor, values: Tensor, attended: Tensor, normaliser: Tensor, gradient: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, keys and values, each in a fixed order of summation, given that of attended."""
    kernels = _kernels_for(query, keys, values, window)
    gradients = _empty_gradients(query, keys, values, attended, normaliser, gradient, window)
    if attended.numel() == 0:
        return tuple(x.zero_() for x in gradients)
    batch, _, channels, height, width = keys.shape
    depth = values.shape[2]
    block_d = _block(depth, 128)
    query, attended, gradient, query_gradient = (x.unsqueeze(1) for x in (query, attended, gradient, gradients[0]))
    agreements = torch.empty_like(normaliser)

    def launch(own: list[Tensor], other: list[Tensor], results: list[Tensor], **of: bool) -> None:
        """`results` go with `own`; `of` says which of them are asked for, and from which side."""
        programs = own[0].shape[1] * (-(-depth // block_d) if of["of_values"] else 1)
        kernels.backward[lambda c: (_tiles(height, width, c), programs, batch)](
            *_with_strides(*own, *other),
            normaliser,
            agreements,
            *_with_strides(*results),
            other[0].shape[1],
            height,
            width,
            window=window,
            channels=channels,
            depth=depth,
            **of,
            block_c=_block(channels, MOST_CHANNELS),
            block_d=block_d,
            align=_alignment(*other),
        )

    asking, answering, results = [query, gradient], [keys, values], list(gradients[1:])
    with torch.cuda.device(query.get_device()):
        side = {"tile_h": 4, "tile_w": 16}
        kernels.agree[(_tiles(height, width, side), 1, batch)](
            *_with_strides(attended, gradient), agreements, height, width, depth=depth, block_d=block_d, **side
        )
        launch(asking, answering, [query_gradient, gradient], asks=True, of_own=True, of_values=False)
        if depth <= block_d:
            launch(answering, asking, results, asks=False, of_own=True, of_values=True)
        else:  # the keys' gradients need all of D at once, the values' a block at a time
            launch(answering, asking, results, asks=False, of_own=True, of_values=False)
            launch(answering, asking, results, asks=False, of_own=False, of_values=True)
    return gradients


@attend_backward.register_fake
def _empty_gradients(
    query: Tensor, keys: Tensor, values: Tensor, attended: Tensor, normaliser: Tensor, gradient: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(keys), torch.empty_like(values)


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.window = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *attend_backward(*ctx.saved_tensors, gradient, ctx.window), None


attend.register_autograd(_backward, setup_context=_remember)


def _kernels_for(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Any:
    """The module of kernels, once the tensors are such as it can take: it does not look whether it reads past them."""
    if not HAS_TRITON:
        raise BackendError("local attention on a GPU needs Triton: pip install triton")
    from lmaseg.attention import cuda_kernels

    check_shapes(query, keys, values, window)
    if query.shape[1] > MOST_CHANNELS:
        raise ValueError(f"the kernels attend to at most {MOST_CHANNELS} key channels, not {query.shape[1]}")
    same = all(x.dtype == query.dtype and x.device == query.device for x in (keys, values))
    if not same or query.dtype not in DTYPES or not (query.is_cuda or cuda_kernels.INTERPRETED):
        raise ValueError("the Triton kernels attend to float32, float16 or bfloat16 tensors of one type on one GPU")
    return cuda_kernels


def _with_strides(*tensors: Tensor) -> list[Any]:
    return [part for x in tensors for part in (x, x.stride())]


def _tiles(height: int, width: int, config: Mapping[str, int]) -> int:
    return -(-height // config["tile_h"]) * -(-width // config["tile_w"])


def _alignment(*tensors: Tensor) -> int:
    """What a block's first column is a multiple of: cells side by side in memory are loaded 8 at once from there."""
    return 8 if any(x.stride(-1) == 1 for x in tensors) else 1


def _block(channels: int, most: int) -> int:
    """The power of 2 that holds the channels, at least the matrix units' 16, or `most`."""
    return min(max(16, 1 << (channels - 1).bit_length()), most)
