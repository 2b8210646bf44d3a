"""The settings of a training run."""

from dataclasses import asdict, dataclass
from typing import Any

PEAK_RATES = {"base": 1e-3, "memory": 5e-4, "joint": 5e-5}
"""Learning rate after the warm-up, by stage."""

SCHEDULES = ("poly", "cosine")

FREE_TO_CHANGE = ("minutes", "save_minutes", "report_every", "validate_every", "compile")
"""Settings that may differ when a run is resumed: they change nothing in the weights, or next to nothing (compile)."""


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained; what it is trained on is a `Mixture`, what it is a `ModelSpec`."""

    stage: str = "base"
    """base: encoder and decoder on single frames. memory: projections and fusion on clips, everything else frozen,
    batch-norm statistics included (the paper's way). joint: everything on clips, at a low rate."""
    epochs: int = 100
    """An epoch draws as many clips as the sources have labelled frames."""
    epoch_steps: int | None = None
    """Steps that make an epoch instead; None counts frames."""
    batch: int = 8
    """Clips per step and process."""
    crop: tuple[int, int] = (288, 384)
    """Height and width of what the network sees of a frame, in pixels; multiples of the network's stride."""
    past: int = 3
    """Past frames per clip, at most: half the steps take all of them, the others 1 to all. The base stage has none."""

    learning_rate: float | None = None
    """At its peak; None takes the stage's: 1e-3 base, 5e-4 memory, 5e-5 joint."""
    schedule: str = "poly"
    """How the rate falls to zero after the warm-up: poly (power 0.9) or cosine."""
    warm_up: int = 100
    """Steps over which the rate rises; at most a tenth of all steps."""
    weight_decay: float = 1e-2
    """AdamW's, on convolution weights only."""
    clip_norm: float = 5.0
    """Longest gradient."""
    ema: float = 0.998
    """Decay per step of the moving average of the weights, which is what is scored and saved."""
    class_weights: bool = True
    """Weigh classes by 1 / ln(1.10 + frequency)."""
    ohem: float = 0.0
    """Learn only from pixels whose true class is given less than this probability (and from the hardest 16th of all
    pixels in any case); 0 learns from all."""
    lovasz: float = 0.0
    """Weight of the Lovasz loss, which follows the mean IoU, beside the cross entropy's; 0 leaves it out."""
    steady: float = 40.0
    """Weight of the difference between what a frame and the one before it say of the same places, in clips made of
    stills; 0 leaves it out, and with it the loss of the frame before. The base stage has none."""
    auxiliary: float = 0.4
    """Weight of the second loss: of a head on the encoder's features in the base stage, of the single-frame logits in
    the joint one."""
    dropout: float | None = None
    """Cap on the probability of every dropout in the network; None keeps them."""

    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the zoom."""
    rotation: float = 4.0
    """Largest roll of the camera, in degrees."""
    colour: float = 1.0
    """Strength of the changes of colour, exposure, sharpness and noise; 0 leaves pixels as they are."""
    motion: float = 1.0
    """Speed of the virtual camera that makes clips of stills; 0 holds it still."""
    distant: float = 0.1
    """Share of the stills whose past are the frames before them in their folder instead, however far apart in time:
    memories of low frame rates and of missed cuts."""

    bfloat16: bool = True
    """Mixed precision by autocast."""
    compile: bool = False
    """torch.compile encoder and decoder: worth its minute on a GPU, for long runs."""
    seed: int = 0
    """With the step's number it decides every random number of that step; see `lmaseg.train.loop`."""
    report_every: int = 10
    """Steps between progress records."""
    validate_every: int = 10
    """Epochs between validations; there is one at the end in any case."""
    save_minutes: float = 2.0
    """Between saves of the state from which an interrupted run resumes; 0 saves after every step."""
    minutes: float | None = None
    """Stop, with the state saved, when this much time has passed; None goes on to the end."""

    def __post_init__(self) -> None:
        if self.stage not in PEAK_RATES:
            raise ValueError(f"there is no stage {self.stage!r}: choose one of {', '.join(PEAK_RATES)}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"there is no schedule {self.schedule!r}: choose one of {', '.join(SCHEDULES)}")
        for name in ("epochs", "batch", "past", "report_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.epoch_steps is not None and self.epoch_steps < 1:
            raise ValueError(f"epoch_steps must be at least 1, not {self.epoch_steps}")
        if self.seed < 0:
            raise ValueError(f"a seed is a whole number from 0, not {self.seed}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"the zoom must range from a positive number upwards, not from {self.scale}")
        if not 0 <= self.ema < 1 or not 0 <= self.ohem < 1:
            raise ValueError(f"ema and ohem lie in [0, 1), not at {self.ema} and {self.ohem}")
        if self.steady < 0:
            raise ValueError(f"the weight of steadiness is a number from 0, not {self.steady}")
        if not 0 <= self.distant <= 1:
            raise ValueError(f"the share of distant pasts lies in [0, 1], not at {self.distant}")

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up."""
        return PEAK_RATES[self.stage] if self.learning_rate is None else self.learning_rate

    @property
    def past_frames(self) -> int:
        """The most past frames a clip has in this stage."""
        return 0 if self.stage == "base" else self.past

    def decisive(self) -> dict[str, Any]:
        """What a resumed run must share with the one it continues."""
        return {name: value for name, value in asdict(self).items() if name not in FREE_TO_CHANGE}
