"""Frames decoded once and kept as bytes on the training device."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmaseg.datasets.augment import IGNORED
from lmaseg.datasets.clip import Clip, Picture
from lmaseg.errors import DatasetError
from lmaseg.labels import LabelSet
from lmaseg.scores import translate_classes

WIDEST_STEP = 6  # frame numbers: frames farther apart than a fifth of a second are no neighbours to remember
READERS = 8

OnFrame = Callable[[int, int], None]


@dataclass
class FrameStore:
    """Frames of one size in memory, and which of them to train on."""

    images: Tensor
    """(N, 3, H, W) uint8 RGB."""
    labels: Tensor
    """(N, H, W) uint8 class ids of the network, 255 where there is none."""
    ends: Tensor
    """(M,) int64 on the CPU: indices of the labelled frames."""
    reach: Tensor
    """(M,) int64 on the CPU: how many frames right before each are its neighbours in time."""

    def __len__(self) -> int:
        return len(self.ends)

    def pick(self, positions: Tensor, past: int) -> tuple[Tensor, Tensor]:
        """Indices (B, past + 1) of the clips that end at `ends[positions]`, and which are stills, (B,) bool.

        A clip that lacks some of its past repeats its last frame instead.
        """
        ends = self.ends[positions]
        still = self.reach[positions] < past
        ago = torch.arange(past, -1, -1)
        return ends[:, None] - ago * ~still[:, None], still

    def frequencies(self, classes: int) -> Tensor:
        """(classes,) float32 shares of the labelled pixels, on the CPU."""
        counts = torch.zeros(256, dtype=torch.int64)
        for end in self.ends.tolist():
            counts += torch.bincount(self.labels[end].flatten().int(), minlength=256).cpu()
        return counts[:classes] / counts[:classes].sum().clamp(min=1)


def load_frames(
    clips: Sequence[Clip],
    *,
    labels: LabelSet,
    size: tuple[int, int],
    past: int,
    device: torch.device,
    on_frame: OnFrame = lambda done, to_do: None,
) -> FrameStore:
    """Read the labelled frames of clips, and up to `past` neighbours before each, into memory.

    Frames of another size are scaled to fit `size` (height, width); the rest of it stays black and unlabelled.

    Raises:
        DatasetError: no labelled frames, none of their pixels labelled, or all as the first class (masks of 0 and 255),
            no class in common with the network, and what `Clip.pair` raises.
    """
    wanted = [(clip, index) for clip in clips for index in needed_frames(clip, past)]
    if not wanted:
        raise DatasetError("there is no labelled frame to train on: give a split that has label maps")
    table, _ = translate_classes(clips[0].labels, labels)
    images = torch.zeros(len(wanted), 3, *size, dtype=torch.uint8)
    maps = torch.full((len(wanted), *size), IGNORED, dtype=torch.uint8)
    with ThreadPoolExecutor(READERS) as pool:
        for number, (image, label) in enumerate(pool.map(lambda item: item[0].pair(item[1]), wanted)):
            put_fitted(image, None if label is None else table[label], images[number], maps[number])
            on_frame(number + 1, len(wanted))
    ends, reach = _ends_and_reach(wanted)
    store = FrameStore(images.to(device), maps.to(device), ends, reach)
    frequencies = store.frequencies(IGNORED)
    if not frequencies.any():
        raise DatasetError(f"no pixel of the {len(ends)} label maps from {clips[0].name} on is labelled: label some")
    if frequencies[0] == 1 and len(labels) > 1 and (maps == IGNORED).any():
        raise DatasetError(
            f"the {len(ends)} label maps from {clips[0].name} on hold only {labels.names[0]} (0) and unlabelled pixels "
            "(255): in masks, write 1 for what they mark, or the id of its class"
        )
    return store


def needed_frames(clip: Clip, past: int) -> list[int]:
    """Indices of the labelled frames and of those before them that training can remember."""
    past = past if clip.step <= WIDEST_STEP else 0
    return sorted({i for end in clip.labelled for i in range(max(0, end - past), end + 1)})


def _ends_and_reach(wanted: list[tuple[Clip, int]]) -> tuple[Tensor, Tensor]:
    ends, reach, run = [], [], 0
    for number, (clip, index) in enumerate(wanted):
        before, last = wanted[number - 1] if number else (None, -2)
        run = run + 1 if before is clip and last == index - 1 and clip.step <= WIDEST_STEP else 0
        if clip.frames[index].label is not None:
            ends.append(number)
            reach.append(run)
    return torch.tensor(ends), torch.tensor(reach)


def put_fitted(image: Picture, label: Picture | None, image_out: Tensor, label_out: Tensor) -> None:
    """Scale a frame and its label map to fit (3, H, W) and (H, W) uint8 tensors, at their top left."""
    height, width = label_out.shape
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (round(image.shape[0] * scale), round(image.shape[1] * scale))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    if pixels.shape[-2:] != size:
        pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    image_out[:, : size[0], : size[1]] = pixels[0]
    if label is not None:
        nearest = F.interpolate(torch.from_numpy(label)[None, None], size, mode="nearest-exact")
        label_out[: size[0], : size[1]] = nearest[0, 0]
