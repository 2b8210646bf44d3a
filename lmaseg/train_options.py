"""The settings of a training run: each says what it is, where `lmaseg train --help` lists it and how it is written."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lmaseg.settings import setting

Stage = Literal["base", "memory", "joint"]
Fall = Literal["poly", "cosine"]

PEAK_RATES: dict[Stage, float] = {"base": 1e-3, "memory": 5e-4, "joint": 5e-5}
"""Learning rate after the warm-up, by stage."""

LOOKS = 60  # at every labelled frame, unless the steps are given
FEWEST_STEPS, MOST_STEPS = 120, 30_000  # unless they are given
VALIDATIONS = 20  # in a run, unless their distance is given

FREE_TO_CHANGE = ("minutes", "save_minutes", "report_every", "validate_every", "compile")
"""Settings that may differ when a run is resumed: they change nothing in the weights, or next to nothing (compile)."""


FROM_ZERO = "warm_up", "weight_decay", "lovasz", "steady", "auxiliary", "rotation", "colour", "motion", "seed"

RECIPE, AUGMENTATION, RUN = "Recipe", "Augmentation", "Run"


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained; what it is trained on is a `Mixture`, what it is a `ModelSpec`. Raises ValueError: a
    setting out of its range."""

    stage: Stage = setting(
        "base",
        "What is trained. base: encoder and decoder, on single frames. memory: projections and fusion on clips, with "
        "everything else frozen. joint: everything on clips, at a low rate.",
        RECIPE,
        shown=True,
    )
    steps: int | None = setting(
        None, "Steps; by default 60 looks at every frame, in 120 to 30,000.", RECIPE, shown=True
    )
    batch: int = setting(8, "Clips per step and process.", RECIPE, shown=True)
    crop: tuple[int, int] | None = setting(
        None, "Size of a view, multiples of the network's stride; by default 288x384 or what fits.", RECIPE, form="HxW"
    )
    past: int = setting(
        3, "Most past frames of a clip: half the steps take all, the others 1 to all. The base stage has none.", RECIPE
    )
    learning_rate: float | None = setting(
        None,
        "Learning rate at its peak; by default 1e-3 (base), 5e-4 (memory) or 5e-5 (joint).",
        RECIPE,
        "--lr",
        shown=True,
    )
    schedule: Fall = setting("poly", "How the learning rate falls to zero: poly (power 0.9) or cosine.", RECIPE)
    warm_up: int = setting(100, "Steps over which the learning rate rises; at most a tenth of all steps.", RECIPE)
    weight_decay: float = setting(1e-2, "AdamW's, on convolution weights only.", RECIPE)
    clip_norm: float = setting(5.0, "Longest gradient.", RECIPE)
    ema: float = setting(
        0.998, "Decay per step of the moving average of the weights, which is scored and saved.", RECIPE
    )
    class_weights: bool = setting(True, "Weigh classes by 1 / ln(1.10 + frequency).", RECIPE)
    ohem: float = setting(
        0.0, "Learn only from pixels whose true class gets less than this, and the hardest 16th; 0: all.", RECIPE
    )
    lovasz: float = setting(0.0, "Weight of the Lovasz loss, which follows the mean IoU; 0 leaves it out.", RECIPE)
    steady: float = setting(
        40.0,
        "Weight of the difference between what a frame and the one before it say of the same places, in clips made of "
        "stills; 0 leaves it out, and with it the loss of the frame before. The base stage has none.",
        RECIPE,
    )
    auxiliary: float = setting(
        0.4, "Weight of the second loss: of a head on the features (base), of single frames (joint).", RECIPE
    )
    dropout: float | None = setting(
        None, "Cap on the probability of every dropout; by default they keep theirs.", RECIPE
    )

    scale: tuple[float, float] = setting((0.5, 2.0), "Range of the zoom.", AUGMENTATION, form="FROM TO")
    rotation: float = setting(4.0, "Largest roll of the camera, in degrees.", AUGMENTATION)
    colour: float = setting(1.0, "Strength of changes of colour, exposure, sharpness and noise; 0: none.", AUGMENTATION)
    motion: float = setting(1.0, "Speed of the camera that makes clips of stills; 0 holds it still.", AUGMENTATION)
    spoil: float = setting(
        0.05, "Share of a clip's frames that are dark, unsharp or partly covered; none in base.", AUGMENTATION
    )

    seed: int = setting(0, "Decides every random number, together with the number of the step.", RUN, shown=True)
    minutes: float | None = setting(None, "Stop after this time, with the state saved for --resume.", RUN, shown=True)
    validate_every: int | None = setting(None, "Steps between validations; by default a twentieth of the run.", RUN)
    save_minutes: float = setting(2.0, "Between saves of the state to resume from; 0 saves after every step.", RUN)
    report_every: int = setting(10, "Steps between records in the history.", RUN)
    bfloat16: bool | None = setting(
        None, "Compute in mixed precision; by default where the device is made for it.", RUN
    )
    compile: bool = setting(False, "Compile encoder and decoder: worth its minute on a GPU, for long runs.", RUN)

    def __post_init__(self) -> None:
        for name, kind in (("stage", Stage), ("schedule", Fall)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"there is no {name} {getattr(self, name)!r}: choose one of {', '.join(get_args(kind))}"
                )
        for name in ("steps", "batch", "past", "report_every", "validate_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in FROM_ZERO:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a number from 0, not {getattr(self, name)}")
        for name in ("dropout", "spoil"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], not at {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"the zoom must range from a positive number upwards, not from {self.scale}")
        if not 0 <= self.ema < 1 or not 0 <= self.ohem < 1:
            raise ValueError(f"ema and ohem lie in [0, 1), not at {self.ema} and {self.ohem}")

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up."""
        return PEAK_RATES[self.stage] if self.learning_rate is None else self.learning_rate

    @property
    def past_frames(self) -> int:
        """The most past frames a clip has in this stage."""
        return 0 if self.stage == "base" else self.past

    def steps_for(self, frames: int, clips: int) -> int:
        """Steps of a run on so many labelled frames, with so many clips a step in all processes together."""
        return self.steps or min(MOST_STEPS, max(FEWEST_STEPS, -(-LOOKS * frames // clips)))

    def validation_distance(self, steps: int) -> int:
        """Steps between the validations of a run of so many steps."""
        return self.validate_every or -(-steps // VALIDATIONS)

    def decisive(self) -> dict[str, Any]:
        """What a resumed run must share with the one it continues."""
        return {name: value for name, value in asdict(self).items() if name not in FREE_TO_CHANGE}
