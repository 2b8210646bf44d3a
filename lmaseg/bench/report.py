"""What a benchmark finds, as frozen data."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """A time in seconds, or a ratio, over the repeats of one benchmark."""

    median: float
    low: float
    """The 10 % quantile."""
    high: float
    """The 90 % quantile."""
    repeats: int


@dataclass(frozen=True)
class Settings:
    """The settings of a benchmark."""

    device: str
    """Its name, "cpu" for a CPU."""
    backbone: str
    classes: int
    source_size: tuple[int, int]
    """Height and width of the frames and of their labels."""
    working_size: tuple[int, int]
    memory: int
    window: int
    batch: int
    dtype: str
    seconds: float
    """Seconds that the whole benchmark was meant to take."""


@dataclass(frozen=True)
class Way:
    """One way to label a video."""

    name: str
    memory: int
    """Past frames that each frame attends to."""
    model: Spread
    """Seconds per frame in the network, from its bytes to its labels in main memory, batch after batch."""
    latency: Spread
    """Seconds from handing over a batch of frames to having their labels."""
    end_to_end: Spread
    """Seconds per frame from a video file to an overlaid one, everything counted."""
    model_frames_per_second: float
    end_to_end_frames_per_second: float
    peak_bytes: int | None
    """Most that was held while the network worked: in tensors on a GPU, else by the process, where Linux tells."""


@dataclass(frozen=True)
class Detail:
    """One time of a full benchmark, beside that of the network with memory as it is."""

    group: str
    """straightforward, part of the network, part around it, past frames or working size."""
    name: str
    seconds: Spread
    """Per frame."""
    ratio: Spread
    """Over the time of the network."""


@dataclass(frozen=True)
class Benchmark:
    """Everything one benchmark measured. Ratios are medians over the repeats of each repeat's own ratio."""

    environment: dict[str, dict[str, Any]]
    """The machine and the versions, from `lmaseg.environment.environment`."""
    settings: Settings
    ways: tuple[Way, ...]
    """Without the memory and with it; the first alone if no past frame was asked for."""
    memory_cost: Spread | None
    """Time in the network with the memory over that without."""
    details: tuple[Detail, ...] = ()
    """The further times of a full benchmark."""
    agreement: float | None = None
    """In a full benchmark, the share of the pixels that the straightforward network labels as the other does."""
