"""What a network is and what it expects, as frozen data: travels in every checkpoint and rebuilds the network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a network with the right tensors."""

    backbone: str
    """A key of `lmaseg.models.BACKBONES`."""
    classes: int
    """Number of output channels."""
    memory_frames: int
    """Past frames the memory holds (T in the paper)."""
    window: int
    """Odd side of the attention's neighbourhood, in feature cells."""
    key_channels: int
    value_channels: int
    fusion: str
    """A key of `lmaseg.models.FUSIONS`."""

    def __post_init__(self) -> None:
        for name in ("classes", "memory_frames", "key_channels", "value_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window must be an odd number of feature cells, not {self.window}")


@dataclass(frozen=True)
class Preprocess:
    """From 8-bit RGB to what the encoder reads: `(rgb * scale - mean) / std`, and the size trained at."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    size: tuple[int, int] = (512, 1024)
    """Working size (height, width) in pixels."""
