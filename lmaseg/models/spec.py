"""What a network is and what it expects, as frozen data: travels in every checkpoint and rebuilds the network."""

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

HUB_PREFIX = "hf:"
"""The beginning of names of networks of the Hugging Face hub, and of folders in the same form."""


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a network with the right tensors.

    All fields but the first two describe the memory; without them the network is a single-frame one.
    """

    backbone: str
    """A key of `lmaseg.models.BACKBONES`; of an attached network what builds it, as an import string, or "hf:NAME"."""
    classes: int
    """Number of output channels."""
    memory_frames: int = 0
    """Past frames the memory holds (T in the paper)."""
    window: int = 0
    """Odd side of the attention's neighbourhood, in feature cells."""
    key_channels: int = 0
    """Channels of queries and keys (C in the paper)."""
    value_channels: int = 0
    """Channels of values (D in the paper); if as many as the encoder has, values are the features themselves."""
    fusion: str = ""
    """A key of `lmaseg.models.FUSIONS`."""

    def __post_init__(self) -> None:
        needed = ("classes", "memory_frames", "key_channels", "value_channels") if self.has_memory else ("classes",)
        for name in needed:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.has_memory and (self.window < 1 or self.window % 2 == 0):
            raise ValueError(f"window must be an odd number of feature cells, not {self.window}")

    @property
    def has_memory(self) -> bool:
        """Whether there is a memory module; without one every frame is segmented alone."""
        return any((self.memory_frames, self.window, self.key_channels, self.value_channels, self.fusion))


@dataclass(frozen=True)
class Preprocess:
    """From 8-bit RGB to what the encoder reads: `(rgb * scale - mean) / std`, and the size trained at."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    size: tuple[int, int] = (512, 1024)
    """Working size (height, width) in pixels."""
    resample: str = "bilinear"
    """How frames get that size: "bilinear" or "bicubic"."""
    as_pillow: bool = False
    """Whether a CPU resizes to the very bytes of Pillow; else as PyTorch does: faster, with some bytes off by one."""
