"""Local attention from a frame's feature cells into the neighbourhoods of the same cells in past frames."""

from collections.abc import Callable

import torch
from torch import Tensor

from lmaseg.attention import cpu, cuda, reference, tiled
from lmaseg.attention.shapes import check_shapes
from lmaseg.errors import BackendError

__all__ = ["BACKENDS", "local_attention"]

Backend = Callable[[Tensor, Tensor, Tensor, int], Tensor]

BACKENDS: dict[str, Backend] = {
    "reference": reference.local_attention,
    "tiled": tiled.local_attention,
    "cpu": cpu.attend,
    "cuda": cuda.local_attention,
}


def local_attention(query: Tensor, keys: Tensor, values: Tensor, window: int, backend: str | None = None) -> Tensor:
    """Attend from every cell to the window around it in each of T memory frames (LMANet, section III-B).

    The softmax runs jointly over T x window^2 neighbours and the dot products are not scaled. A neighbour outside
    the frame has a zero key and a zero value: its logit 0 takes part in the softmax. The order of the memory frames
    does not matter.

    Args:
        query: (B, C, H, W) floating point.
        keys: (B, T, C, H, W), T >= 1, of the query's dtype and device.
        values: (B, T, D, H, W).
        window: odd side of the neighbourhood, in feature cells.
        backend: a key of `BACKENDS`; None chooses the fastest that fits.

    Returns:
        (B, D, H, W), of the query's dtype.

    Raises:
        ValueError: shapes that do not fit, an even window, an empty memory.
        BackendError: an unknown backend.

    >>> query, keys, values = torch.rand(1, 16, 8, 16), torch.rand(1, 4, 16, 8, 16), torch.rand(1, 4, 64, 8, 16)
    >>> local_attention(query, keys, values, window=7).shape
    torch.Size([1, 64, 8, 16])
    """
    check_shapes(query, keys, values, window)
    name = backend or _choose(query, keys, values)
    if name not in BACKENDS:
        raise BackendError(f"there is no attention backend {name!r}: choose one of {', '.join(BACKENDS)}")
    return BACKENDS[name](query, keys, values, window)


def _choose(query: Tensor, keys: Tensor, values: Tensor) -> str:
    """Compiled kernels where they fit; tiles where a backward pass follows: the loop copies keys once per offset."""
    if cpu.fits(query, keys, values):
        return "cpu"
    if cuda.fits(query, keys, values):
        return "cuda"
    gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (query, keys, values))
    return "tiled" if gradient else "reference"
