"""What `lmaseg train` trains on and starts from; how it trains is `lmaseg.train.TrainOptions`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmaseg.cli.data import STILLS
from lmaseg.cli.settings import option
from lmaseg.settings import setting

DATA, START = "Data", "Start"  # panels of --help


@dataclass(frozen=True)
class Data:
    """What to train on and to validate with."""

    camvid: Path | None = option(None, "CamVid: train/ trainannot/ and, to validate, val/ valannot/.", DATA)
    cityscapes: Path | None = option(None, "Cityscapes: leftImg8bit/ and gtFine/.", DATA)
    folder: tuple[Path, Path] | None = option(None, "Your own: images, and PNG class ids.", DATA, form="IMAGES LABELS")
    stills: bool = setting(False, STILLS, DATA, "--stills")
    unlabelled: list[Path] | None = option(
        None, "A video or a folder of pictures for the teacher to label; give it once for each.", DATA, form="VIDEO"
    )
    teacher: Path | None = option(None, "Weights of the network that labels --unlabelled.", DATA, form="WEIGHTS")
    teacher_net: str | None = setting(
        None,
        "A teacher of a function or of the hub; without --teacher with its own weights.",
        DATA,
        form="MODULE:FUNCTION|hf:NAME",
    )
    teacher_every: float = setting(1.0, "Seconds between the frames of a video that the teacher labels.", DATA)
    teacher_sure: float = setting(0.7, "Least probability, averaged over sizes, at which its label is kept.", DATA)
    mix: Any = setting(None, "Shares of the data sets.", DATA, form="NAME=WEIGHT,...")
    hold_out: str | None = setting(
        None,
        "Train without the clips named so ('0006R0*') and validate with them; a still is a clip named like its file.",
        DATA,
        form="PATTERN",
    )
    val: bool = setting(True, "Validate with the val splits of the data sets, or with a share held out.", DATA)
    val_folder: tuple[Path, Path] | None = option(None, "Validate with this, too.", DATA, form="IMAGES LABELS")
    val_classes: str | None = setting(
        None, "What the ids of --val-folder mean; by default the network's classes.", DATA, form="NAMES|FILE.toml"
    )

    def __post_init__(self) -> None:
        if bool(self.unlabelled) != bool(self.teacher or self.teacher_net):
            raise ValueError("--unlabelled goes with --teacher or --teacher-net: give videos and what is to label them")
        if not self.teacher_every > 0 or not 0 <= self.teacher_sure < 1:
            raise ValueError("the seconds between labelled frames are above 0, the least probability is in [0, 1)")


@dataclass(frozen=True)
class Start:
    """The network to train."""

    init: Path | None = option(None, "Start from this checkpoint; by default the weights that come with lmaseg.", START)
    net: str | None = option(
        None, "Another network to start from, as in lmaseg run.", START, form="hf:NAME|MODULE:FUNCTION"
    )
    backbone: str | None = option(None, "Start from a fresh network with this backbone instead.", START, form="NAME")
    classes: str | None = option(
        None,
        "cityscapes, camvid, NAME,NAME,... or a TOML file: what the network tells apart, and what the ids in the "
        "label maps of --folder mean; by default the checkpoint's classes.",
        START,
        form="NAMES|FILE.toml",
    )
    size: Any = option(
        None,
        "Frames are kept at this size; by default CamVid's, Cityscapes', that of --init or --net, or else that of "
        "your own, up to 480 pixels high.",
        START,
        form="HxW",
    )
    window: int | None = setting(None, "Attention window, odd, in feature cells.", START)
    memory: int | None = setting(None, "Past frames the network remembers.", START)
    fusion: str | None = setting(None, "How the memory joins the frame: blend, sigmoid or sigmoid-do1.", START)
