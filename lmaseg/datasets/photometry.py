"""Random light, colours, sharpness and noise: the same for all frames of a clip but for noise and drift."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lmaseg.datasets.camera import normal, uniform

KERNEL = 7  # pixels; side of the blur kernels
LIGHT = 0.12  # what is left of it in a dark frame
DEFOCUS = 9  # pixels that an unsharp frame shows as one
BLURRED = 0.3  # share of the clips, half of them by motion


class Photometry:
    """Changes how clips were taken. `strength`: 1 is strong but plausible; 0 changes nothing."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, clips: Tensor, still: Tensor, generator: Generator) -> Tensor:
        """(B, T, 3, H, W) RGB in [0, 1] -> the same, changed.

        Args:
            still: (B,) bool on the CPU: clips made of one picture, which lack the drift of a real exposure.
            generator: on the CPU.
        """
        if not self.strength:
            return clips
        clips = self._blurred(clips, generator)
        clips = self._relit(clips, still, generator)
        return self._noisy(clips, generator).clamp(0, 1)

    def _blurred(self, clips: Tensor, generator: Generator) -> Tensor:
        count = len(clips)
        kernels = blur_kernels(count, self.strength, generator)
        chosen = (torch.rand(count, generator=generator) < BLURRED * min(1.0, self.strength)).nonzero()[:, 0]
        if not len(chosen):
            return clips
        where = chosen.to(clips.device, non_blocking=True)
        blurred = blur(clips[where], kernels[chosen].to(clips.device, non_blocking=True))
        return clips.index_copy(0, where, blurred)

    def _relit(self, clips: Tensor, still: Tensor, generator: Generator) -> Tensor:
        count, frames = clips.shape[:2]
        knobs = self._knobs(count, frames, still, generator).to(clips.device, non_blocking=True)  # (B, T, 7)
        light, contrast, saturation, gamma, *tint = knobs[..., None, None, None].unbind(2)  # (B, T, 1, 1, 1) each
        clips = clips * torch.cat(tint, dim=2) * light
        middle = clips.mean((1, 2, 3, 4), keepdim=True)
        clips = (clips - middle) * contrast + middle
        grey = clips.mean(2, keepdim=True)
        clips = (clips - grey) * saturation + grey
        return clips.clamp(1e-4, 1) ** gamma

    def _knobs(self, count: int, frames: int, still: Tensor, generator: Generator) -> Tensor:
        """Light, contrast, saturation, gamma and three tints, (B, T, 7): factors, or exponents for gamma."""
        spread = torch.tensor([0.45, 0.4, 0.6, 0.35, 0.1, 0.1, 0.1]) * self.strength
        shift = torch.tensor([-0.05, 0.0, -0.1, 0.0, 0.0, 0.0, 0.0]) * self.strength
        logs = uniform(-1, 1, count, 1, 7, generator=generator) * spread + shift
        drift = torch.zeros(count, frames, 7)
        ago = torch.arange(frames - 1, -1, -1.0)
        drift[..., 0] = normal(0.012, count, 1, generator=generator) * ago
        drift[..., 0] += normal(0.008, count, frames, generator=generator)
        return torch.exp(logs + drift * self.strength * still[:, None, None])

    def _noisy(self, clips: Tensor, generator: Generator) -> Tensor:
        level = 0.045 * self.strength * torch.rand(len(clips), 1, 1, 1, 1, generator=generator) ** 2
        seed = int(torch.randint(2**62, (), generator=generator))
        own = Generator(clips.device).manual_seed(seed)
        noise = torch.randn(clips.shape, generator=own, device=clips.device)
        return clips + noise * level.to(clips.device, non_blocking=True)


def spoil_frames(clips: Tensor, share: float, generator: Generator) -> Tensor:
    """(B, T, 3, H, W) RGB in [0, 1] with single frames dark, out of focus or covered by a patch.

    Args:
        share: of the frames, each drawn by itself.
        generator: on the CPU.
    """
    count, frames, _, height, width = clips.shape
    chosen = torch.rand(count, frames, generator=generator) < share
    way = torch.randint(3, (count, frames), generator=generator)
    corner = torch.rand(count, frames, 2, generator=generator)
    colour = uniform(0.1, 0.5, count, frames, 3, generator=generator).to(clips.device, non_blocking=True)
    clips = clips.clone()
    for clip, frame in chosen.nonzero().tolist():
        view = clips[clip, frame]
        if way[clip, frame] == 0:
            view *= LIGHT
        elif way[clip, frame] == 1:
            coarse = F.avg_pool2d(view[None], DEFOCUS, ceil_mode=True, count_include_pad=False)
            view.copy_(F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0])
        else:
            down, across = corner[clip, frame].tolist()
            top, left = int(down * height / 2), int(across * width / 2)
            view[:, top : top + height // 2, left : left + width // 2] = colour[clip, frame, :, None, None]
    return clips


def blur_kernels(count: int, strength: float, generator: Generator) -> Tensor:
    """(count, 7, 7) kernels that sum to 1: round ones (defocus) and straight strokes (motion), half of each."""
    radius = KERNEL // 2
    y, x = torch.meshgrid(*[torch.arange(-radius, radius + 1.0)] * 2, indexing="ij")
    deviation = uniform(0.3, 0.3 + 1.2 * strength, count, 1, 1, generator=generator)
    round_ones = torch.exp(-(x**2 + y**2) / (2 * deviation**2))
    angle = uniform(0, math.pi, count, 1, 1, generator=generator)
    half_length = uniform(0.5, 0.5 + 2.5 * strength, count, 1, 1, generator=generator)
    along = (x * torch.cos(angle) + y * torch.sin(angle)).abs()
    aside = x * torch.sin(angle) - y * torch.cos(angle)
    strokes = torch.exp(-(aside**2) / 0.5) * (half_length + 0.5 - along).clamp(0, 1)
    kernels = torch.where(torch.rand(count, 1, 1, generator=generator) < 0.5, round_ones, strokes)
    return kernels / kernels.sum((1, 2), keepdim=True)


def blur(clips: Tensor, kernels: Tensor) -> Tensor:
    """(B, T, 3, H, W) clips, each convolved with its own of the (B, k, k) kernels; edges are mirrored."""
    count, frames, channels, height, width = clips.shape
    radius = kernels.shape[-1] // 2
    planes = clips.permute(1, 2, 0, 3, 4).reshape(frames * channels, count, height, width)
    padded = F.pad(planes, (radius,) * 4, mode="reflect")
    blurred = F.conv2d(padded, kernels[:, None], groups=count)
    return blurred.view(frames, channels, count, height, width).permute(2, 0, 1, 3, 4)
