"""Augmentation of whole batches of clips on the training device, the same for all frames of a clip.

Stills become clips seen by a virtual camera that pans, zooms, rolls and shakes over them; the last frame is the
labelled one. All positions are in pixels from the middle of a picture until they are handed to `grid_sample`.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lmaseg.datasets.camera import camera_path, parallax, random_views
from lmaseg.datasets.photometry import Photometry, spoil_frames

IGNORED = 255
"""Marks pixels without a class in all label maps that training handles."""


OUTSIDE = 2.0
"""A coordinate that `grid_sample` takes to lie outside of a picture."""


class Views(NamedTuple):
    """What training sees of a batch of clips."""

    images: Tensor
    """(B, T, 3, h, w) float32 RGB in [0, 1]."""
    labels: Tensor
    """(B, h, w) int64 class ids of the last frames, 255 where the view leaves the picture."""
    forth: Tensor | None
    """(B, h, w, 2), where what the frame before the last shows is seen in the last one, as `grid_sample` wants it;
    outside for clips that are no stills, where this is not known. None for clips of one frame."""


class ClipAugmenter:
    """Random views of clips, with random colours.

    Args:
        crop: height and width of the views, in pixels.
        scale: range of the zoom; evenly drawn on a logarithmic scale.
        rotation: largest roll, in degrees.
        colour: strength of `Photometry`.
        motion: speed of the virtual camera over stills.
        spoil: share of the frames of clips that are dark, unsharp or partly covered, each on its own.
    """

    def __init__(
        self,
        *,
        crop: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        rotation: float = 4.0,
        colour: float = 1.0,
        motion: float = 1.0,
        spoil: float = 0.0,
    ) -> None:
        self.crop, self.scale, self.rotation, self.motion = crop, scale, rotation, motion
        self.photometry, self.spoil = Photometry(colour), spoil

    def __call__(self, images: Tensor, labels: Tensor, still: Tensor, generator: Generator) -> Views:
        """Draw one view of each clip.

        Args:
            images: (B, T, 3, H, W) uint8 RGB in the order of time.
            labels: (B, H, W) uint8 class ids of the last frames; 255 marks unlabelled pixels.
            still: (B,) bool on the CPU: clips that repeat one frame, for the virtual camera to move over.
            generator: on the CPU; the only source of chance.
        """
        clips, frames = images.shape[:2]
        grid, last = self._grid(clips, frames, images.shape[-2:], still, generator, images.device)
        views = F.grid_sample(
            images.flatten(0, 1).float(), grid.flatten(0, 1), padding_mode="reflection", align_corners=False
        ).view(clips, frames, 3, *self.crop)
        forth = None
        if frames > 1:
            known = still.to(grid.device, non_blocking=True)[:, None, None, None]
            forth = seen_through(last, grid[:, -2]).where(known, OUTSIDE)
        images = self.photometry(views / 255, still, generator)
        if self.spoil and frames > 1:
            images = spoil_frames(images, self.spoil, generator)
        return Views(images, sample_labels(labels, grid[:, -1]), forth)

    def _grid(
        self, clips: int, frames: int, size: torch.Size, still: Tensor, generator: Generator, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Where every pixel of the views lies in the pictures, (B, T, h, w, 2) as `grid_sample` wants it.

        And the transforms (B, 2, 3) of which the last frames' places come, in the same coordinates.
        """
        views = random_views(clips, size, self.crop, scale=self.scale, rotation=self.rotation, generator=generator)
        speed = self.motion * still
        path = camera_path(frames, self.crop, speed=speed, generator=generator)
        into = torch.diag(torch.tensor([2 / size[1], 2 / size[0], 1.0]))
        out_of = torch.diag(torch.tensor([self.crop[1] / 2, self.crop[0] / 2, 1.0]))
        theta = (into @ views[:, None] @ path @ out_of)[..., :2, :].to(device, non_blocking=True)  # (B, T, 2, 3)
        shape = [clips * frames, 3, *self.crop]
        grid = F.affine_grid(theta.flatten(0, 1), shape, align_corners=False)
        grid = grid.view(clips, frames, *self.crop, 2)
        if frames > 1:
            grid = grid + parallax(frames, self.crop, speed=speed, generator=generator, device=device)
        return grid, theta[:, -1]


def seen_through(theta: Tensor, places: Tensor) -> Tensor:
    """Where (B, h, w, 2) places in pictures are seen in the views that the transforms (B, 2, 3) make of them."""
    back = torch.linalg.inv_ex(theta[..., :2]).inverse  # unlike inv(), does not make a GPU wait
    return torch.einsum("bij,bhwj->bhwi", back, places - theta[:, None, None, :, 2])


def sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """(B, H, W) uint8 ids at the nearest pixel of each point of a (B, h, w, 2) grid; 255 outside; int64."""
    shifted = labels[:, None].float() - IGNORED  # so that the zeros around it mean: ignored
    sampled = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return (sampled[:, 0] + IGNORED).round().long()
