"""The random cameras of augmentation: views of pictures, and paths of a virtual camera over stills.

Transforms are homogeneous 3x3 matrices over (x, y, 1) in pixels from the middle of a picture; x to the right, y down.
They lead from the picture that is made to the picture that is read.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

STRETCH = 0.06  # of the range of zoom: how far the proportions may change, 8 % for a zoom of 0.5 to 2

# Per frame and at speed 1, as shares of the view's width: about what a car's camera sees 15 to 30 times a second.
PAN, TILT = 0.012, 0.004
SHAKE = 0.002
APPROACH = (-0.006, 0.03)  # how much more of the scene the frame before shows
ROLL = math.radians(0.25)
PARALLAX = 0.004
BUMPS = (3, 5)  # rows and columns of the coarse field of parallax


def random_views(
    count: int,
    size: tuple[int, ...],
    crop: tuple[int, int],
    *,
    scale: tuple[float, float],
    rotation: float,
    generator: Generator,
) -> Tensor:
    """Views of pictures of `size` (height, width): (count, 3, 3) transforms, half of them mirrored.

    A view lies inside the picture where it can; one larger than the picture holds all of it.
    """
    low, high = math.log(scale[0]), math.log(scale[1])
    zoom = torch.exp(uniform(low, high, count, generator=generator))
    stretch = torch.exp(STRETCH * uniform(low - high, high - low, count, generator=generator))
    mirror = 1 - 2 * torch.randint(2, (count,), generator=generator)
    turn = uniform(-math.radians(rotation), math.radians(rotation), count, generator=generator)
    across, down = 1 / (zoom * stretch), stretch / zoom  # pixels read per pixel made
    middle = uniform(-0.5, 0.5, count, 2, generator=generator)
    x = middle[:, 0] * (size[1] - crop[1] * across).abs()
    y = middle[:, 1] * (size[0] - crop[0] * down).abs()
    return _similarity(x, y, across * mirror, down, turn)


def camera_path(frames: int, crop: tuple[int, int], *, speed: Tensor, generator: Generator) -> Tensor:
    """Where a virtual camera was in each frame of a clip, as seen from the last one: (B, frames, 3, 3).

    Pan, tilt, approach and roll are steady and change evenly; every frame is shaken on its own.

    Args:
        crop: height and width of the view, in pixels.
        speed: (B,), 0 holds the camera still; on the CPU, as is the result.
    """
    count = len(speed)
    ago = torch.arange(frames - 1, -1, -1.0)  # (T,) frames before the last
    moves = torch.stack(
        [
            normal(PAN, count, generator=generator),
            normal(TILT, count, generator=generator),
            uniform(*APPROACH, count, generator=generator),
            normal(ROLL, count, generator=generator),
        ],
        dim=1,
    )
    change = 1 + normal(0.15, count, 1, generator=generator) * ago  # (B, T): speeding up or slowing down
    travelled = moves[:, :, None] * (ago * change)[:, None]  # (B, 4, T)
    travelled[:, :2] += normal(SHAKE, count, 2, frames, generator=generator) * (ago > 0)
    x, y, approach, roll = (travelled * speed[:, None, None]).unbind(1)  # (B, T) each
    grown = torch.exp(approach)
    return _similarity(x * crop[1], y * crop[1], grown, grown, roll)


def parallax(
    frames: int, crop: tuple[int, int], *, speed: Tensor, generator: Generator, device: torch.device
) -> Tensor:
    """Smooth uneven shifts that grow into the past, as depth makes them: (B, T, h, w, 2) to add to a grid."""
    coarse = normal(2 * PARALLAX, len(speed), 2, *BUMPS, generator=generator) * speed[:, None, None, None]
    coarse = coarse.to(device, non_blocking=True)
    smooth = F.interpolate(coarse, crop, mode="bicubic", align_corners=True)  # (B, 2, h, w)
    ago = torch.arange(frames - 1, -1, -1.0, device=device)
    return ago[:, None, None, None] * smooth.permute(0, 2, 3, 1).unsqueeze(1)


def _similarity(x: Tensor, y: Tensor, across: Tensor, down: Tensor, turn: Tensor) -> Tensor:
    """Stretch by (across, down), turn, then shift by (x, y): tensors of one shape -> that shape + (3, 3)."""
    cosine, sine, zero = torch.cos(turn), torch.sin(turn), torch.zeros_like(x)
    rows = (
        torch.stack([across * cosine, -down * sine, x], dim=-1),
        torch.stack([across * sine, down * cosine, y], dim=-1),
        torch.stack([zero, zero, zero + 1], dim=-1),
    )
    return torch.stack(rows, dim=-2)


def uniform(low: float, high: float, *shape: int, generator: Generator) -> Tensor:
    """Even random numbers on the CPU."""
    return torch.rand(*shape, generator=generator) * (high - low) + low


def normal(deviation: float, *shape: int, generator: Generator) -> Tensor:
    """Normal random numbers on the CPU."""
    return torch.randn(*shape, generator=generator) * deviation
