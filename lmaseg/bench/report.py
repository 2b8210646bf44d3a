"""What a benchmark finds, as frozen data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A time in seconds, or a ratio, over the repeats of one run."""

    median: float
    low: float
    """The 10 % quantile."""
    high: float
    """The 90 % quantile."""
    repeats: int


@dataclass(frozen=True)
class Machine:
    """Where and with what the figures were measured."""

    device: str
    """Its name, "cpu" for a CPU."""
    processor: str
    threads: int
    """Of torch on the CPU."""
    lmaseg: str
    torch: str
    python: str
    system: str
    kernels: tuple[str, ...]
    """Levels of the C kernels that run here, the fastest last."""
    kernels_missing: str | None
    """Why there are none."""


@dataclass(frozen=True)
class Settings:
    """What was timed."""

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
    """Asked for per group; at least five repeats are made."""


@dataclass(frozen=True)
class Variant:
    """One way to run the whole network, from a frame's bytes to its labels in main memory."""

    name: str
    seconds: Spread
    """Per frame."""
    peak_bytes: int
    """Most that the process held while it ran (resident set; on a GPU, tensors)."""
    added_bytes: int
    """Of those, on top of what was held just before."""


@dataclass(frozen=True)
class NetworkFigures:
    """The network as written, optimised frame by frame, and optimised with memory."""

    straightforward: Variant
    single_frame: Variant
    with_memory: Variant
    speedup: Spread
    """Time of `straightforward` over that of `with_memory`."""
    memory_cost: Spread
    """Time of `with_memory` over that of `single_frame`."""
    agreement: float
    """Share of pixels that `straightforward` and `with_memory` label alike."""


@dataclass(frozen=True)
class Rates:
    """What the device reaches in its better moments (10 % quantile), measured beside what is held against it."""

    flops: float
    """Per second, in a large matrix product of the type computed in."""
    bytes: float
    """Per second read and written, in a large copy."""


@dataclass(frozen=True)
class Stage:
    """A part of the work on a frame, timed alone."""

    name: str
    seconds: Spread
    """Per frame."""
    share: Spread
    """Of the time of the network with memory."""
    in_network: bool
    """Whether that time contains the stage."""
    flops: int
    """Per frame, in convolutions and matrix products and in attention; 0 where there are none."""
    matrix_share: float
    """Reached of the matrix product's rate."""


@dataclass(frozen=True)
class StageFigures:
    """Where the time of the network with memory goes, and of the work around it."""

    network: Spread
    stages: tuple[Stage, ...]
    rates: Rates


@dataclass(frozen=True)
class Rival:
    """One way to compute the same."""

    name: str
    dtype: str
    seconds: Spread
    """Per frame."""
    times: Spread
    """Its time over ours."""
    error: float
    """Difference from the float32 reference over that, as root mean squares; for labels the share that differ."""


@dataclass(frozen=True)
class Floor:
    """The least time a frame's arithmetic and transfers could take at the measured rates."""

    flops: int
    bytes: int
    """Every operand read once, the result written once."""
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """One operation, as `lmaseg` does it in the type it computes in, against its rivals in that type and float32."""

    name: str
    ours: Spread
    """Seconds per frame."""
    rivals: tuple[Rival, ...]
    skipped: tuple[str, ...]
    """A sentence for each rival that cannot run here or gives other results."""
    floor: Floor | None = None

    def best(self, *names: str) -> Rival | None:
        """The fastest of the rivals of these names, in the type that suits it best; None if none ran."""
        return min(
            (rival for rival in self.rivals if rival.name in names), key=lambda r: r.seconds.median, default=None
        )


@dataclass(frozen=True)
class Point:
    """The network with memory with one setting changed."""

    setting: str
    """memory, window or size."""
    value: str
    seconds: Spread
    """Per frame."""
    ratio: Spread
    """Over the time with the run's own settings."""


@dataclass(frozen=True)
class EndToEnd:
    """From a video file to an overlaid one, and the network alone on the same decoded frames."""

    frames: int
    network: Spread
    """Seconds per frame."""
    pipeline: Spread
    """Seconds per frame, everything counted."""
    ratio: Spread
    """`pipeline` over `network`."""
    model_frames_per_second: float
    frames_per_second: float
    """End to end."""


@dataclass(frozen=True)
class Report:
    """Everything one benchmark measured. Ratios are medians over the repeats of each repeat's own ratio."""

    machine: Machine
    settings: Settings
    network: NetworkFigures
    stages: StageFigures
    attention: Comparison
    labelling: Comparison
    growth: tuple[Point, ...]
    end_to_end: EndToEnd
